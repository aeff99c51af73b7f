//! A real Synapse: the main process, and the files that its workers share.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::json;

use crate::http::{self, Client};
use crate::postgres::{Postgres, USER};
use crate::process::{Service, free_port};
use crate::proxy::Proxy;
use crate::python;
use crate::redis::Redis;
use crate::writers::{self, Topology, Writer};

pub const SERVER_NAME: &str = "myelin.test";

/// Whom Myelin connects to Postgres as.
pub const ROLE: &str = "myelin";

/// Whom `Synapse::register` has made.
pub struct User {
    pub id: String,
    pub token: String,
}

/// The password of each of them.
pub const PASSWORD: &str = "pw-for-tests";

/// Postgres, Redis, a Synapse main process and its stream writers in one folder.
pub struct Synapse {
    pub folder: PathBuf,
    /// Client and federation API: the main process, or nginx before it and its stream writers.
    pub port: u16,
    pub postgres: Postgres,
    pub redis: Redis,
    main_port: u16,
    main: Service,
    writers: Vec<(Writer, Service)>,
    _front: Option<Proxy>,
}

impl Synapse {
    /// The main process writes everything; `extra` is added to homeserver.yaml.
    pub fn start(folder: &Path, extra: &str) -> Result<Self> {
        Self::start_with(folder, extra, &[])
    }

    /// On a cluster that has a database `synapse`, empty or a Synapse's of the same name.
    pub fn start_on(postgres: Postgres, folder: &Path, extra: &str) -> Result<Self> {
        Self::start_all(postgres, folder, extra, &[])
    }

    /// The same with stream writers beside the main process: `writers::SEPARATE`, for one.
    pub fn start_with(folder: &Path, extra: &str, topology: Topology<'_>) -> Result<Self> {
        let postgres = Postgres::start(folder)?;
        postgres.create_database("synapse")?;
        Self::start_all(postgres, folder, extra, topology)
    }

    fn start_all(postgres: Postgres, folder: &Path, extra: &str, topology: Topology<'_>) -> Result<Self> {
        let redis = Redis::start(folder)?;
        let (main_port, replication) = (free_port()?, free_port()?);
        let planned = writers::plan(topology)?;
        fs::write(folder.join("signing.key"), signing_key()?)?;
        let yaml = homeserver_yaml(folder, main_port, replication, &postgres, &redis);
        fs::write(folder.join("homeserver.yaml"), yaml + &writers::shared_yaml(replication, &planned) + extra)?;
        // It makes the tables that the others need.
        let main = start_main(folder, main_port)?;
        let front = if planned.is_empty() { None } else { Some(writers::front(folder, main_port, &planned)?) };
        let port = front.as_ref().map_or(main_port, |front| front.port);
        let started = std::thread::scope(|scope| {
            let starts: Vec<_> = planned.iter().map(|writer| scope.spawn(|| start_writer(folder, writer))).collect();
            starts.into_iter().map(|start| start.join().map_err(|_| anyhow!("a start panicked"))?).collect()
        });
        let started: Result<Vec<Service>> = started;
        let writers = planned.into_iter().zip(started?).collect();
        Ok(Self { folder: folder.to_owned(), port, postgres, redis, main_port, main, writers, _front: front })
    }

    /// Client APIs of the main process and of its stream writers, each with what it has written.
    pub fn ports(&self) -> Vec<u16> {
        let writers = self.writers.iter().map(|(writer, _)| writer.port);
        std::iter::once(self.main_port).chain(writers).collect()
    }

