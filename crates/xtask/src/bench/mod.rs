//! `cargo xtask bench`: one Python worker and one Myelin side by side on one database.

mod cores;
mod dataset;
mod fan_out;
mod federation;
mod listening;
mod load;
mod measure;
mod report;
mod rows;
mod stack;
mod usage;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use myelin_testkit::{http, packages, process, program, python};
use serde_json::Value;
use tokio::runtime::Runtime;

use measure::Effort;
use report::Results;
use stack::{Stack, Worker};
use usage::resident;

#[derive(clap::Args)]
pub struct Options {
    /// Measure only rows whose name starts so; nothing is saved.
    /// Also `fan_out`, `listening` and `start_up`.
    #[arg(long)]
    only: Option<String>,
    /// One short repetition with few requests at a time: for development; nothing is saved.
    #[arg(long)]
    quick: bool,
    /// Do not write docs/benchmarks.md.
    #[arg(long)]
    no_save: bool,
    /// For a profiler: keep Myelin running on the data set, print where it is, and with --only repeat that.
    #[arg(long)]
    serve: bool,
}

const FULL: Effort = Effort {
    time: Duration::from_secs(1),
    repetitions: 3,
    at_a_time: &[1, 8, 32],
    waiters: &[50, 200, 1000],
    rounds: 5,
    listening: Duration::from_secs(40),
};
const QUICK: Effort = Effort {
    time: Duration::from_millis(700),
    repetitions: 1,
    at_a_time: &[1, 8],
    waiters: &[50, 1000],
    rounds: 1,
    listening: Duration::from_secs(8),
};

pub fn run(options: &Options) -> Result<()> {
    // Nothing is dropped in order then.
    ctrlc::set_handler(|| {
        process::end_all();
        std::process::exit(130);
    })
    .context("cannot catch Ctrl-C")?;
    packages::ensure(&[])?;
    python::interpreter()?;
    dataset::get()?;
    if cfg!(debug_assertions) {
        return run_release_build();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if options.serve {
        return serve(options.only.as_deref(), &runtime);
    }
    let stack = Stack::start(true)?;
    let effort = if options.quick { QUICK } else { FULL };
    let only = options.only.as_deref().unwrap_or_default();
    let results = measure_all(&stack, effort, only, &runtime)?;
    let text = report::text(&results);
    println!("{text}");
    if only.is_empty() && !options.quick && !options.no_save {
        report::save(&text)?;
    }
    Ok(())
}

/// What begins with `only`; the rows first, because the rest writes to the data.
fn measure_all(stack: &Stack, effort: Effort, only: &str, runtime: &Runtime) -> Result<Results> {
    let postgres =
        stack.synapse.postgres.query("synapse", "SELECT 'Postgres ' || current_setting('server_version')")?;
    let mut results = Results { circumstances: report::circumstances(&postgres)?, ..Results::default() };
    let mut rows = rows::all(stack)?;
    rows.retain(|row| row.name.starts_with(only));
    if rows.iter().any(|row| row.name.starts_with("fed_")) {
        results.verifications = Some(federation::verifications_per_second(effort.time)?);
    }
    if !rows.is_empty() {
        progress("rows");
        let run = (runtime, &Arc::new(AtomicU64::new(0)));
        results.rows = measure::rows(stack, &rows, effort, run, |row| eprintln!("{}", report::line(row)))?;
        results.cores = cores::run(stack, &rows, effort, run)?;
        results.memory.push(("after the rows".to_owned(), memory(stack)?));
    }
    if "fan_out".starts_with(only) {
        progress("fan-out");
        let done = |fan_out: &_| eprintln!("{}", report::fan_out_line(fan_out));
        results.fan_out = fan_out::run(stack, effort.waiters, effort.rounds, runtime, done)?;
        results.memory.push(("after the fan-out".to_owned(), memory(stack)?));
    }
    if "listening".starts_with(only) {
        progress("listening");
        results.listening = Some(listening::run(stack, effort.listening)?);
    }
    if "start_up".starts_with(only) {
        progress("start-up");
        results.start_up = stack::start_up(stack, effort.repetitions)?;
    }
    let at_start = stack.workers.iter().map(|worker| (worker.resident_at_start, 0)).collect();
    results.memory.insert(0, ("at start".to_owned(), at_start));
    Ok(results)
}

/// For each worker: bytes, and how many of them its caches think they hold. Synapse does not tell.
fn memory(stack: &Stack) -> Result<Vec<(u64, u64)>> {
    let of = |worker: &Worker| {
        let cached = http::metric(worker.port, "synapse_util_caches_cache_size_bytes")?;
        Ok((resident(worker.who.pid)?, cached))
    };
    stack.workers.iter().map(of).collect()
}

/// Builds Myelin and this program for release, and goes on as that: a load generator without optimisation would be the limit.
fn run_release_build() -> Result<()> {
    progress("building Myelin and the load generator for release");
    let output = program::cargo()
        .args(["build", "--release", "--package", "myelin", "--package", "xtask"])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "the release build failed");
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = |name: &str| -> Result<PathBuf> {
        let mut messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let found = messages.find_map(|message| {
            let path = message["executable"].as_str()?;
            (message["target"]["name"] == name).then(|| PathBuf::from(path))
        });
        found.with_context(|| format!("cargo built no {name}"))
    };
    let mut command = Command::new(executable("xtask")?);
    command.args(std::env::args_os().skip(1));
    if std::env::var_os(program::VARIABLE).is_none() {
        command.env(program::VARIABLE, executable("myelin")?);
    }
    Err(command.exec()).context("cannot start the release build")
}

