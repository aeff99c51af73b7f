//! Child processes that do not outlive us: each in a process group of its own, ended when dropped.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::folder;

/// After this a service that was asked to end is killed.
const PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);

/// Every group that runs, for `end_all` when a signal cuts the normal way short.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A running program with its log file.
pub struct Service {
    name: String,
    child: Child,
    group: Pid,
    log: PathBuf,
    ask_to_end: Signal,
}

impl Service {
    /// Starts `command` with its output in `folder/name.log`.
    pub fn start(name: &str, folder: &Path, mut command: Command) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let mut running = running();
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process id out of range")?;
        running.push(group);
        Ok(Self { name: name.to_owned(), child, group, log, ask_to_end: Signal::TERM })
    }

    /// The signal that ends this service quickly, where that is not SIGTERM.
    #[must_use]
    pub fn ended_by(mut self, signal: Signal) -> Self {
        self.ask_to_end = signal;
        self
    }

    /// Waits until `ready`, while the program runs.
    pub fn wait_until(&mut self, limit: Duration, ready: impl Fn() -> bool) -> Result<()> {
        let start = Instant::now();
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}):\n{}", self.name, self.log_tail());
            }
            if start.elapsed() > limit {
                bail!("{} was not ready after {} s:\n{}", self.name, limit.as_secs(), self.log_tail());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Of the program itself, which leads its group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process_group(self.group, signal)?)
    }

    /// Asks the program to end and waits for its exit code; `None` if a signal ended it.
    pub fn end(&mut self) -> Result<Option<i32>> {
        self.signal(self.ask_to_end)?;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            std::thread::sleep(POLL);
        }
        bail!("{} did not end within {} s", self.name, PATIENCE.as_secs())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) && self.end().is_err() {
            let _ = self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
        running().retain(|group| *group != self.group);
    }
}

fn running() -> std::sync::MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends every service at once and removes what they wrote: for Ctrl-C, when nothing is dropped in order any more.
pub fn end_all() {
    // Nothing is started meanwhile.
    let running = running();
    for group in running.iter() {
        let _ = kill_process_group(*group, Signal::KILL);
    }
    folder::remove_all();
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

pub fn accepts(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}
