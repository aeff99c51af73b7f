//! What was measured as text: docs/benchmarks.md.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use myelin_testkit::python;

use super::cores::Cores;
use super::fan_out::FanOut;
use super::listening::Listening;
use super::measure::{Cell, Measured};
use super::stack::{MYELIN, PYTHON};

/// Everything that a run has measured; what it left out is empty.
#[derive(Default)]
pub struct Results {
    pub circumstances: String,
    pub rows: Vec<Measured>,
    pub cores: Vec<Cores>,
    /// Ed25519 signatures that one core checks in a second: the floor of the `fed_` rows.
    pub verifications: Option<f64>,
    pub fan_out: Vec<FanOut>,
    pub listening: Option<Listening>,
    /// Milliseconds until a worker answered.
    pub start_up: Vec<(&'static str, f64)>,
    /// When, and the bytes of each worker; how many of them are in caches, 0 if that is not known.
    pub memory: Vec<(String, Vec<(u64, u64)>)>,
}

const NAMES: [&str; 2] = [PYTHON, MYELIN];

/// One measurement for those who wait.
pub fn line(measured: &Measured) -> String {
    let mut line = format!("{:<24} x{:<3}", measured.row, measured.concurrency);
    for (name, cell) in NAMES.iter().zip(&measured.cells) {
        let _ = write!(
            line,
            " {name} {:>8.1}/s p50 {:>8.2} ms, CPU {:>8.3} + {:>8.3} ms, {:>6.1} statements;",
            cell.per_second, cell.p50, cell.worker, cell.postgres, cell.statements
        );
    }
    if let [python, myelin] = measured.cells.as_slice() {
        let _ = write!(line, " CPU 1/{:.0}", python.worker / myelin.worker.max(1e-6));
    }
    line
}

/// What a round of waiters gave, for those who wait for it.
pub fn fan_out_line(fan_out: &FanOut) -> String {
    let FanOut { worker, waiters, send, first, p50, last, cpu, postgres, statements, resident } = fan_out;
    format!(
        "{waiters:>4} waiters at {worker}: sent in {send:.0} ms, first {first:.1} ms, p50 {p50:.1} ms, last {last:.1} ms; per delivery CPU \
         {cpu:.3} + {postgres:.3} ms, {statements:.2} statements; {:.0} MB",
        megabytes(*resident)
    )
}

/// Ratios first, then what they are made of.
pub fn text(results: &Results) -> String {
    let mut out = results.circumstances.clone();
    if !results.rows.is_empty() {
        out += "## Python / Myelin\n\n";
        out += &ratios(&results.rows);
    }
    if let Some(verifications) = results.verifications {
        let _ = writeln!(
            out,
            "\n`fed_` requests are signed: one core checks {verifications:.0} signatures a second, {:.3} ms each.",
            1e3 / verifications
        );
    }
    if !results.cores.is_empty() {
        out += "\n## One process, all cores\n\n";
        out += &cores(&results.cores);
    }
    if !results.fan_out.is_empty() {
        out += "\n## One message, many long-polls\n\n";
        out += &fan_outs(&results.fan_out);
    }
    if let Some(listening) = &results.listening {
        out += "\n## Listening\n\n";
        out += &listened(listening);
    }
    out += "\n## Memory and start-up\n\n";
    out += &resources(results);
    if !results.rows.is_empty() {
        out += "\n## Absolute\n\n";
        out += &absolutes(&results.rows);
    }
    out
}

fn ratios(rows: &[Measured]) -> String {
    let mut out = String::from(
        "| row | at a time | requests per second | worker CPU | goal | Postgres CPU | statements: Python, Myelin |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for Measured { row, concurrency, goal, cells } in rows {
        let [python, myelin] = cells.as_slice() else { continue };
        let _ = writeln!(
            out,
            "| {row} | {concurrency} | {} times | {} | 1/{goal} | {} | {}, {} |",
            round(myelin.per_second / python.per_second),
            part(python.worker, myelin.worker),
            part(python.postgres, myelin.postgres),
            round(python.statements),
            round(myelin.statements),
        );
    }
    out
}

fn cores(cores: &[Cores]) -> String {
    let mut out = String::from(
        "Myelin kept to one core, and on all; 8 requests at a time. The load generator needs cores, too.\n\n\
         | row | requests per second on one | on all | times | cores busy for Myelin | for the load generator |\n\
         |---|---|---|---|---|---|\n",
    );
    for Cores { row, one, all } in cores {
        let busy = |cell: &Cell| round(cell.worker / 1e3 * cell.per_second);
        let _ = writeln!(
            out,
            "| {row} | {} | {} | {} | {}, then {} | {}, then {} |",
            round(one.per_second),
            round(all.per_second),
            round(all.per_second / one.per_second),
            busy(one),
            busy(all),
            round(one.generator),
            round(all.generator),
        );
    }
    out
}

fn absolutes(rows: &[Measured]) -> String {
    let mut out = String::from(
        "Times in milliseconds, CPU per request; `generator` is the load generator's CPU in cores.\n\n\
         | row | at a time | worker | req/s | p50 | p95 | p99 | CPU | Postgres CPU | statements | generator | bytes |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for Measured { row, concurrency, cells, .. } in rows {
        for (name, cell) in NAMES.iter().zip(cells) {
            let _ = writeln!(out, "| {row} | {concurrency} | {name} | {} |", absolute(cell));
        }
    }
    out
}

fn fan_outs(fan_outs: &[FanOut]) -> String {
    let mut out = String::from(
        "Milliseconds after the sender's answer; the main process wakes the workers before it answers, so that a time may be negative. CPU and statements are per delivery, with the poll that \
         follows it.\n\n\
         | waiters | worker | the send itself | first | p50 | last | CPU | Postgres CPU | statements | memory, waiting |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for FanOut { worker, waiters, send, first, p50, last, cpu, postgres, statements, resident } in fan_outs {
        let values = [*send, *first, *p50, *last, *cpu, *postgres, *statements].map(round).join(" | ");
        let _ = writeln!(out, "| {waiters} | {worker} | {values} | {:.0} MB |", megabytes(*resident));
    }
    out
}

/// What following replication cost.
#[expect(clippy::cast_precision_loss, reason = "thousands")]
pub fn listened(listening: &Listening) -> String {
    let [messages, typing, receipts, presence] =
        listening.achieved.map(|count| round(count as f64 / listening.seconds));
    let mut out = format!(
        "No requests; both workers listen to the same. The main process managed {messages} messages, {typing} typing, \
         {receipts} receipts and {presence} presence a second of 40, 100, 40 and 50.\n\n\
         | worker | without traffic, % of a core | with it | CPU ms per item |\n|---|---|---|---|\n"
    );
    let each_second = listening.achieved.iter().sum::<usize>() as f64 / listening.seconds;
    for (name, idle, busy) in &listening.cores {
        let _ = writeln!(
            out,
            "| {name} | {} | {} | {} |",
            round(idle * 100.0),
            round(busy * 100.0),
            round(busy * 1e3 / each_second)
        );
    }
    out
}

fn resources(results: &Results) -> String {
    let mut out = format!("| | {} |\n|---|---|---|\n", NAMES.join(" | "));
    for (when, bytes) in &results.memory {
        let bytes: Vec<_> = bytes.iter().map(|(all, cached)| memory(*all, *cached)).collect();
        let _ = writeln!(out, "| memory {when} | {} |", bytes.join(" | "));
    }
    if !results.start_up.is_empty() {
        let took: Vec<_> = results.start_up.iter().map(|(_, took)| format!("{took:.0} ms")).collect();
        let _ = writeln!(out, "| from start to the first answer | {} |", took.join(" | "));
    }
    out
}

fn memory(all: u64, cached: u64) -> String {
    let caches = if cached > 0 { format!(", {:.0} of them in caches", megabytes(cached)) } else { String::new() };
    format!("{:.0} MB{caches}", megabytes(all))
}

#[expect(clippy::cast_precision_loss, reason = "megabytes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn absolute(cell: &Cell) -> String {
    let values = [
        cell.per_second,
        cell.p50,
        cell.p95,
        cell.p99,
        cell.worker,
        cell.postgres,
        cell.statements,
        cell.generator,
        cell.bytes,
    ];
    values.map(round).join(" | ")
}

