//! A running worker: it follows the others, heals when Redis or Postgres cut it off, and goes without failing anybody.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::{Answer, Client};
use myelin_testkit::program::program;
use myelin_testkit::synapse::Synapse;
use myelin_tests::Case;
use rustix::process::Signal;
use serde_json::{Value, json};

pub const CASES: [Case; 4] = [
    ("a message ends a long-poll, also after Redis was lost", follows_and_reconnects),
    ("Postgres cuts every connection", survives_postgres),
    ("SIGTERM answers what waits", stops_politely),
    ("metrics under Synapse's names", metrics),
];

fn register(synapse: &Synapse, name: &str) -> Result<String> {
    let body = json!({"username": name, "password": "pw-for-tests", "auth": {"type": "m.login.dummy"}});
    let answer = Client::new(synapse.port).send("POST", "/_matrix/client/v3/register", Some(&body))?;
    Ok(answer.json()?["access_token"].as_str().context("no token")?.to_owned())
}

fn next_batch(answer: &Answer) -> Result<String> {
    ensure!(answer.status == 200, "{} {:?}", answer.status, answer.json());
    ensure!(answer.header("x-myelin") == Some("native"), "the fallback answered");
    Ok(answer.json()?["next_batch"].as_str().context("no next_batch")?.to_owned())
}

/// A sync that waits for news, in a thread of its own.
fn long_poll(client: &Client, since: &str) -> thread::JoinHandle<Result<Answer>> {
    let (client, path) = (client.clone(), format!("/_matrix/client/v3/sync?timeout=30000&since={since}"));
    let waiting = thread::spawn(move || client.get(&path));
    thread::sleep(Duration::from_millis(300));
    waiting
}

fn joined(waiting: thread::JoinHandle<Result<Answer>>) -> Result<Answer> {
    waiting.join().map_err(|_| anyhow::anyhow!("the long-poll's thread panicked"))?
}

/// Syncs until nothing is new any more.
fn settle(client: &Client) -> Result<String> {
    let mut since = next_batch(&client.get("/_matrix/client/v3/sync")?)?;
    loop {
        let answer = client.get(&format!("/_matrix/client/v3/sync?timeout=500&since={since}"))?;
        let next = next_batch(&answer)?;
        if next == since {
            return Ok(since);
        }
        since = next;
    }
}

fn bodies(answer: &Answer, room_id: &str) -> Result<Vec<Value>> {
    let timeline = answer.json()?["rooms"]["join"][room_id]["timeline"]["events"].clone();
    Ok(timeline.as_array().into_iter().flatten().map(|event| event["content"]["body"].clone()).collect())
}

fn follows_and_reconnects(synapse: &Synapse) -> Result<()> {
    let token = register(synapse, "follower")?;
    let main = Client::new(synapse.port).with_token(&token);
    let (port, service) = synapse.start_myelin(&program()?, "following")?;
    let myelin = Client::new(port).with_token(&token);
    let room = main.send("POST", "/_matrix/client/v3/createRoom", Some(&json!({})))?.json()?;
    let room_id = room["room_id"].as_str().context("no room")?;
    let say = |text: &str| {
        main.send(
            "PUT",
            &format!("/_matrix/client/v3/rooms/{room_id}/send/m.room.message/{text}"),
            Some(&json!({"body": text, "msgtype": "m.text"})),
        )
    };
    let mut since = settle(&myelin)?;
    for text in ["one", "two"] {
        let waiting = long_poll(&myelin, &since);
        ensure!(say(text)?.status == 200);
        let answer = joined(waiting)?;
        ensure!(bodies(&answer, room_id)? == [json!(text)], "{:?}", answer.json());
        ensure!(answer.took < Duration::from_secs(5), "{:?}", answer.took);
        since = next_batch(&answer)?;
    }
    // Redis forgets its subscribers: what is said meanwhile is fetched when the connection is back.
    let mut redis = TcpStream::connect(("127.0.0.1", synapse.redis.port))?;
    redis.write_all(b"CLIENT KILL TYPE pubsub\r\n")?;
    redis.read_exact(&mut [0; 2])?;
    let waiting = long_poll(&myelin, &since);
    ensure!(say("three")?.status == 200);
    ensure!(bodies(&joined(waiting)?, room_id)? == [json!("three")]);
    let log = service.log();
    ensure!(log.matches("the connection to Redis is lost").count() == 1, "{log}");
    Ok(())
}

