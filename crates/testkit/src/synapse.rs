//! A real Synapse: the main process, and the files that its workers share.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::http;
use crate::postgres::{Postgres, USER};
use crate::process::{Service, free_port};
use crate::python;
use crate::redis::Redis;

pub const SERVER_NAME: &str = "myelin.test";

/// Whom Myelin connects to Postgres as.
pub const ROLE: &str = "myelin";

/// Postgres, Redis and a Synapse main process in one folder.
pub struct Synapse {
    pub folder: PathBuf,
    /// Client and federation port of the main process.
    pub port: u16,
    pub postgres: Postgres,
    pub redis: Redis,
    _main: Service,
}

impl Synapse {
    /// `extra` is added to homeserver.yaml.
    pub fn start(folder: &Path, extra: &str) -> Result<Self> {
        let postgres = Postgres::start(folder)?;
        postgres.create_database("synapse")?;
        Self::start_on(postgres, folder, extra)
    }

    /// On a cluster that has a database `synapse`, empty or a Synapse's of the same name.
    pub fn start_on(postgres: Postgres, folder: &Path, extra: &str) -> Result<Self> {
        let redis = Redis::start(folder)?;
        let (port, replication) = (free_port()?, free_port()?);
        let config = folder.join("homeserver.yaml");
        fs::write(folder.join("signing.key"), signing_key()?)?;
        let media = folder.join("media");
        fs::write(&config, homeserver_yaml(folder, &media, port, replication, &postgres, &redis) + extra)?;
        let mut command = python::synapse("synapse.app.homeserver")?;
        command.arg("-c").arg(&config).current_dir(folder);
        let mut main = Service::start("main", folder, command)?;
        main.wait_until(Duration::from_mins(2), || http::is_healthy(port))?;
        Ok(Self { folder: folder.to_owned(), port, postgres, redis, _main: main })
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("homeserver.yaml")
    }

    /// Writes the yaml of a worker with one http listener; `extra` is added to it.
    pub fn worker_config(&self, name: &str, port: u16, extra: &str) -> Result<PathBuf> {
        let path = self.folder.join(format!("{name}.yaml"));
        let yaml = format!(
            "worker_app: synapse.app.generic_worker\nworker_name: {name}\nworker_listeners:\n  \
             - {{type: http, port: {port}, bind_addresses: ['127.0.0.1'], x_forwarded: true, \
             resources: [{{names: [client, federation]}}]}}\n{extra}"
        );
        fs::write(&path, yaml)?;
        Ok(path)
    }

    /// A Python generic worker.
    pub fn start_python_worker(&self, name: &str) -> Result<(u16, Service)> {
        let port = free_port()?;
        let worker = self.worker_config(name, port, "")?;
        let mut command = python::synapse("synapse.app.generic_worker")?;
        command.arg("-c").arg(self.config()).arg("-c").arg(worker);
        self.start_worker(name, port, command)
    }

    /// Myelin as the restricted role of `migrations-readonly/`, with the main process as its fallback.
    pub fn start_myelin(&self, program: &Path, name: &str) -> Result<(u16, Service)> {
        let (port, command) = self.myelin_command(program, name)?;
        self.start_worker(name, port, command)
    }

    /// The command of such a Myelin and its port, with its yaml and its role in place.
    pub fn myelin_command(&self, program: &Path, name: &str) -> Result<(u16, Command)> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations-readonly/role.sql");
        self.postgres.run_script("synapse", Path::new(script), &[("role", ROLE)])?;
        let port = free_port()?;
        let extra = format!(
            "myelin: {{fallback: 'http://127.0.0.1:{}'}}\ndatabase: {{name: psycopg2, args: {{user: {ROLE}, \
             dbname: synapse, host: 127.0.0.1, port: {}, cp_min: 1, cp_max: 5}}}}\n",
            self.port, self.postgres.port
        );
        let worker = self.worker_config(name, port, &extra)?;
        let mut command = Command::new(program);
        command.arg("-c").arg(self.config()).arg("-c").arg(worker);
        Ok((port, command))
    }

    /// Runs a worker's command until it is healthy; its output goes to `name.log`.
    pub fn start_worker(&self, name: &str, port: u16, command: Command) -> Result<(u16, Service)> {
        let mut service = Service::start(name, &self.folder, command)?;
        service.wait_until(Duration::from_mins(1), || http::is_healthy(port))?;
        Ok((port, service))
    }
}

fn signing_key() -> Result<String> {
    let mut seed = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(format!("ed25519 a_test {}\n", STANDARD_NO_PAD.encode(seed)))
}

fn homeserver_yaml(
    folder: &Path,
    media: &Path,
    port: u16,
    replication: u16,
    postgres: &Postgres,
    redis: &Redis,
) -> String {
    let mut yaml = format!(
        "server_name: {SERVER_NAME}
report_stats: false
pid_file: {folder}/main.pid
signing_key_path: {folder}/signing.key
media_store_path: {media}
macaroon_secret_key: only-for-tests
enable_registration: true
enable_registration_without_verification: true
allow_guest_access: true
trusted_key_servers: []
enable_metrics: true
listeners:
  - {{type: http, port: {port}, bind_addresses: ['127.0.0.1'], x_forwarded: true, resources: [{{names: [client, federation]}}]}}
  - {{type: http, port: {replication}, bind_addresses: ['127.0.0.1'], resources: [{{names: [replication]}}]}}
instance_map: {{main: {{host: 127.0.0.1, port: {replication}}}}}
redis: {{enabled: true, host: 127.0.0.1, port: {redis}}}
database:
  name: psycopg2
  args: {{user: {USER}, dbname: synapse, host: 127.0.0.1, port: {postgres}, cp_min: 1, cp_max: 5}}
",
        folder = folder.display(),
        media = media.display(),
        redis = redis.port,
        postgres = postgres.port,
    );
    // Rate limits would make tests wait.
    let free = "{per_second: 10000, burst_count: 10000}";
    for limit in ["rc_message", "rc_registration", "rc_joins_per_room", "rc_room_creation", "rc_profile"] {
        let _ = writeln!(yaml, "{limit}: {free}");
    }
    let _ = writeln!(yaml, "rc_login: {{address: {free}, account: {free}, failed_attempts: {free}}}");
    let _ = writeln!(yaml, "rc_joins: {{local: {free}, remote: {free}}}");
    let _ = writeln!(yaml, "rc_invites: {{per_room: {free}, per_user: {free}, per_issuer: {free}}}");
    let _ = writeln!(yaml, "rc_presence: {{per_user: {free}}}");
    yaml
}
