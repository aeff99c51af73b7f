//! Everything that runs: Postgres, Redis, the Synapse main process, one Python worker and one Myelin.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::{Answer, Client};
use myelin_testkit::process::{self, Service};
use myelin_testkit::program::program;
use myelin_testkit::synapse::Synapse;
use myelin_testkit::writers::Topology;
use serde_json::{Value, json};

use crate::seed::Seed;

/// Token of the application service that `registration` describes.
pub const AS_TOKEN: &str = "as-token-of-the-bridge";

/// Synapse's main process summarises push actions every 30 s.
const ROTATION: Duration = Duration::from_mins(1);

/// Both workers must have seen within this what the main process has written.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
/// The position of presence moves untold when Synapse saves what it kept in memory (`_persist_unpersisted_changes`), and
/// is told of together with the next change of anything.
const NUDGE: Duration = Duration::from_secs(2);

/// Added to homeserver.yaml. Without the sync cache, a question asked again is computed again.
const SETTINGS: &str = "
caches: {sync_response_cache_duration: 0}
public_baseurl: https://matrix.myelin.test/
serve_server_wellknown: true
turn_uris: ['turn:turn.myelin.test?transport=udp']
turn_shared_secret: a-secret-for-tests
retention: {enabled: true}
room_list_publication_rules: [{action: allow}]
allow_public_rooms_over_federation: true
include_profile_updates_in_sync: true
experimental_features: {msc4222_enabled: true, msc4354_enabled: true, msc4155_enabled: true, msc4306_enabled: true,
  msc4143_enabled: true, msc4502_enabled: true}
max_event_delay_duration: 24h
max_upload_size: 7M
matrix_rtc: {transports: [{type: livekit, livekit_service_url: 'https://rtc.myelin.test', more: 1.5}]}
rc_registration_token_validity: {per_second: 10000, burst_count: 10000}
rc_delayed_event_mgmt: {per_second: 10000, burst_count: 10000}
rc_federation: {sleep_limit: 1000000, concurrent: 1000}
federation: {client_timeout: 2s, max_short_retries: 0}
federation_domain_whitelist: [myelin.test, other.test, third.test, left.test, banned.test, acl.test, expired.test, unknown.test,
  rotated.test, back1.test, back2.test]
password_config: {policy: {enabled: true, minimum_length: 8, require_digit: false}}
";

pub struct Stack {
    /// The client API: the main process, or nginx before it and its stream writers.
    pub main: Client,
    /// The main process and each stream writer.
    writers: Vec<Client>,
    pub python: Client,
    pub myelin: Client,
    _workers: [Service; 2],
    pub synapse: Synapse,
}

/// A signal ends whatever was started: nothing is dropped in order then. Once in a process.
pub fn end_with_signals() -> Result<()> {
    let ended = || {
        process::end_all();
        std::process::exit(1);
    };
    ctrlc::set_handler(ended).context("cannot catch signals")
}

impl Stack {
    /// Starts it all; `fill` fills the server while the workers start and follow.
    pub fn start(
        folder: &Path,
        extra: &str,
        topology: Topology<'_>,
        fill: impl FnOnce(&Synapse) -> Result<Seed>,
    ) -> Result<(Self, Seed)> {
        let registration = folder.join("bridge.yaml");
        std::fs::write(&registration, registration_yaml())?;
        let settings = format!("{SETTINGS}{extra}app_service_config_files: ['{}']\n", registration.display());
        let building = std::thread::spawn(program);
        let synapse = Synapse::start_with(folder, &settings, topology)?;
        let program = building.join().map_err(|_| anyhow::anyhow!("the build panicked"))??;
        let main = Client::new(synapse.port);
        let writers = synapse.ports().into_iter().map(Client::new).collect();
        let (python, myelin, seed) = std::thread::scope(|scope| {
            let python = scope.spawn(|| synapse.start_python_worker("python1"));
            let myelin = scope.spawn(|| synapse.start_myelin(&program, "myelin1"));
            let seed = fill(&synapse);
            let panicked = |_| anyhow::anyhow!("a start panicked");
            anyhow::Ok((python.join().map_err(panicked)??, myelin.join().map_err(panicked)??, seed?))
        })?;
        let ((python, python_service), (myelin, myelin_service)) = (python, myelin);
        let (python, myelin) = (Client::new(python), Client::new(myelin));
        let stack = Self { main, writers, python, myelin, _workers: [python_service, myelin_service], synapse };
        stack.wait_caught_up(&seed)?;
        Ok((stack, seed))
    }

