//! `cargo xtask test`: one command for a laptop and for CI.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use myelin_testkit::{packages, program, python};

use crate::tidy;

/// Runs everything in order of cost and stops at the first failure.
pub fn run() -> Result<()> {
    cargo("format", &["fmt", "--all", "--check"])?;
    step("tidy", tidy::run)?;
    cargo("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    step("packages", || packages::ensure(&packages::FOR_TESTS))?;
    let python = python::interpreter()?;
    cargo("build", &["test", "--workspace", "--no-run"])?;
    // The binary that was built with the tests: a build of it alone would compile half of it again.
    let target = packages::cache_folder().parent().map(|target| target.join("debug/myelin")).context("no target")?;
    step("tests", || {
        let mut tests = program::cargo();
        tests.args(["test", "--workspace"]).env("MYELIN_PYTHON", python).env(program::VARIABLE, target);
        succeed(&mut tests)
    })
}

fn cargo(name: &str, arguments: &[&str]) -> Result<()> {
    step(name, || succeed(program::cargo().args(arguments)))
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().context("cannot start cargo")?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

fn step(name: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("==> {name}");
    let start = Instant::now();
    act()?;
    eprintln!("==> {name}: passed in {:.1} s", start.elapsed().as_secs_f32());
    Ok(())
}