/// For a profiler: Myelin on the data set until Ctrl-C; `row` is repeated, its requests one after the other.
fn serve(row: Option<&str>, runtime: &Runtime) -> Result<()> {
    let stack = Stack::start(false)?;
    let myelin = stack.workers.first().context("no worker")?;
    let (data, base) = (&stack.dataset, format!("http://127.0.0.1:{}/_matrix/client/v3", myelin.port));
    println!("Myelin       process {}, {base}", myelin.who.pid);
    println!("Postgres     psql -h 127.0.0.1 -p {} -U synapse synapse", stack.synapse.postgres.port);
    println!("main process http://127.0.0.1:{}", stack.synapse.port);
    println!("300 rooms    access token {}", dataset::token("heavy"));
    println!("5 rooms      access token {}", dataset::token(&dataset::light(0)));
    println!("two rooms    access token {}", dataset::token(&dataset::user(500)));
    println!(
        "rooms        2,000 members {}, 1,000 {}, 8 {}",
        data.room_of_2000, data.room_of_1000, data.small_rooms[0]
    );
    println!("since        now {}", stack.now("heavy")?);
    println!("             50 messages in the room of 1,000 ago {}", data.before_messages);
    println!("             a message or two in each of 50 rooms ago {}", data.before_rooms);
    println!("\nCtrl-C ends it all.");
    let rows = rows::all(&stack)?;
    let number = Arc::new(AtomicU64::new(0));
    loop {
        match row {
            None => std::thread::park(),
            Some("fan_out") => {
                let done = |fan_out: &_| println!("{}", report::fan_out_line(fan_out));
                fan_out::run(&stack, &[1000], FULL.rounds, runtime, done)?;
            }
            Some("listening") => {
                let listening = listening::run(&stack, QUICK.listening)?;
                println!("{}", report::listened(&listening));
            }
            Some(name) => {
                let row = rows.iter().find(|row| row.name == name).with_context(|| format!("no row {name}"))?;
                let load = runtime.block_on(load::run(myelin.port, &row.asks, &number, 1, Duration::from_secs(5)))?;
                println!("{}: {:.0} requests a second", row.name, load.per_second());
            }
        }
    }
}

fn progress(what: &str) {
    eprintln!("==> {what}");
}
