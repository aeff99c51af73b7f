//! An hour in some minutes: more is said and synced than a small server sees in an hour, and what Myelin holds must
//! not grow. See docs/faults.md.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use myelin_model::signing::SigningKey;
use myelin_testkit::http::Client;
use myelin_testkit::synapse::SERVER_NAME;
use myelin_tests::repeated::{Repeated, end_all};
use myelin_tests::signed;
use myelin_tests::stage::Stage;
use serde_json::{Value, json};

const SECONDS: u64 = 300;
const SAMPLE: Duration = Duration::from_secs(2);
/// Clients that sync all the time, each in its own way.
const SYNCS: [&str; 6] = [
    "sync",
    "sync?full_state=true",
    "sync?filter=%7B%22room%22:%7B%22state%22:%7B%22lazy_load_members%22:true%7D%7D%7D",
    "account/whoami",
    "joined_rooms",
    "rooms/<room>/members",
];

/// So small that they are full after the warm-up: what grows then is no cache.
const SETTINGS: &str = "caches: {sync_response_cache_duration: 0, global_factor: 0.01}
rc_federation: {sleep_limit: 1000000, concurrent: 1000}
";

struct Sample {
    /// Minutes since the start.
    at: f64,
    /// MiB, of the process.
    memory: f64,
    /// MiB, as the caches estimate themselves.
    cached: f64,
    listeners: usize,
    files: usize,
}

#[test]
#[ignore = "runs for minutes: cargo test --package myelin-tests --test soak -- --ignored --nocapture"]
fn memory_is_flat() -> Result<()> {
    let seconds = std::env::var("MYELIN_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let folder = tempfile::tempdir()?;
    let mut stage = Stage::start_with(folder.path(), SETTINGS)?;
    let load = SYNCS.map(|path| {
        let path = format!("/_matrix/client/v3/{}", path.replace("<room>", &stage.talker.rooms[0]));
        Repeated::request(Client::new(stage.myelin.port).with_token(&stage.talker.bob_token), path, Duration::ZERO)
    });
    let (path, pause) =
        (format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=20", stage.talker.rooms[0]), Duration::ZERO);
    let (server, client) = (Server::new(&stage)?, Client::new(stage.myelin.port).with_token(&stage.talker.bob_token));
    let reads = Repeated::start(pause, move || server.read_all(&client.get(&path)?.ok()?["chunk"]));
    let mut samples = Vec::new();
    let (start, port) = (Instant::now(), stage.myelin.port);
    let through = stage.through(&[port], |stage, _, _| {
        while start.elapsed() < Duration::from_secs(seconds) {
            thread::sleep(SAMPLE);
            samples.push(sample(stage, start)?);
        }
        Ok(())
    });
    println!("{} requests of clients", end_all(load)?);
    println!("{} times {READS} of a server", reads.end()?);
    through?;
    report(&samples)
}

/// What a server asks of the newest events of a room, one after the other.
const READS: usize = 6;

/// Ours, as another would ask: signed.
struct Server {
    key: SigningKey,
    client: Client,
    room_id: String,
}

impl Server {
    fn new(stage: &Stage) -> Result<Self> {
        let key = signed::signing_key(&stage.synapse)?;
        Ok(Self { key, client: Client::new(stage.myelin.port), room_id: stage.talker.rooms[0].clone() })
    }

    /// Whatever needs the room's history or state at events that nobody has asked about before. `events`: newest first.
    fn read_all(&self, events: &Value) -> Result<()> {
        let ids: Vec<_> =
            events.as_array().into_iter().flatten().filter_map(|event| event["event_id"].as_str()).collect();
        let (Some(newest), Some(oldest)) = (ids.first(), ids.last()) else { bail!("no events: {events}") };
        let room_id = &self.room_id;
        for rest in [
            format!("event/{newest}"),
            format!("state/{room_id}?event_id={newest}"),
            format!("state_ids/{room_id}?event_id={newest}"),
            format!("event_auth/{room_id}/{newest}"),
            format!("backfill/{room_id}?v={newest}&limit=50"),
        ] {
            self.ask(&rest, None)?;
        }
        let missing = json!({"earliest_events": [oldest], "latest_events": [newest], "limit": 20});
        self.ask(&format!("get_missing_events/{room_id}"), Some(&missing))
    }

    fn ask(&self, rest: &str, content: Option<&Value>) -> Result<()> {
        let uri = format!("/_matrix/federation/v1/{rest}");
        let answer = signed::ask(&self.client, &self.key, [SERVER_NAME; 2], &uri, content)?;
        ensure!(answer.is_native(), "{uri} is passed on: {}", answer.status);
        answer.ok().context(uri).map(drop)
    }
}

fn sample(stage: &Stage, start: Instant) -> Result<Sample> {
    #[expect(clippy::cast_precision_loss, reason = "bytes of one process")]
    let mib = |name| Ok::<_, anyhow::Error>(stage.metric(name)? as f64 / f64::from(1 << 20));
    Ok(Sample {
        at: start.elapsed().as_secs_f64() / 60.0,
        memory: mib("process_resident_memory_bytes")?,
        cached: mib("synapse_util_caches_cache_size_bytes")?,
        listeners: stage.listeners()?,
        files: stage.metric("process_open_fds")?,
    })
}

/// The slope of the second half, after the warm-up.
fn report(samples: &[Sample]) -> Result<()> {
    let (warm_up, rest) = samples.split_at(samples.len() / 2);
    ensure!(rest.len() >= 2, "too short");
    let ends = |samples: &[Sample]| {
        let most = |of: fn(&Sample) -> usize| samples.iter().map(of).max().unwrap_or_default();
        (
            samples.last().map_or(0.0, |sample| sample.memory),
            most(|sample| sample.listeners),
            most(|sample| sample.files),
        )
    };
    let ((before, listeners_before, files_before), (after, listeners, files)) = (ends(warm_up), ends(rest));
    for tenth in samples.chunks(samples.len().div_ceil(10)) {
        println!(
            "after {:4.1} minutes: {:6.1} MiB, {:5.2} of them cached",
            tenth[0].at, tenth[0].memory, tenth[0].cached
        );
    }
    let (memory, cached) = (slope(rest, |sample| sample.memory), slope(rest, |sample| sample.cached));
    println!(
        "memory: {before:.1} MiB after the warm-up, {after:.1} at the end, {memory:+.3} MiB a minute, {cached:+.3} of it cached"
    );
    println!("most waiting: {listeners_before}, then {listeners}; open files: {files_before}, then {files}");
    ensure!(after < before * 1.5, "memory grows");
    ensure!(listeners <= listeners_before + 2 && files <= files_before + 10, "waiters or connections grow");
    Ok(())
}

/// Of a sample's value over time, by least squares.
#[expect(clippy::cast_precision_loss, reason = "a number of samples")]
fn slope(samples: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (at, value) = (mean(|sample| sample.at), mean(of));
    let covariance: f64 = samples.iter().map(|sample| (sample.at - at) * (of(sample) - value)).sum();
    covariance / samples.iter().map(|sample| (sample.at - at).powi(2)).sum::<f64>()
}