fn survives_postgres(synapse: &Synapse) -> Result<()> {
    let token = register(synapse, "patient")?;
    let (port, service) = synapse.start_myelin(&program()?, "patient1")?;
    let myelin = Client::new(port).with_token(&token);
    let since = settle(&myelin)?;
    let script = synapse.folder.join("cut.sql");
    std::fs::write(
        &script,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'myelin';",
    )?;
    synapse.postgres.run_script("synapse", &script, &[])?;
    let deadline = Instant::now() + Duration::from_secs(10);
    // A statement that was under way, or the first on a dead connection, may fail; then all is well again.
    let mut failures = 0;
    while next_batch(&myelin.get(&format!("/_matrix/client/v3/sync?since={since}"))?).is_err() {
        failures += 1;
        ensure!(Instant::now() < deadline, "{}", service.log());
        thread::sleep(Duration::from_millis(50));
    }
    ensure!(failures <= 1, "{failures} requests failed");
    next_batch(&myelin.get("/_matrix/client/v3/sync")?)?;
    Ok(())
}

fn stops_politely(synapse: &Synapse) -> Result<()> {
    let token = register(synapse, "waiting")?;
    let (port, mut service) = synapse.start_myelin(&program()?, "stopping")?;
    let myelin = Client::new(port).with_token(&token);
    let since = settle(&myelin)?;
    let waiting = long_poll(&myelin, &since);
    let start = Instant::now();
    service.signal(Signal::TERM)?;
    let answer = joined(waiting)?;
    ensure!(next_batch(&answer)? == since, "something is new: {:?}", answer.json());
    ensure!(service.end()? == Some(0), "{}", service.log());
    ensure!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    ensure!(Client::new(port).get("/health").is_err(), "somebody still listens");
    Ok(())
}

fn metrics(synapse: &Synapse) -> Result<()> {
    let token = register(synapse, "counted")?;
    let extra = "worker_listeners:\n  - {type: http, port: PORT, bind_addresses: ['127.0.0.1'], \
                 resources: [{names: [client, metrics]}]}\n";
    let port = myelin_testkit::process::free_port()?;
    let (_, service) = myelin_tests::start_on(synapse, "counting", port, &extra.replace("PORT", &port.to_string()))?;
    let myelin = Client::new(port).with_token(&token);
    // The second one finds what the first left in the caches, and positions have come meanwhile.
    settle(&myelin)?;
    settle(&myelin)?;
    let answer = myelin.get("/_synapse/metrics")?;
    ensure!(answer.header("content-type") == Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(answer.body.clone())?;
    for (name, labels) in [
        (
            "synapse_http_server_response_count_total",
            r#"method="GET" servlet="SyncRestServlet" tag="sync_v2:initial_sync""#,
        ),
        ("synapse_http_server_response_time_seconds_count", r#"code="200" method="GET" servlet="SyncRestServlet""#),
        ("synapse_util_caches_cache", r#"name="get_rooms_for_user""#),
        ("synapse_util_caches_cache_hits", r#"name="*getEvent*""#),
        ("synapse_storage_transaction_time_count_total", "desc="),
        ("synapse_storage_schedule_time_count", ""),
        ("synapse_replication_tcp_protocol_inbound_commands_total", r#"command="POSITION" name="redis""#),
        ("synapse_replication_tcp_protocol_outbound_commands_total", r#"command="REPLICATE" name="redis""#),
        ("synapse_replication_tcp_protocol_inbound_rdata_count_total", r#"stream_name="events""#),
        ("myelin_replication_lag_seconds", r#"stream_name="events""#),
        ("synapse_storage_stream_current_position", r#"stream_name="events""#),
        ("synapse_notifier_listeners", ""),
        ("synapse_build_info", r#"osversion="linux" version="1.163.2""#),
        ("process_cpu_user_seconds_total", ""),
        ("process_resident_memory_bytes", ""),
    ] {
        let prefix = format!("{name}{{");
        let found = text.lines().filter(|line| line.starts_with(&prefix)).any(|line| {
            line.contains(r#"server_name="myelin.test""#) && labels.split_whitespace().all(|label| line.contains(label))
        });
        ensure!(found, "{name}{{{labels}}} is missing");
    }
    drop(service);
    Ok(())
}
