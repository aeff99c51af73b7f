//! Random scenarios: users do things through the main process or Myelin, and after every step both workers are asked the
//! same; of a second kind are those in which other servers take part, and ask.
//! What once failed is kept in `compliance/scenarios/` and played first.

mod generate;
mod play;
mod poll;
mod questions;
mod random;
mod rare;
mod rooms;
mod routes;
mod server_questions;
mod servers;
mod settings;
mod shrink;
mod step;
mod talk;
mod world;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use myelin_testkit::folder::Folder;
use myelin_testkit::writers;

use crate::seed::Seed;
use crate::stack::{Stack, end_with_signals};
use play::{Tally, Theatre};
use step::Step;

/// Of every user.
const PASSWORD: &str = "pw-for-tests";
/// bcrypt is made to be slow, and there are many users.
const SETTINGS: &str = "bcrypt_rounds: 4\n";
/// Nobody reads a line for each request.
const LOGGING: &str = "
version: 1
formatters: {precise: {format: '%(asctime)s - %(name)s - %(lineno)d - %(levelname)s - %(request)s - %(message)s'}}
handlers: {console: {class: logging.StreamHandler, formatter: precise}}
root: {level: WARNING, handlers: [console]}
disable_existing_loggers: false
";
/// The main process sums up unread messages every 30 s, and one who asks counts others afterwards; what a worker counted
/// before, it keeps. So that both count the same, nothing is summed up here: see `Stack::wait_push_actions_rotated` for
/// where that is compared.
const NO_ROTATION: &str = "
CREATE FUNCTION not_here() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'not in scenarios'; END $$ LANGUAGE plpgsql;
CREATE TRIGGER not_here BEFORE INSERT OR UPDATE OR DELETE ON event_push_summary EXECUTE FUNCTION not_here();
CREATE TRIGGER not_here BEFORE UPDATE ON event_push_summary_stream_ordering EXECUTE FUNCTION not_here();
CREATE TRIGGER not_here BEFORE UPDATE ON event_push_summary_last_receipt_stream_id EXECUTE FUNCTION not_here();
";
const STEPS: usize = 80;
/// Seconds for which a failing scenario is made smaller.
const SHRINK: u64 = 120;
/// Seeds of every run: with all streams written by the main process, and with separate writers.
const FIXED: [Range<u64>; 2] = [1..3, 3..4];
const FIXED_OF_SERVERS: Range<u64> = 1..2;

/// Plays the kept scenarios, some fixed seeds and some fresh ones. `MYELIN_SCENARIO_SEEDS=1..300` (or `7`, and `s7` of
/// those with other servers) plays these seeds instead, with `MYELIN_SCENARIO_STEPS` steps each; `MYELIN_SCENARIO_FILE`
/// plays one file of steps, and both do so with two event persisters and other stream writers beside the main process if
/// `MYELIN_SCENARIO_WRITERS` is set; `MYELIN_SCENARIO_FRESH=300` begins fresh seeds for 300 s of each kind instead of one
/// of each; `MYELIN_SCENARIO_SHRINK=0` only looks for failures, without making them smaller.
pub fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            println!("{failed} scenarios failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("the scenarios could not run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<usize> {
    end_with_signals()?;
    let writers = std::env::var_os("MYELIN_SCENARIO_WRITERS").is_some();
    if let Some(file) = std::env::var_os("MYELIN_SCENARIO_FILE") {
        return on_a_stage(writers, |theatre| kept(theatre, Path::new(&file)).map(usize::from));
    }
    if let Ok(text) = std::env::var("MYELIN_SCENARIO_SEEDS") {
        let (kind, wanted) = seeds(&text)?;
        return on_a_stage(writers, |theatre| play(theatre, kind, wanted));
    }
    let time = Duration::from_secs(number("MYELIN_SCENARIO_FRESH")?.unwrap_or_default());
    let fresh = |theatre: &Theatre, kind| fresh(theatre, kind, time);
    let [plain, separate] = FIXED;
    let failed = on_a_stage(false, |theatre| {
        let mut failed = 0;
        for file in files()? {
            failed += usize::from(kept(theatre, &file)?);
        }
        failed += play(theatre, Kind::Servers, FIXED_OF_SERVERS)? + fresh(theatre, Kind::Servers)?;
        Ok(failed + play(theatre, Kind::Users, plain)? + fresh(theatre, Kind::Users)?)
    })?;
    let separate = |theatre: &Theatre| Ok(play(theatre, Kind::Users, separate)? + fresh(theatre, Kind::Users)?);
    Ok(failed + on_a_stage(true, separate)?)
}

/// How many of them failed, with what they are played on.
fn on_a_stage(writers: bool, played: impl FnOnce(&Theatre) -> Result<usize>) -> Result<usize> {
    let start = Instant::now();
    let folder = Folder::new("scenario")?;
    let topology = if writers { writers::SEPARATE } else { &[] };
    let logging = folder.path().join("log.yaml");
    std::fs::write(&logging, LOGGING)?;
    let settings = format!("{SETTINGS}log_config: {}\n", logging.display());
    let (stack, seed) = Stack::start(folder.path(), &settings, topology, Seed::empty)?;
    stack.query(NO_ROTATION)?;
    let theatre = Theatre::new(stack, seed)?;
    println!(
        "started in {:.1} s{}",
        start.elapsed().as_secs_f32(),
        if writers { ", with separate writers" } else { "" }
    );
    played(&theatre)
}

fn play(theatre: &Theatre, kind: Kind, seeds: impl IntoIterator<Item = u64>) -> Result<usize> {
    seeds.into_iter().map(|seed| random(theatre, kind, seed).map(usize::from)).sum()
}

/// Seeds that no run had before, at least one.
fn fresh(theatre: &Theatre, kind: Kind, time: Duration) -> Result<usize> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let start = Instant::now();
    let first = now * 1000;
    play(theatre, kind, (first..).take_while(|seed| *seed == first || start.elapsed() < time))
}

