//! Python environments, made once and kept: that of the real Synapse, and others.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::packages::{cache_folder, find};

/// The Synapse that Myelin answers as, and the Redis client that its workers need.
const REQUIREMENTS: [&str; 2] = ["matrix-synapse[postgres,redis]==1.163.2", "txredisapi<1.6"];

/// The interpreter of the environment with Synapse.
pub fn interpreter() -> Result<PathBuf> {
    environment("python-1.163.2", &REQUIREMENTS)
}

/// The interpreter of an environment with these packages; made on first use, by one process at a time.
pub fn environment(name: &str, requirements: &[&str]) -> Result<PathBuf> {
    let folder = cache_folder().join(name);
    let done = folder.join("complete");
    std::fs::create_dir_all(cache_folder())?;
    let lock = File::create(cache_folder().join("python.lock"))?;
    lock.lock().context("cannot lock the Python environment")?;
    if !done.exists() {
        eprintln!("making a Python environment with {} (some minutes)", requirements.join(" "));
        make(&folder, requirements)?;
        File::create(done)?;
    }
    Ok(folder.join("bin/python"))
}

/// `python -m module`, a program of the real Synapse.
pub fn synapse(module: &str) -> Result<Command> {
    let mut command = Command::new(interpreter()?);
    command.args(["-m", module]);
    // Synapse adds the git revision around its own files to the version that it names: here it would be Myelin's.
    command.env("GIT_CEILING_DIRECTORIES", cache_folder());
    Ok(command)
}

fn make(folder: &Path, requirements: &[&str]) -> Result<()> {
    if folder.exists() {
        // Left half made by a run that was stopped.
        std::fs::remove_dir_all(folder)?;
    }
    succeed(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(requirements);
    // psycopg2 is compiled against libpq, which pg_config describes.
    if let Some(bin) = find("pg_config").as_deref().and_then(Path::parent) {
        let path = std::env::var("PATH").unwrap_or_default();
        pip.env("PATH", format!("{}:{path}", bin.display()));
    }
    succeed(&mut pip)
}

/// Runs it to its end.
pub fn succeed(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}
