//! Too much of something: waiting clients, clients that do not read, large requests, initial syncs; and a rolling
//! restart under load.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use myelin_testkit::haproxy;
use myelin_testkit::http::Client;
use myelin_tests::eventually;
use myelin_tests::myelin::Myelin;
use myelin_tests::repeated::{Repeated, end_all};
use myelin_tests::stage::{PATIENCE, Stage};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Fault;

pub const FAULTS: [Fault; 5] = [
    ("clients that do not read", slow_readers),
    ("large headers and bodies", large_requests),
    ("a flood of initial syncs", flood),
    ("a rolling restart behind haproxy", rolling_restart),
    ("many idle long-polls", idle),
];

/// Clients that wait at once; `MYELIN_IDLE` sets another number.
const IDLE: usize = 1_000;
/// What Myelin may need for each of them, all included.
const BYTES_PER_IDLE: usize = 100 << 10;
/// More than the buffers of any connection.
const NEVER_READ: usize = 64 << 20;
const FLOOD: usize = 100;

/// Requests without end, and nobody reads an answer: at some point no more are taken.
fn slow_readers(stage: &mut Stage) -> Result<()> {
    let request = "GET /_matrix/client/versions HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let mut full = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(("127.0.0.1", stage.myelin.port))?;
        stream.set_write_timeout(Some(Duration::from_millis(500)))?;
        let mut sent = 0;
        while stream.write_all(request.as_bytes()).is_ok() {
            sent += request.len();
            ensure!(sent < NEVER_READ, "{sent} bytes of requests were taken");
        }
        full.push(stream);
    }
    stage.is_well()
}

