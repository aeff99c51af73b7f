//! Everything that runs: Postgres, Redis, the Synapse main process, one Python worker and one Myelin.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::{Answer, Client};
use myelin_testkit::process::Service;
use myelin_testkit::program::program;
use myelin_testkit::synapse::Synapse;
use serde_json::Value;

use crate::seed::Seed;

/// Token of the application service that `registration` describes.
pub const AS_TOKEN: &str = "as-token-of-the-bridge";

/// Synapse's main process summarises push actions every 30 s.
const ROTATION: Duration = Duration::from_mins(1);

/// Both workers must have seen within this what the main process has written.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// Added to homeserver.yaml. Without the sync cache, a question asked again is computed again.
const SETTINGS: &str = "
caches: {sync_response_cache_duration: 0}
public_baseurl: https://matrix.myelin.test/
serve_server_wellknown: true
turn_uris: ['turn:turn.myelin.test?transport=udp']
turn_shared_secret: a-secret-for-tests
retention: {enabled: true}
include_profile_updates_in_sync: true
experimental_features: {msc4222_enabled: true, msc4354_enabled: true, msc4155_enabled: true}
password_config: {policy: {enabled: true, minimum_length: 8, require_digit: false}}
";

pub struct Stack {
    pub main: Client,
    pub python: Client,
    pub myelin: Client,
    _workers: [Service; 2],
    synapse: Synapse,
}

impl Stack {
    /// Starts it all; `fill` fills the server while the workers start and follow.
    pub fn start(folder: &Path, extra: &str, fill: impl FnOnce(&Synapse) -> Result<Seed>) -> Result<(Self, Seed)> {
        let registration = folder.join("bridge.yaml");
        std::fs::write(&registration, registration_yaml())?;
        let settings = format!("{SETTINGS}{extra}app_service_config_files: ['{}']\n", registration.display());
        let building = std::thread::spawn(program);
        let synapse = Synapse::start(folder, &settings)?;
        let program = building.join().map_err(|_| anyhow::anyhow!("the build panicked"))??;
        let main = Client::new(synapse.port);
        let (python, myelin, seed) = std::thread::scope(|scope| {
            let python = scope.spawn(|| synapse.start_python_worker("python1"));
            let myelin = scope.spawn(|| synapse.start_myelin(&program, "myelin1"));
            let seed = fill(&synapse);
            let panicked = |_| anyhow::anyhow!("a start panicked");
            anyhow::Ok((python.join().map_err(panicked)??, myelin.join().map_err(panicked)??, seed?))
        })?;
        let ((python, python_service), (myelin, myelin_service)) = (python, myelin);
        let (python, myelin) = (Client::new(python), Client::new(myelin));
        let stack = Self { main, python, myelin, _workers: [python_service, myelin_service], synapse };
        stack.wait_caught_up(&seed)?;
        Ok((stack, seed))
    }

    /// Waits until the counts of unread messages stand still. Python keeps what it counted before a rotation, though
    /// the same statement gives another number afterwards.
    pub fn wait_push_actions_rotated(&self) -> Result<()> {
        let behind = "SELECT (SELECT stream_ordering FROM event_push_summary_stream_ordering)
                < (SELECT max(stream_ordering) FROM event_push_actions)
            OR (SELECT stream_id FROM event_push_summary_last_receipt_stream_id)
                < (SELECT max(stream_id) FROM receipts_linearized)";
        let start = Instant::now();
        while self.synapse.postgres.query("synapse", behind)? != "f" {
            ensure!(start.elapsed() < ROTATION, "push actions are not rotated");
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }

    /// Waits until both workers have every position of the main process.
    pub fn wait_caught_up(&self, seed: &Seed) -> Result<()> {
        let wanted = seed.position(&self.main)?;
        let start = Instant::now();
        for (name, worker) in [("Python", &self.python), ("Myelin", &self.myelin)] {
            loop {
                let reached = seed.position(worker)?;
                if reaches(&reached, &wanted)? {
                    break;
                }
                ensure!(start.elapsed() < PATIENCE, "{name} stays at {reached}, the main process is at {wanted}");
                std::thread::sleep(POLL);
            }
        }
        Ok(())
    }
}

/// Compares two stream tokens of a server with one writer, field by field.
fn reaches(token: &str, wanted: &str) -> Result<bool> {
    let fields = |token: &str| -> Result<Vec<i64>> {
        let fields = token.trim_start_matches('s').split('_');
        fields.map(|field| field.parse().with_context(|| format!("an odd token: {token}"))).collect()
    };
    Ok(fields(token)?.iter().zip(fields(wanted)?).all(|(reached, wanted)| *reached >= wanted))
}

/// 200 and JSON, or an error that shows the answer.
pub fn expect_ok(answer: &Answer, what: &str) -> Result<Value> {
    ensure!(answer.status == 200, "{what}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    answer.json()
}

fn registration_yaml() -> String {
    format!(
        "id: bridge\nurl: null\nas_token: {AS_TOKEN}\nhs_token: hs-token\nsender_localpart: bridge\n\
         rate_limited: false\nnamespaces:\n  users: [{{regex: '@bridge_.*', exclusive: true}}]\n"
    )
}