    pub fn register(&self, name: &str) -> Result<User> {
        let body = json!({"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}});
        let answer = Client::new(self.port).send("POST", "/_matrix/client/v3/register", Some(&body))?.ok()?;
        let text = |key: &str| answer[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"));
        Ok(User { id: text("user_id")?, token: text("access_token")? })
    }

    /// Ends the main process and starts it again.
    pub fn restart_main(&mut self) -> Result<()> {
        self.stop_main()?;
        self.start_main()
    }

    pub fn stop_main(&mut self) -> Result<()> {
        self.main.end().map(drop)
    }

    pub fn start_main(&mut self) -> Result<()> {
        self.main = start_main(&self.folder, self.main_port)?;
        Ok(())
    }

    /// Ends a stream writer and starts it again.
    pub fn restart_writer(&mut self, name: &str) -> Result<()> {
        let found = self.writers.iter_mut().find(|(writer, _)| writer.name == name);
        let (writer, service) = found.with_context(|| format!("there is no writer {name}"))?;
        service.end()?;
        *service = start_writer(&self.folder, writer)?;
        Ok(())
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
             resources: [{{names: [client, federation, metrics]}}]}}\n{extra}"
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
        let port = free_port()?;
        let worker = self.worker_config(name, port, &self.myelin_yaml(self.postgres.port)?)?;
        let mut command = Command::new(program);
        command.arg("-c").arg(self.config()).arg("-c").arg(worker);
        Ok((port, command))
    }

    /// What a Myelin's yaml has more than a Python worker's: its fallback, and a role of its own in the database.
    pub fn myelin_yaml(&self, postgres_port: u16) -> Result<String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations-readonly/role.sql");
        self.postgres.run_script("synapse", Path::new(script), &[("role", ROLE)])?;
        Ok(format!(
            "myelin: {{fallback: 'http://127.0.0.1:{}'}}\ndatabase: {{name: psycopg2, args: {{user: {ROLE}, \
             dbname: synapse, host: 127.0.0.1, port: {postgres_port}, cp_min: 1, cp_max: 5}}}}\n",
            self.port
        ))
    }

    /// Runs a worker's command until it is healthy; its output goes to `name.log`.
    pub fn start_worker(&self, name: &str, port: u16, command: Command) -> Result<(u16, Service)> {
        let mut service = Service::start(name, &self.folder, command)?;
        service.wait_until(Duration::from_mins(1), || http::is_healthy(port))?;
        Ok((port, service))
    }
}

fn start_main(folder: &Path, port: u16) -> Result<Service> {
    let mut command = python::synapse("synapse.app.homeserver")?;
    command.arg("-c").arg(folder.join("homeserver.yaml")).current_dir(folder);
    let mut main = Service::start("main", folder, command)?;
    main.wait_until(Duration::from_mins(2), || http::is_healthy(port))?;
    Ok(main)
}

fn start_writer(folder: &Path, writer: &Writer) -> Result<Service> {
    writer.start(folder, &folder.join("homeserver.yaml"))
}

fn signing_key() -> Result<String> {
    let mut seed = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(format!("ed25519 a_test {}\n", STANDARD_NO_PAD.encode(seed)))
}

fn homeserver_yaml(folder: &Path, port: u16, replication: u16, postgres: &Postgres, redis: &Redis) -> String {
    let mut yaml = format!(
        "server_name: {SERVER_NAME}
report_stats: false
pid_file: {folder}/main.pid
signing_key_path: {folder}/signing.key
media_store_path: {folder}/media
macaroon_secret_key: only-for-tests
enable_registration: true
enable_registration_without_verification: true
allow_guest_access: true
trusted_key_servers: []
enable_metrics: true
listeners:
  - {{type: http, port: {port}, bind_addresses: ['127.0.0.1'], x_forwarded: true, resources: [{{names: [client, federation]}}]}}
  - {{type: http, port: {replication}, bind_addresses: ['127.0.0.1'], resources: [{{names: [replication]}}]}}
redis: {{enabled: true, host: 127.0.0.1, port: {redis}}}
database:
  name: psycopg2
  args: {{user: {USER}, dbname: synapse, host: 127.0.0.1, port: {postgres}, cp_min: 1, cp_max: 5}}
",
        folder = folder.display(),
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
