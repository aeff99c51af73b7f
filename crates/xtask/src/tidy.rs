//! `cargo xtask tidy`: what the compiler does not check. Each file says what it is, none is too long,
//! and the rooms depend on each other only downwards.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

const MAX_LINES: usize = 600;

/// Which of our crates each room may use in its product code; ARCHITECTURE.md draws the same.
const ROOMS: [(&str, &[&str]); 10] = [
    ("myelin-model", &[]),
    ("myelin-config", &[]),
    ("myelin-caches", &["model"]),
    ("myelin-live", &["model"]),
    ("myelin-replication", &["model", "config"]),
    ("myelin-storage", &["model", "config", "caches"]),
    ("myelin-follower", &["model", "config", "live", "replication", "storage"]),
    ("myelin-handlers", &["model", "config", "caches", "live", "replication", "storage"]),
    ("myelin-rest", &["model", "config", "replication", "handlers"]),
    ("myelin", &["model", "config", "live", "replication", "storage", "follower", "handlers", "rest"]),
];

/// Libraries that only these rooms may use: the fence around SQL, Redis and the web framework.
const FENCES: [(&str, &[&str]); 3] = [
    ("sqlx", &["myelin-storage", "myelin-testkit"]),
    ("redis", &["myelin-replication"]),
    ("axum", &["myelin-rest", "myelin"]),
];

pub fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let mut faults = Vec::new();
    for folder in ["crates", "tests", "compliance"] {
        for file in rust_files(&root.join(folder))? {
            faults.extend(check_file(&root, &file)?);
        }
    }
    faults.extend(check_dependencies(&root)?);
    if !faults.is_empty() {
        bail!("{} things to tidy up:\n{}", faults.len(), faults.join("\n"));
    }
    Ok(())
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

fn check_file(root: &Path, file: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file)?;
    let name = file.strip_prefix(root).unwrap_or(file).display();
    let mut faults = Vec::new();
    if !text.starts_with("//! ") {
        faults.push(format!("{name}: the first line does not say what the file is"));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        faults.push(format!("{name}: {lines} lines, more than {MAX_LINES}"));
    }
    Ok(faults)
}

fn check_dependencies(root: &Path) -> Result<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output()
        .context("cannot start cargo")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let mut faults = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package without a name")?;
        let dependencies = package["dependencies"].as_array().context("a package without dependencies")?;
        let product = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
        for used in product.filter_map(|dependency| dependency["name"].as_str()) {
            faults.extend(check_dependency(name, used));
        }
    }
    Ok(faults)
}

fn check_dependency(name: &str, used: &str) -> Option<String> {
    if let Some((_, allowed)) = FENCES.iter().find(|(library, _)| *library == used) {
        return (!allowed.contains(&name)).then(|| format!("{name} may not depend on {used}"));
    }
    let (_, allowed) = ROOMS.iter().find(|(room, _)| *room == name)?;
    let room = used.strip_prefix("myelin-")?;
    (!allowed.contains(&room)).then(|| format!("{name} may not depend on {used}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fence_holds() {
        assert!(check_dependency("myelin-handlers", "sqlx").is_some());
        assert!(check_dependency("myelin-storage", "sqlx").is_none());
        assert!(check_dependency("myelin-handlers", "myelin-follower").is_some());
        assert!(check_dependency("myelin-handlers", "myelin-storage").is_none());
        assert!(check_dependency("myelin-model", "serde").is_none());
    }
}