fn large_requests(stage: &mut Stage) -> Result<()> {
    // In one header, and in many.
    let headers = [format!("X: {}\r\n", "x".repeat(10 << 20)), "X-Header: some value\r\n".repeat(500_000)];
    for header in headers {
        let mut stream = TcpStream::connect(("127.0.0.1", stage.myelin.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // It may be refused before its end.
        let _ =
            stream.write_all(format!("GET /_matrix/client/versions HTTP/1.1\r\nHost: x\r\n{header}\r\n").as_bytes());
        let mut status = [0; 12];
        if stream.read_exact(&mut status).is_ok() {
            ensure!(&status == b"HTTP/1.1 431" || &status == b"HTTP/1.1 400", "{}", String::from_utf8_lossy(&status));
        }
    }
    let path = format!("/_matrix/client/v3/user/{}/filter", stage.talker.bob_id);
    let post = |port: u16, bytes: usize| {
        let body = format!("{{\"a\": \"{}\"}}", "x".repeat(bytes)).into_bytes();
        let client = Client::new(port).with_token(&stage.talker.bob_token);
        client.send_bytes("POST", &path, &[("Content-Type", "application/json")], Some(body))
    };
    // Below and above what Synapse takes when nothing is configured.
    for bytes in [10 << 20, 100 << 20] {
        // Either may close the connection before all was sent.
        let (ours, theirs) = (post(stage.myelin.port, bytes), post(stage.synapse.port, bytes));
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            let text = String::from_utf8_lossy(&ours.body).into_owned();
            ensure!(ours.status == theirs.status, "{bytes} bytes: {} and {}: {text}", ours.status, theirs.status);
        }
    }
    stage.is_well()
}

/// All are answered, and who has synced before does not wait for their end.
fn flood(stage: &mut Stage) -> Result<()> {
    let (token, port) = (stage.talker.bob_token.clone(), stage.myelin.port);
    let done = Arc::new(AtomicUsize::new(0));
    stage.through(&[port], |_, speech, reader| {
        let floods: Vec<_> = (0..FLOOD)
            .map(|n| {
                let (client, done) = (Client::new(port).with_token(&token), Arc::clone(&done));
                // Equal requests would share one answer.
                thread::spawn(move || {
                    let answer =
                        client.get(&format!("/_matrix/client/v3/sync?timeout={n}")).and_then(|answer| answer.ok());
                    done.fetch_add(1, Ordering::SeqCst);
                    answer.map(drop)
                })
            })
            .collect();
        let before = reader.wait_until("anything", PATIENCE, |_| true)?.since;
        reader.wait_until("an incremental sync", PATIENCE, |seen| seen.since != before)?;
        ensure!(done.load(Ordering::SeqCst) < FLOOD, "the incremental sync came last");
        for flood in floods {
            flood.join().map_err(|_| anyhow::anyhow!("a sync panicked"))??;
        }
        speech.wait_rounds(1)
    })
}

fn rolling_restart(stage: &mut Stage) -> Result<()> {
    let mut second = Myelin::start(&stage.synapse, "myelin3", stage.synapse.redis.port, stage.synapse.postgres.port)?;
    let proxy = haproxy::in_front(&stage.synapse.folder, "rolling", &[stage.myelin.port, second.port])?;
    let load = ["account/whoami", "joined_rooms", "sync?timeout=0", "sync?timeout=1"].map(|path| {
        let client = Client::new(proxy.port).with_token(&stage.talker.bob_token);
        Repeated::request(client, format!("/_matrix/client/v3/{path}"), Duration::from_millis(5))
    });
    let restarted = stage.through(&[proxy.port], |stage, speech, _| {
        let all_up = || Ok(Client::new(proxy.port).get(haproxy::ALL_UP)?.status == 200);
        for _ in 0..2 {
            stage.myelin.end()?;
            stage.myelin.start_again(&stage.synapse)?;
            eventually("the first is not up again", all_up)?;
            second.end()?;
            second.start_again(&stage.synapse)?;
            eventually("the second is not up again", all_up)?;
        }
        speech.wait_rounds(2)
    });
    println!("  {} requests while both were restarted twice", end_all(load)?);
    restarted
}

/// They cost little, hold nobody up, leave nothing behind, and are all answered when Myelin is told to stop.
fn idle(stage: &mut Stage) -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let wanted = std::env::var("MYELIN_IDLE").ok().and_then(|number| number.parse().ok()).unwrap_or(IDLE);
    let sql = format!(
        "INSERT INTO users (name, creation_ts) SELECT '@idle' || n || ':myelin.test', 0 FROM generate_series(1, {wanted}) n;
         INSERT INTO devices (user_id, device_id) SELECT '@idle' || n || ':myelin.test', 'D' FROM generate_series(1, {wanted}) n;
         INSERT INTO access_tokens (id, user_id, device_id, token) SELECT 1000000 + n, '@idle' || n || ':myelin.test', 'D', \
         'idle' || n FROM generate_series(1, {wanted}) n"
    );
    stage.synapse.postgres.query("synapse", &sql)?;
    let first =
        Client::new(stage.myelin.port).with_token("idle1").get("/_matrix/client/v3/sync?set_presence=offline")?;
    let since = first.ok()?["next_batch"].as_str().context("no next_batch")?.to_owned();
    let (others, before) = (stage.listeners()?, stage.metric("process_resident_memory_bytes")?);
    let path = format!("/_matrix/client/v3/sync?timeout=600000&set_presence=offline&since={since}");
    let mut waiting = Vec::new();
    for n in 1..=wanted {
        let mut stream = TcpStream::connect(("127.0.0.1", stage.myelin.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer idle{n}\r\n\r\n")?;
        waiting.push(stream);
    }
    stage.wait_for_listeners(others + wanted)?;
    let used = stage.metric("process_resident_memory_bytes")? - before;
    let each = used / wanted;
    println!("  {wanted} long-polls need {each} bytes each");
    ensure!(each < BYTES_PER_IDLE, "{each} bytes for each");
    stage.is_well()?;
    // Half of them go away.
    waiting.truncate(wanted / 2);
    stage.wait_for_listeners_below(others + wanted / 2 + 1)?;
    stage.myelin.end()?;
    let next_batch = format!("\"next_batch\":\"{since}\"");
    for stream in waiting {
        let mut answer = BufReader::new(stream);
        let (mut status, mut rest) = (String::new(), String::new());
        answer.read_line(&mut status)?;
        answer.read_to_string(&mut rest)?;
        ensure!(status == "HTTP/1.1 200 OK\r\n" && rest.contains(&next_batch), "{status}{rest}");
    }
    stage.myelin.start_again(&stage.synapse)
}
