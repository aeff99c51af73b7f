//! What a worker has used: its CPU time and memory from /proc, and its Postgres backends' CPU time and statements.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use myelin_testkit::postgres::Postgres;

/// Linux tells times in `/proc/<pid>/stat` in hundredths of a second, whatever its own clock.
const TICK: Duration = Duration::from_millis(10);

/// Whose use is counted: a process, and the role that it alone is in the database.
#[derive(Clone)]
pub struct Who {
    pub pid: u32,
    pub role: &'static str,
}

/// Counters at one moment.
pub struct Usage {
    worker: Duration,
    generator: Duration,
    backends: HashMap<u32, Duration>,
    /// CPU time of backends that have ended.
    ended: Duration,
    statements: u64,
}

/// What was used between two moments.
#[derive(Clone, Copy, Default)]
pub struct Used {
    pub worker: Duration,
    /// The worker's backends. Those that ended on the way count too.
    pub postgres: Duration,
    /// Without BEGIN, COMMIT and SET.
    pub statements: u64,
    /// This process.
    pub generator: Duration,
}

impl Usage {
    pub fn now(who: &Who, postgres: &Postgres) -> Result<Self> {
        let statements = format!(
            "SELECT COALESCE(sum(calls), 0) FROM pg_stat_statements JOIN pg_roles ON pg_roles.oid = userid \
             WHERE rolname = '{}'",
            who.role
        );
        let statements = postgres.query("synapse", &statements)?.parse().context("a count of statements")?;
        // After the query, whose own backend has ended by now or does soon: it is of another role.
        let (backends, ended) = backends(postgres.pid(), who.role)?;
        Ok(Self { worker: cpu(who.pid)?, generator: cpu(std::process::id())?, backends, ended, statements })
    }

    pub fn until(&self, later: &Self) -> Used {
        let before = |pid: &u32| self.backends.get(pid).copied().unwrap_or_default();
        let alive: Duration = later.backends.iter().map(|(pid, cpu)| cpu.saturating_sub(before(pid))).sum();
        let gone = self.backends.iter().filter(|(pid, _)| !later.backends.contains_key(pid));
        let gone: Vec<Duration> = gone.map(|(_, cpu)| *cpu).collect();
        // What backends ended with is known only as a sum over all roles; it matters only if one of this role ended.
        let ended = later.ended.saturating_sub(self.ended).saturating_sub(gone.iter().sum());
        Used {
            worker: later.worker.saturating_sub(self.worker),
            postgres: alive + if gone.is_empty() { Duration::ZERO } else { ended },
            statements: later.statements - self.statements,
            generator: later.generator.saturating_sub(self.generator),
        }
    }
}

/// User and system time of a process, all its threads.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    ticks(&stat, 14..=15).with_context(|| format!("the times of process {pid}"))
}

/// Resident memory in bytes.
pub fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// The backends of a role with their CPU time, and what all backends that have ended had used.
fn backends(postmaster: u32, role: &str) -> Result<(HashMap<u32, Duration>, Duration)> {
    let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))?;
    let mut backends = HashMap::new();
    for pid in children.split_whitespace() {
        // A child may end at any time; then it is among the ended.
        let Ok(title) = fs::read_to_string(format!("/proc/{pid}/cmdline")) else { continue };
        let Ok(schedule) = fs::read_to_string(format!("/proc/{pid}/schedstat")) else { continue };
        if title.starts_with(&format!("postgres: {role} ")) {
            // A backend has one thread, whose time is told in nanoseconds here.
            let used = schedule.split(' ').next().context("an empty schedstat")?.parse()?;
            backends.insert(pid.parse()?, Duration::from_nanos(used));
        }
    }
    let stat = fs::read_to_string(format!("/proc/{postmaster}/stat"))?;
    Ok((backends, ticks(&stat, 16..=17).context("the times of the postmaster's children")?))
}

/// The sum of fields of `/proc/<pid>/stat`, counted from 1 as its manual does.
fn ticks(stat: &str, fields: std::ops::RangeInclusive<usize>) -> Option<Duration> {
    // The second field is the program's name in brackets, and may hold spaces.
    let rest = stat.rsplit_once(") ")?.1;
    let fields = rest.split(' ').skip(fields.start() - 3).take(fields.count());
    let ticks = fields.map(|field| field.parse::<u32>().ok()).sum::<Option<u32>>()?;
    Some(TICK * ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_an_odd_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 10 20 0 0 31 12 500 7 20 0 3 0 99";
        assert_eq!(ticks(stat, 14..=15), Some(Duration::from_millis(430)));
        assert_eq!(ticks(stat, 16..=17), Some(Duration::from_millis(5070)));
    }

    #[test]
    fn backends_that_ended_count() {
        let (ms, usage) = (Duration::from_millis, |backends: &[(u32, u64)], ended| Usage {
            worker: Duration::ZERO,
            generator: Duration::ZERO,
            backends: backends.iter().map(|(pid, cpu)| (*pid, Duration::from_millis(*cpu))).collect(),
            ended: Duration::from_millis(ended),
            statements: 0,
        });
        let before = usage(&[(1, 100), (2, 40)], 500);
        assert_eq!(before.until(&usage(&[(1, 130), (3, 5)], 560)).postgres, ms(35 + 20));
        // Another role's backend that ended is not ours.
        assert_eq!(before.until(&usage(&[(1, 130), (2, 40)], 560)).postgres, ms(30));
    }
}
