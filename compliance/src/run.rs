//! Asks both workers each row of the table, and tells what differs.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use myelin_rest::routes::Table;
use myelin_testkit::folder::Folder;
use myelin_testkit::http::Answer;

use crate::allowed::Allowed;
use crate::ask::{Asker, Expected};
use crate::chance::Asked;
use crate::compare::{self, Difference};
use crate::effects;
use crate::long_poll;
use crate::row::{By, Row};
use crate::seed::Seed;
use crate::stack::{Stack, end_with_signals};
use crate::table;

/// How often a row is asked again while Python's own answer changes (presence times out, for example).
const ATTEMPTS: usize = 5;

/// `cargo test -p myelin-compliance -- <part of a name>`; the variable `MYELIN_TWIN_ONLY` serves where arguments
/// cannot be given; parts of several names stand with commas between them. `MYELIN_TWIN_ALL` prints all differences of a row, `MYELIN_TWIN_DUMP=<folder>` keeps both answers.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let wanted = arguments.into_iter().find(|argument| !argument.starts_with('-'));
    let wanted = wanted.or_else(|| std::env::var("MYELIN_TWIN_ONLY").ok()).unwrap_or_default();
    match run(&wanted) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            println!("{failed} failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("the twin could not run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The number of failures.
fn run(wanted: &str) -> Result<usize> {
    let rows = selected(table::rows(), wanted);
    let polls = long_poll::CASES.iter().filter(|case| is_wanted(case.name, wanted)).collect::<Vec<_>>();
    let writes = effects::cases().into_iter().filter(|case| is_wanted(&case.name, wanted)).collect::<Vec<_>>();
    let nothing = rows.is_empty() && polls.is_empty() && writes.is_empty();
    let checks: Vec<_> = effects::CHECKS.into_iter().filter(|(name, _)| is_wanted(name, wanted)).collect();
    let alone = [long_poll::COME_ONLINE, long_poll::OLD_EVENTS];
    if nothing && checks.is_empty() && !alone.iter().any(|name| is_wanted(name, wanted)) {
        return Ok(0);
    }
    let start = Instant::now();
    let folder = Folder::new("twin")?;
    end_with_signals()?;
    let (stack, seed) = Stack::start(folder.path(), "", &[], Seed::make)?;
    seed.load_history(&stack.python).context("loading the history into Python's cache")?;
    println!("started and seeded in {:.1} s", start.elapsed().as_secs_f32());
    let mut twin = Twin { stack, seed, allowed: Allowed::load()?, routes: Table::new()?, tally: BTreeMap::new() };
    let mut failed = 0;
    let mut rotated = false;
    // Python bug: who asks for the old event stream of one room is woken for that room alone, in /sync as well, until
    // Python forgets that stream of theirs (`wait_for_events` in notifier.py).
    let (late, early): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.name.starts_with("events/"));
    for row in early {
        if row.path.ends_with("/sync") && !std::mem::replace(&mut rotated, true) {
            twin.stack.wait_push_actions_rotated()?;
        }
        let outcome = twin.ask(row);
        failed += usize::from(!twin.report(&row.name, outcome));
    }
    for case in polls {
        let outcome = long_poll::run(case, &twin.stack, &twin.seed, &twin.allowed);
        failed += usize::from(!twin.report(case.name, outcome));
    }
    if is_wanted(long_poll::OLD_EVENTS, wanted) {
        let outcome = long_poll::old_events(&twin.stack, &twin.seed);
        failed += usize::from(!twin.report(long_poll::OLD_EVENTS, outcome));
    }
    for row in late {
        let outcome = twin.ask(row);
        failed += usize::from(!twin.report(&row.name, outcome));
    }
    if is_wanted(long_poll::COME_ONLINE, wanted) {
        let outcome = long_poll::come_online(&twin.stack, &mut twin.seed);
        failed += usize::from(!twin.report(long_poll::COME_ONLINE, outcome));
    }
    failed += twin.writes(&writes)?;
    for (name, check) in checks {
        let outcome = check(&twin.stack, &mut twin.seed);
        failed += usize::from(!twin.report(name, outcome));
    }
    for (area, tally) in &twin.tally {
        println!("{area:<14} {:>4} passed {:>4} failed {:>4} passed on", tally.passed, tally.failed, tally.passed_on);
    }
    if wanted.is_empty() {
        for entry in twin.allowed.unused() {
            println!("allowed-differences.toml: nothing differs at {entry}");
            failed += 1;
        }
    }
    println!("{} rows in {:.1} s", rows.len(), start.elapsed().as_secs_f32());
    Ok(failed)
}

/// `wanted`: parts of names, with commas between them.
fn is_wanted(name: &str, wanted: &str) -> bool {
    wanted.split(',').any(|part| name.contains(part))
}

/// Rows that store something for others come along with any row of their area.
fn selected(rows: Vec<Row>, wanted: &str) -> Vec<Row> {
    let area = |row: &Row| row.name.split('/').next().unwrap_or_default().to_owned();
    let areas: Vec<_> = rows.iter().filter(|row| is_wanted(&row.name, wanted)).map(area).collect();
    let keeps = |row: &Row| row.keep.is_some() && areas.contains(&area(row));
    rows.into_iter().filter(|row| is_wanted(&row.name, wanted) || keeps(row)).collect()
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    passed_on: usize,
}

