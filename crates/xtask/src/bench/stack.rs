//! What is measured: a Python worker and a Myelin on a copy of the data set, beside one main process.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use myelin_testkit::folder::Folder;
use myelin_testkit::http::Client;
use myelin_testkit::postgres::Postgres;
use myelin_testkit::process::{Service, free_port};
use myelin_testkit::program::program;
use myelin_testkit::python;
use myelin_testkit::synapse::{self, Synapse};

use super::dataset::{self, Dataset, token};
use super::measure::median;
use super::progress;
use super::usage::{Who, resident};

pub const PYTHON: &str = "Python";
pub const MYELIN: &str = "Myelin";

/// Whom the Python worker is in the database; the main process is another, so that their statements are told apart.
const PYTHON_ROLE: &str = "bench_python";

/// Of both workers and the main process; `cp_max` is testkit's.
const SETTINGS: &str = "
stats: {enabled: false}
rc_federation: {sleep_limit: 1000000, reject_limit: 1000000, concurrent: 1000}
";

pub struct Worker {
    pub name: &'static str,
    pub port: u16,
    pub who: Who,
    /// Bytes of memory when it was healthy.
    pub resident_at_start: u64,
    _service: Service,
}

pub struct Stack {
    pub main: Client,
    /// Python first; alone Myelin if that was asked for.
    pub workers: Vec<Worker>,
    pub synapse: Synapse,
    pub dataset: Dataset,
    asked: AtomicUsize,
    _folder: Folder,
}

impl Stack {
    pub fn start(python_too: bool) -> Result<Self> {
        let (kept, dataset) = dataset::get()?;
        let folder = Folder::new("bench")?;
        progress("starting Postgres, Redis, the main process and the workers on a copy of the data set");
        let postgres = Postgres::start_copy(folder.path(), &kept)?;
        let synapse = Synapse::start_on(postgres, folder.path(), SETTINGS)?;
        let mut workers = Vec::new();
        if python_too {
            workers.push(start_python(&synapse)?);
        }
        workers.push(start_myelin(&synapse, &program()?)?);
        Ok(Self {
            main: Client::new(synapse.port),
            workers,
            synapse,
            dataset,
            asked: AtomicUsize::new(0),
            _folder: folder,
        })
    }

    /// The present, as a token that `user` may pass as `since`.
    pub fn now(&self, user: &str) -> Result<String> {
        let client = self.main.with_token(&token(user));
        // The main process keeps an answer for two minutes too, and this would be the present of then.
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let filter = "%7B%22room%22:%7B%22rooms%22:[]%7D%7D";
        let path = format!("/_matrix/client/v3/sync?set_presence=offline&timeout={number}&filter={filter}");
        let answer = client.get(&path)?;
        ensure!(answer.status == 200, "/sync of {user}: {}", String::from_utf8_lossy(&answer.body));
        Ok(answer.json()?["next_batch"].as_str().context("no next_batch")?.to_owned())
    }
}

/// Starts another worker of each kind, `times` times in turn, and stops it: how long until it answered, in milliseconds.
/// It is looked every 20 ms.
pub fn start_up(stack: &Stack, times: usize) -> Result<Vec<(&'static str, f64)>> {
    let mut took = vec![Vec::new(); stack.workers.len()];
    for _ in 0..times {
        for (worker, took) in stack.workers.iter().zip(&mut took) {
            let (port, command) = match worker.name {
                PYTHON => python_command(&stack.synapse, "python2")?,
                _ => stack.synapse.myelin_command(&program()?, "myelin2")?,
            };
            let start = Instant::now();
            let started = stack.synapse.start_worker(&format!("{}-again", worker.name), port, command)?;
            took.push(start.elapsed().as_secs_f64() * 1e3);
            drop(started);
        }
    }
    Ok(stack.workers.iter().map(|worker| worker.name).zip(took.into_iter().map(median)).collect())
}

fn start_python(synapse: &Synapse) -> Result<Worker> {
    let role = format!("CREATE ROLE {PYTHON_ROLE} LOGIN SUPERUSER");
    synapse.postgres.query("synapse", &role)?;
    let (port, command) = python_command(synapse, "python1")?;
    let (port, service) = synapse.start_worker("python1", port, command)?;
    worker(PYTHON, port, PYTHON_ROLE, service)
}

fn python_command(synapse: &Synapse, name: &str) -> Result<(u16, Command)> {
    let port = free_port()?;
    let database = format!(
        "database: {{name: psycopg2, args: {{user: {PYTHON_ROLE}, dbname: synapse, host: 127.0.0.1, port: {}, \
         cp_min: 1, cp_max: 5}}}}\n",
        synapse.postgres.port
    );
    let config = synapse.worker_config(name, port, &database)?;
    let mut command = python::synapse("synapse.app.generic_worker")?;
    command.arg("-c").arg(synapse.config()).arg("-c").arg(config);
    Ok((port, command))
}

fn start_myelin(synapse: &Synapse, program: &Path) -> Result<Worker> {
    let (port, service) = synapse.start_myelin(program, "myelin1")?;
    worker(MYELIN, port, synapse::ROLE, service)
}

fn worker(name: &'static str, port: u16, role: &'static str, service: Service) -> Result<Worker> {
    let who = Who { pid: service.pid(), role };
    Ok(Worker { name, port, resident_at_start: resident(who.pid)?, who, _service: service })
}