    /// What the database answers, as text.
    pub fn query(&self, sql: &str) -> Result<String> {
        self.synapse.postgres.query("synapse", sql)
    }

    pub fn redis_port(&self) -> u16 {
        self.synapse.redis.port
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

    /// Waits until both workers have every position of the main process and the stream writers, and returns where
    /// Python then stands. (Whoever asks Python from a position that it has not reached makes it sleep half a second.)
    pub fn wait_caught_up(&self, seed: &Seed) -> Result<String> {
        let wanted = self.writers.iter().map(|writer| seed.position(writer)).collect::<Result<Vec<_>>>()?;
        let start = Instant::now();
        let wait = |name: &str, worker: &Client| {
            let mut nudges = 1;
            loop {
                let reached = seed.position(worker)?;
                let behind = wanted.iter().map(|wanted| Ok(!reaches(&reached, wanted)?)).collect::<Result<Vec<_>>>()?;
                if !behind.contains(&true) {
                    return Ok(reached);
                }
                ensure!(start.elapsed() < PATIENCE, "{name} stays at {reached}, the writers are at {wanted:?}");
                if start.elapsed() > NUDGE * nudges {
                    let mark = json!({"nudge": nudges});
                    seed.ask("watcher", "PUT", "v3/user/<@watcher>/account_data/my.nudge", &mark)?;
                    nudges += 1;
                }
                std::thread::sleep(POLL);
            }
        };
        std::thread::scope(|scope| {
            let python = scope.spawn(|| wait("Python", &self.python));
            wait("Myelin", &self.myelin)?;
            python.join().map_err(|_| anyhow::anyhow!("a request panicked"))?
        })
    }
}

/// Compares two stream tokens field by field, and in each field writer by writer.
fn reaches(token: &str, wanted: &str) -> Result<bool> {
    let (reached, wanted) = (fields(token)?, fields(wanted)?);
    Ok(reached.iter().zip(&wanted).all(|(reached, wanted)| {
        let writers = wanted.writers.keys().chain(reached.writers.keys());
        reached.base >= wanted.base && writers.into_iter().all(|writer| reached.of(*writer) >= wanted.of(*writer))
    }))
}

/// One position of a token: `12`, or `m12~1.14~3.13` where writers 1 and 3 are ahead of the others.
struct Field {
    base: i64,
    writers: BTreeMap<i64, i64>,
}

impl Field {
    fn of(&self, writer: i64) -> i64 {
        self.writers.get(&writer).copied().unwrap_or(self.base)
    }
}

fn fields(token: &str) -> Result<Vec<Field>> {
    let number = |text: &str| text.parse::<i64>().with_context(|| format!("an odd token: {token}"));
    let field = |text: &str| {
        let mut parts = text.trim_start_matches(['s', 'm']).split('~');
        let base = number(parts.next().unwrap_or_default())?;
        let writer = |part: &str| {
            let (writer, position) = part.split_once('.').with_context(|| format!("an odd token: {token}"))?;
            Ok((number(writer)?, number(position)?))
        };
        Ok(Field { base, writers: parts.map(writer).collect::<Result<_>>()? })
    };
    token.split('_').map(field).collect()
}

/// 200 and JSON, or an error that shows the answer.
pub fn expect_ok(answer: &Answer, what: &str) -> Result<Value> {
    ensure!(answer.status == 200, "{what}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    answer.json()
}

fn registration_yaml() -> String {
    format!(
        "id: bridge\nurl: null\nas_token: {AS_TOKEN}\nhs_token: hs-token\nsender_localpart: bridge\n\
         rate_limited: false\nio.element.msc4502.scopes: ['urn:matrix:client:io.element.msc4502:rooms:is_joined']\nnamespaces:\n  users: [{{regex: '@bridge_.*', exclusive: true}}]\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_compared_writer_by_writer() {
        assert!(reaches("s5_2", "s5_1").unwrap() && !reaches("s5_1", "s5_2").unwrap());
        assert!(reaches("m5~1.7_1", "s5_1").unwrap() && reaches("s7_1", "m5~1.7_1").unwrap());
        assert!(!reaches("m5~1.7_1", "m5~2.6_1").unwrap() && !reaches("s5_1", "m5~2.6_1").unwrap());
        assert!(reaches("s5_x", "s5_1").is_err());
    }
}