/// How much less than Python's: `1/12`, or `none`.
fn part(python: f64, myelin: f64) -> String {
    if myelin < 1e-3 {
        return if python < 1e-3 { "-".to_owned() } else { "none".to_owned() };
    }
    format!("1/{}", round(python / myelin))
}

/// Three digits are more than these measurements are good for.
fn round(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size < 0.0005 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

/// Everything below this line of docs/benchmarks.md is a run's; what is above is written by people, and kept.
const MARK: &str = "<!-- Below: written by `cargo xtask bench` -->";

pub fn save(text: &str) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks.md");
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    let (head, _) =
        known.split_once(MARK).context("docs/benchmarks.md has lost the line that separates a run's part")?;
    std::fs::write(file, format!("{head}{MARK}\n\n{text}"))?;
    Ok(())
}

/// Where and when, one line; taken before the run, so that the load is others'.
pub fn circumstances(postgres: &str) -> Result<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown CPU");
    let load = std::fs::read_to_string("/proc/loadavg")?;
    Ok(format!(
        "{}, commit {}: {} cores of {}, load before the run {}; {postgres}, {}.\n\n",
        said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])?,
        said("git", &["rev-parse", "--short", "HEAD"])?,
        std::thread::available_parallelism()?,
        model.trim_start_matches([' ', '\t', ':']),
        load.split(' ').next().unwrap_or_default(),
        said(&python::interpreter()?.to_string_lossy(), &["--version"])?,
    ))
}

/// The output of a program.
fn said(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot start {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