/// An environment variable.
fn number(name: &str) -> Result<Option<u64>> {
    let Ok(text) = std::env::var(name) else { return Ok(None) };
    text.parse().map(Some).with_context(|| format!("{name}: {text}"))
}

/// Who does things in a scenario, besides the users whom both have, and asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Users,
    Servers,
}

/// `7` or `1..300`, both ends included; `s7` and `s1..300` of servers.
fn seeds(text: &str) -> Result<(Kind, Range<u64>)> {
    let (kind, text) = text.strip_prefix('s').map_or((Kind::Users, text), |text| (Kind::Servers, text));
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let number = |text: &str| text.parse::<u64>().with_context(|| format!("MYELIN_SCENARIO_SEEDS: {text}"));
    Ok((kind, number(first)?..number(last)? + 1))
}

fn files() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    Ok(files)
}

/// Whether it failed.
fn kept(theatre: &Theatre, file: &Path) -> Result<bool> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let steps = step::read(&text).with_context(|| file.display().to_string())?;
    one(theatre, &file.file_name().unwrap_or_default().to_string_lossy(), &steps, false)
}

fn random(theatre: &Theatre, kind: Kind, seed: u64) -> Result<bool> {
    let steps = std::env::var("MYELIN_SCENARIO_STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(STEPS);
    let (name, steps) = match kind {
        Kind::Users => (format!("seed {seed}"), generate::generate(seed, steps, generate::step)),
        Kind::Servers => (format!("seed s{seed}"), generate::generate(seed, steps, servers::step)),
    };
    one(theatre, &name, &steps, true)
}

fn one(theatre: &Theatre, name: &str, steps: &[Step], shrinks: bool) -> Result<bool> {
    let start = Instant::now();
    let mut tally = Tally::default();
    let failure = theatre.play(steps, &mut tally).with_context(|| name.to_owned())?;
    let Some(failure) = failure else {
        println!(
            "{name}: {} steps, {} acts ({} refused), {} questions ({} answered with 200, {} without an object, {} given up) in {:.1} s",
            steps.len(),
            tally.acts,
            tally.refused,
            tally.asked,
            tally.answered,
            tally.skipped,
            tally.moved,
            start.elapsed().as_secs_f32()
        );
        println!("  {:.1?}", tally.times);
        return Ok(false);
    };
    println!("FAILED {name} after step {} of {}: {}", failure.at + 1, steps.len(), failure.kind);
    failure.lines.iter().take(12).for_each(|line| println!("{line}"));
    let limit = number("MYELIN_SCENARIO_SHRINK")?.unwrap_or(SHRINK);
    let (steps, failure) = if shrinks && limit > 0 {
        shrink::shrink(theatre, steps, failure, Duration::from_secs(limit))?
    } else {
        (steps[..=failure.at].to_vec(), failure)
    };
    if shrinks {
        println!("MYELIN_SCENARIO_SEEDS={} plays it again", name.trim_start_matches("seed "));
    }
    println!(
        "the smallest that still fails ({} steps); to keep it, save it as compliance/scenarios/<name>.jsonl:",
        steps.len()
    );
    print!("{}", step::write(&steps)?);
    failure.lines.iter().for_each(|line| println!("{line}"));
    Ok(true)
}
