//! The binary as a process, against a real Synapse.

pub mod myelin;
pub mod reader;
pub mod repeated;
pub mod signed;
pub mod stage;
pub mod talker;
pub mod through;

use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use myelin_testkit::process::{Service, free_port};
use myelin_testkit::program::program;
use myelin_testkit::synapse::Synapse;

use crate::stage::PATIENCE;

/// Myelin as a worker of `synapse`, with `extra` added to its yaml; it need not become healthy.
pub fn command(synapse: &Synapse, name: &str, port: u16, extra: &str) -> Result<Command> {
    let worker = synapse.worker_config(name, port, extra)?;
    let mut command = Command::new(program()?);
    command.arg("-c").arg(synapse.config()).arg("-c").arg(worker);
    Ok(command)
}

/// Myelin, once it is healthy, and its port.
pub fn start(synapse: &Synapse, name: &str, extra: &str) -> Result<(u16, Service)> {
    start_on(synapse, name, free_port()?, extra)
}

/// The same on a port that `extra` may name.
pub fn start_on(synapse: &Synapse, name: &str, port: u16, extra: &str) -> Result<(u16, Service)> {
    synapse.start_worker(name, port, command(synapse, name, port, extra)?)
}

/// Yaml of a listener for clients and other servers, and for who wants to know the metrics.
pub fn client_and_metrics(port: u16) -> String {
    format!(
        "worker_listeners:\n  - {{type: http, port: {port}, bind_addresses: ['127.0.0.1'], x_forwarded: true, \
         resources: [{{names: [client, federation, metrics]}}]}}\n"
    )
}

/// What a start that must fail printed to stderr.
pub fn refusal(mut command: Command) -> Result<String> {
    let Output { status, stderr, .. } = command.stdin(Stdio::null()).output().context("cannot start Myelin")?;
    let message = String::from_utf8_lossy(&stderr).into_owned();
    ensure!(status.code() == Some(1), "{status} instead of exit code 1: {message}");
    Ok(message)
}

/// Asks until it holds, and fails with `otherwise` when that takes too long.
pub fn eventually(otherwise: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds()? {
        ensure!(Instant::now() < deadline, "{otherwise}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Something that a running Synapse is needed for.
pub type Case = (&'static str, fn(&Synapse) -> Result<()>);

/// Runs all cases against one Synapse, which takes long to start, and names those that fail.
pub fn run(extra: &str, cases: &[Case]) -> Result<()> {
    program()?;
    let folder = tempfile::tempdir()?;
    let synapse = Synapse::start(folder.path(), extra)?;
    let mut failures = Vec::new();
    for (name, case) in cases {
        let start = Instant::now();
        if let Err(error) = case(&synapse) {
            failures.push(format!("{name}: {error:#}"));
        }
        println!("{name}: {:.1} s", start.elapsed().as_secs_f32());
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}
