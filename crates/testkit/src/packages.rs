//! System packages: installed when we are root, named when we are not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// A program that must be there, and the Debian package that brings it.
const NEEDED: [(&str, &str); 6] = [
    ("redis-server", "redis-server"),
    ("nginx", "nginx"),
    ("initdb", "postgresql"),
    ("pg_config", "libpq-dev"),
    ("cc", "gcc"),
    ("openssl", "openssl"),
];

/// What only the tests need more.
pub const FOR_TESTS: [(&str, &str); 2] = [("haproxy", "haproxy"), ("faketime", "faketime")];

/// Makes sure that every program is there, and of `more`, too.
pub fn ensure(more: &[(&str, &str)]) -> Result<()> {
    let needed = [&NEEDED, more].concat();
    let mut missing: Vec<&str> =
        needed.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    if !has_venv() {
        missing.push("python3-venv");
    }
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() {
        bail!("these packages are missing, and only root can install them: apt-get install {}", missing.join(" "));
    }
    eprintln!("installing {}", missing.join(" "));
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"], missing.as_slice()].concat())
}

/// The program's path. Debian keeps Postgres's server programs out of `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    let postgres = std::fs::read_dir("/usr/lib/postgresql").ok().into_iter().flatten().flatten();
    let mut postgres: Vec<_> = postgres.map(|version| version.path().join("bin")).collect();
    postgres.sort();
    // The newest server first, and before wrappers in PATH that only know one version.
    postgres.into_iter().rev().chain(usual).map(|folder| folder.join(program)).find(|file| file.is_file())
}

pub fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn has_venv() -> bool {
    let check = Command::new("python3").args(["-c", "import venv, ensurepip"]).stderr(Stdio::null()).status();
    check.is_ok_and(|status| status.success())
}

fn apt(arguments: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("cannot start apt-get")?;
    ensure!(status.success(), "apt-get {} failed", arguments.join(" "));
    Ok(())
}

/// The workspace's own folder for what tests and demos keep between runs.
pub fn cache_folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("testkit")
}
