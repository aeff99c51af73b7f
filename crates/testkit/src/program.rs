//! The binary under test. Cargo has no way to depend on another package's binary.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Where a test run has put the binary that it built together with the tests.
pub const VARIABLE: &str = "MYELIN_PROGRAM";

/// Cargo, as if it was started from a shell. What Cargo tells a program that it runs about that program's package makes
/// the build scripts of some dependencies run again, and half of everything is compiled once more.
pub fn cargo() -> Command {
    // A binary may be run without Cargo.
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let of_a_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_a_package)) {
        command.env_remove(name);
    }
    command
}

/// Built once per process, unless `MYELIN_PROGRAM` names it.
pub fn program() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    if let Some(program) = std::env::var_os(VARIABLE) {
        return Ok(program.into());
    }
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(program) = &*built {
        return Ok(program.clone());
    }
    let output = cargo()
        .args(["build", "--package", "myelin", "--message-format=json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "Myelin does not build");
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut messages = messages.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program = messages.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    Ok(built.insert(program.context("cargo built no program")?).clone())
}