struct Twin {
    stack: Stack,
    seed: Seed,
    allowed: Allowed,
    routes: Table,
    tally: BTreeMap<String, Tally>,
}

/// What came of a row that could be asked.
pub struct Outcome {
    pub differences: Vec<Difference>,
    pub native: bool,
}

impl Twin {
    /// Prints a failure, counts everything; whether it passed.
    fn report(&mut self, name: &str, outcome: Result<Outcome>) -> bool {
        let area = name.split('/').next().unwrap_or_default().to_owned();
        let tally = self.tally.entry(area).or_default();
        let lines = match outcome {
            Ok(outcome) if outcome.differences.is_empty() => {
                tally.passed += 1;
                tally.passed_on += usize::from(!outcome.native);
                return true;
            }
            Ok(outcome) => outcome.differences.iter().map(|found| self.seed.names.unfill(&line(found))).collect(),
            Err(error) => vec![self.seed.names.unfill(&format!("  {error:#}"))],
        };
        tally.failed += 1;
        println!("FAILED {name}");
        let shown = if std::env::var_os("MYELIN_TWIN_ALL").is_some() { lines.len() } else { 12 };
        lines.iter().take(shown).for_each(|line| println!("{line}"));
        if lines.len() > shown {
            println!("  and {} more (MYELIN_TWIN_ALL=1 shows them)", lines.len() - shown);
        }
        false
    }

    /// In their order: one goes on where the one before it ended. The number of failures.
    fn writes(&mut self, cases: &[effects::Case]) -> Result<usize> {
        if cases.is_empty() {
            return Ok(0);
        }
        effects::pair(&mut self.seed)?;
        let mut lines = effects::Lines::listen(self.stack.redis_port(), "myelin.test")?;
        let mut failed = 0;
        for case in cases {
            let outcome = effects::run(case, &self.stack, &mut self.seed, &mut lines);
            failed += usize::from(!self.report(&case.name, outcome));
        }
        Ok(failed)
    }

    fn ask(&mut self, row: &Row) -> Result<Outcome> {
        let path = self.seed.names.fill_url(&row.url())?;
        let asker = Asker { stack: &self.stack, names: &self.seed.names, routes: &self.routes };
        let user_id = match &row.by {
            By::User(user) => self.seed.names.get(&format!("@{user}")).ok(),
            By::Nobody | By::Token(_) | By::Server(_) => None,
        };
        let asked = Asked { row: &row.name, user_id, ..Asked::default() };
        let mut before = asker.both(row, &path)?;
        for _ in 0..ATTEMPTS {
            let differences = compare::answers(asked, &self.allowed, &before.0, &before.1);
            if differences.is_empty() {
                break;
            }
            // Did the world move between the two questions, or for one of the workers first? Python tells, and positions.
            let after = asker.both(row, &path)?;
            let moved = differences.iter().any(|found| matches!(&*found.path, "/next_batch" | "/end"));
            if !moved && compare::answers(asked, &self.allowed, &before.0, &after.0).is_empty() {
                break;
            }
            before = after;
        }
        let (python, myelin) = before;
        self.check_row(row, &python)?;
        let mut differences = compare::answers(asked, &self.allowed, &python, &myelin);
        let native = myelin.is_native();
        if asker.expects(&row.method, &path) == Expected::PassedOn {
            // The main process answered, which sees presence, for one, otherwise than a worker does. A signature, though,
            // holds there or not.
            differences.retain(|found| matches!(row.by, By::Server(_)) && found.path == "/@status");
        }
        if row.passed_on {
            // The route is native, this request is not.
            differences.clear();
        }
        differences.extend(asker.wrong_answerer(row, &path, &myelin));
        if let Some(folder) = std::env::var_os("MYELIN_TWIN_DUMP").filter(|_| !differences.is_empty()) {
            for (name, answer) in [("python", &python), ("myelin", &myelin)] {
                let file = format!("{} {name}.json", row.name.replace('/', " "));
                let text = self.seed.names.unfill(&String::from_utf8_lossy(&answer.body));
                std::fs::write(std::path::Path::new(&folder).join(file), text)?;
            }
        }
        if let Some((name, pointer)) = &row.keep {
            let json = python.json()?;
            let value = json.pointer(&self.seed.names.fill(pointer)?).and_then(|value| value.as_str());
            self.seed.names.set(name, value.with_context(|| format!("no {pointer} to keep in {json}"))?);
        }
        Ok(Outcome { differences, native })
    }

    /// The row shows what it says, or it shows nothing.
    fn check_row(&self, row: &Row, python: &Answer) -> Result<()> {
        let text = String::from_utf8_lossy(&python.body);
        ensure!(
            row.status == 0 || python.status == row.status,
            "the row expects {}, Python says {} {text}",
            row.status,
            python.status
        );
        for pointer in &row.has {
            let pointer = self.seed.names.fill(pointer)?;
            ensure!(python.json()?.pointer(&pointer).is_some(), "Python's answer has no {pointer}: {text}");
        }
        Ok(())
    }
}

pub fn line(found: &Difference) -> String {
    let short = |text: &str| -> String {
        if std::env::var_os("MYELIN_TWIN_ALL").is_some() {
            return text.to_owned();
        }
        let cut: String = text.chars().take(300).collect();
        if cut.len() < text.len() { cut + "…" } else { cut }
    };
    format!("  {}\n    python: {}\n    myelin: {}", found.path, short(&found.python), short(&found.myelin))
}
