//! One Myelin on one core, and on all of them: what a second core adds where the processor is the limit.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::measure::{Cell, Effort, Run, once};
use super::rows::Row;
use super::stack::{MYELIN, Stack};

/// Rows whose answers are large and need no statement. Not fed_state_2000: a server has one turn at a time in a room.
const ROWS: [&str; 3] = ["sync_initial_300", "members_2000", "state_2000"];
/// Requests at a time: enough for some cores.
const CONCURRENCY: usize = 8;

pub struct Cores {
    pub row: &'static str,
    pub one: Cell,
    pub all: Cell,
}

pub fn run(stack: &Stack, rows: &[Row], effort: Effort, run: Run<'_>) -> Result<Vec<Cores>> {
    let worker = stack.workers.iter().find(|worker| worker.name == MYELIN).context("no Myelin")?;
    let throughput = |row: &Row| {
        let cells = (0..effort.repetitions).map(|_| once(stack, worker, row, CONCURRENCY, effort.time, run));
        Ok::<_, anyhow::Error>(Cell::median(&cells.collect::<Result<Vec<_>>>()?))
    };
    let status = fs::read_to_string(format!("/proc/{}/status", worker.who.pid))?;
    let all = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).context("no cores")?.trim();
    let first = all.split(['-', ',']).next().unwrap_or_default();
    let mut measured = Vec::new();
    for row in rows.iter().filter(|row| ROWS.contains(&row.name)) {
        keep_to(worker.who.pid, first)?;
        let one = throughput(row);
        keep_to(worker.who.pid, all)?;
        measured.push(Cores { row: row.name, one: one?, all: throughput(row)? });
    }
    Ok(measured)
}

/// All threads of a process.
fn keep_to(pid: u32, cores: &str) -> Result<()> {
    let mut taskset = Command::new("taskset");
    let output = taskset.args(["--all-tasks", "--cpu-list", "--pid", cores, &pid.to_string()]).output();
    let output = output.context("cannot start taskset")?;
    ensure!(output.status.success(), "taskset: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
