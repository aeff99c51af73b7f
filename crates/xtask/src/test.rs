//! `cargo xtask test`: one command for a laptop and for CI.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::tidy;

/// Runs everything in order of cost and stops at the first failure.
pub fn run() -> Result<()> {
    cargo("format", &["fmt", "--all", "--check"])?;
    step("tidy", tidy::run)?;
    cargo("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    cargo("tests", &["test", "--workspace"])
}

fn cargo(name: &str, arguments: &[&str]) -> Result<()> {
    step(name, || {
        let status = Command::new(env!("CARGO")).args(arguments).status().context("cannot start cargo")?;
        ensure!(status.success(), "cargo {} failed", arguments.join(" "));
        Ok(())
    })
}

fn step(name: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("==> {name}");
    let start = Instant::now();
    act()?;
    eprintln!("==> {name}: passed in {:.1} s", start.elapsed().as_secs_f32());
    Ok(())
}
