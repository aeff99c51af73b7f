//! A private Postgres cluster, as Synapse wants it: UTF8, C locale.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::packages::{find, is_root};
use crate::process::{Service, accepts, free_port};

/// The superuser of the cluster.
pub const USER: &str = "synapse";

/// Below the folder of a run: what Postgres owns, and in it the cluster.
const DATA: &str = "postgres";
const CLUSTER: &str = "cluster";

pub struct Postgres {
    pub port: u16,
    folder: PathBuf,
    service: Service,
}

impl Postgres {
    /// Makes and starts a cluster in `folder`.
    pub fn start(folder: &Path) -> Result<Self> {
        let data = prepare(folder)?;
        let mut initdb = as_postgres(&program("initdb")?);
        initdb.args(["--username", USER, "--encoding=UTF8", "--locale=C", "--auth=trust", "--no-sync", "-D"]);
        succeed(initdb.arg(data.join(CLUSTER)).current_dir(&data))?;
        Self::on(folder)
    }

    /// Starts in `folder` a copy of the cluster that another run left, stopped, in the folder `kept`.
    pub fn start_copy(folder: &Path, kept: &Path) -> Result<Self> {
        let data = prepare(folder)?;
        succeed(Command::new("cp").arg("-a").arg(kept.join(DATA).join(CLUSTER)).arg(&data))?;
        Self::on(folder)
    }

    fn on(folder: &Path) -> Result<Self> {
        let port = free_port()?;
        Ok(Self { port, folder: folder.to_owned(), service: serve(folder, port)? })
    }

    /// Of the postmaster, the parent of every backend.
    pub fn pid(&self) -> u32 {
        self.service.pid()
    }

    /// Cuts every connection, ends it and starts it again on the same port.
    pub fn restart(&mut self) -> Result<()> {
        self.service.end()?;
        self.service = serve(&self.folder, self.port)?;
        Ok(())
    }

    pub fn create_database(&self, name: &str) -> Result<()> {
        let port = self.port.to_string();
        let mut createdb = Command::new(program("createdb")?);
        succeed(createdb.args(["-h", "127.0.0.1", "-p", &port, "-U", USER, "--template=template0", name]))
    }
}

fn prepare(folder: &Path) -> Result<PathBuf> {
    let data = folder.join(DATA);
    std::fs::create_dir(&data)?;
    if is_root() {
        // Postgres refuses to run as root.
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
        succeed(Command::new("chown").arg("postgres").arg(&data))?;
    }
    Ok(data)
}

fn serve(folder: &Path, port: u16) -> Result<Service> {
    let data = folder.join(DATA);
    let mut server = as_postgres(&program("postgres")?);
    server.arg("-D").arg(data.join(CLUSTER)).args(["-p", &port.to_string(), "-k"]).arg(&data);
    for setting in ["listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off", "max_connections=200"] {
        server.args(["-c", setting]);
    }
    server.current_dir(&data);
    // SIGINT is Postgres's fast shutdown; SIGTERM would wait for every client.
    let mut service = Service::start("postgres", folder, server)?.ended_by(Signal::INT);
    service.wait_until(Duration::from_secs(30), || is_ready(port))?;
    Ok(service)
}

/// A port that is open is not enough: the server may still say that it is starting up.
fn is_ready(port: u16) -> bool {
    let Ok(program) = program("pg_isready") else { return accepts(port) };
    let status = Command::new(program).args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]).status();
    status.is_ok_and(|status| status.success())
}

fn program(name: &str) -> Result<PathBuf> {
    find(name).with_context(|| format!("{name} is not installed"))
}

fn as_postgres(program: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
