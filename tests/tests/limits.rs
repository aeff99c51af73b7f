//! What a worker refuses or leaves to another: too many requests, rooms whose state or history is not complete. A Python
//! worker with the same settings says what the refusals look like.

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::{Answer, Client};
use myelin_testkit::process::{Service, free_port};
use myelin_testkit::python;
use myelin_testkit::synapse::{Synapse, User};
use myelin_tests::{Case, start};
use serde_json::{Value, json};

const CASES: [Case; 3] = [
    ("as many requests as are allowed", as_many_requests_as_are_allowed),
    ("rooms in partial state", rooms_in_partial_state),
    ("history that is fetched or deleted", history_that_is_fetched_or_deleted),
];

/// Two at once, and then hardly any more.
const TIGHT: &str = "{per_second: 0.001, burst_count: 2}";
/// Both workers tell how long to wait, at different moments.
const TOLERANCE_MS: u64 = 60_000;

#[test]
fn limits() -> Result<()> {
    myelin_tests::run("", &CASES)
}

fn sql(synapse: &Synapse, statement: &str) -> Result<()> {
    let path = synapse.folder.join("statement.sql");
    std::fs::write(&path, statement)?;
    synapse.postgres.run_script("synapse", &path, &[])
}

fn python_worker(synapse: &Synapse, name: &str, extra: &str) -> Result<(Client, Service)> {
    let port = free_port()?;
    let worker = synapse.worker_config(name, port, extra)?;
    let mut command = python::synapse("synapse.app.generic_worker")?;
    command.arg("-c").arg(synapse.config()).arg("-c").arg(worker);
    let (port, service) = synapse.start_worker(name, port, command)?;
    Ok((Client::new(port), service))
}

/// What must be equal of an answer, and how long it says to wait.
fn shape(answer: &Answer) -> Result<(u16, Value, Option<u64>)> {
    let mut body = answer.json()?;
    let wait = body.as_object_mut().and_then(|body| body.remove("retry_after_ms")).and_then(|wait| wait.as_u64());
    ensure!(wait.is_some() == answer.header("retry-after").is_some(), "Retry-After and retry_after_ms go together");
    Ok((answer.status, body, wait))
}

/// `rc_…` of the configuration; an administrator may lift them from a user.
fn as_many_requests_as_are_allowed(synapse: &Synapse) -> Result<()> {
    let names = ["rc_profile", "rc_user_directory", "rc_delayed_event_mgmt", "rc_registration_token_validity"];
    let extra: String = names.map(|name| format!("{name}: {TIGHT}\n")).concat();
    let (limited, free) = (synapse.register("limited")?, synapse.register("free")?);
    sql(synapse, &format!("INSERT INTO ratelimit_override VALUES ('{}', 0, 0);", free.id))?;
    let (python, _python) = python_worker(synapse, "limited_python", &extra)?;
    let (port, _myelin) = start(synapse, "limited_myelin", &extra)?;
    let myelin = Client::new(port);
    let term = json!({"search_term": "limited"});
    let profile = format!("/_matrix/client/v3/profile/{}", limited.id);
    let requests: [(&str, &str, Option<&Value>); 4] = [
        ("GET", &profile, None),
        ("POST", "/_matrix/client/v3/user_directory/search", Some(&term)),
        ("GET", "/_matrix/client/unstable/org.matrix.msc4140/delayed_events", None),
        ("GET", "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/x", None),
    ];
    for user in [&limited, &free] {
        for (method, path, body) in requests {
            let ask = |worker: &Client| worker.with_token(&user.token).send(method, path, body);
            same_four_times(&format!("{path} of {}", user.id), || ask(&python), || ask(&myelin))?;
        }
    }
    let token = "/_matrix/client/v1/register/m.login.registration_token/validity?token=x";
    same_four_times(token, || python.get(token), || myelin.get(token))
}

/// The third request is one too many, if there is a limit.
fn same_four_times(what: &str, python: impl Fn() -> Result<Answer>, myelin: impl Fn() -> Result<Answer>) -> Result<()> {
    for number in 1..=4 {
        let (python, myelin) = (shape(&python()?)?, shape(&myelin()?)?);
        let same = (python.0, &python.1) == (myelin.0, &myelin.1);
        ensure!(same, "{what}, {number}: Python {python:?}, Myelin {myelin:?}");
        let waits = python.2.zip(myelin.2);
        ensure!(waits.is_some() == (python.0 == 429), "{what}, {number}: {waits:?}");
        ensure!(waits.is_none_or(|(a, b)| a.abs_diff(b) < TOLERANCE_MS), "{what}, {number}: {waits:?}");
    }
    Ok(())
}

/// A user with a room and an event in it.
fn room(synapse: &Synapse, name: &str) -> Result<(User, String, String)> {
    let user = synapse.register(name)?;
    let main = Client::new(synapse.port).with_token(&user.token);
    let made = main.send("POST", "/_matrix/client/v3/createRoom", Some(&json!({})))?.ok()?;
    let room_id = made["room_id"].as_str().context("no room_id")?.to_owned();
    let path = format!("/_matrix/client/v3/rooms/{room_id}/send/m.room.message/1");
    let sent = main.send("PUT", &path, Some(&json!({"msgtype": "m.text", "body": "hello"})))?.ok()?;
    let event_id = sent["event_id"].as_str().context("no event_id")?.to_owned();
    Ok((user, room_id, event_id))
}

/// Whether Myelin, which has nobody to pass it on to, answers itself.
fn is_served(answer: &Answer) -> bool {
    answer.status == 200
}

/// Python waits until the state is complete. So may the fallback: Myelin says nothing of such a room.
fn rooms_in_partial_state(synapse: &Synapse) -> Result<()> {
    let (user, room_id, event_id) = room(synapse, "partial")?;
    let ask = |client: &Client, method: &str, path: &str, body: Option<&Value>| {
        client.with_token(&user.token).send(method, path, body)
    };
    let term = json!({"search_categories": {"room_events": {"search_term": "hello"}}});
    let in_room = |rest: &str| format!("/_matrix/client/v3/rooms/{room_id}/{rest}");
    let v1 = |rest: &str| format!("/_matrix/client/v1/rooms/{room_id}/{rest}");
    let paths = [
        in_room("state"),
        in_room("state/m.room.create/"),
        in_room("members"),
        in_room("joined_members"),
        in_room("messages"),
        in_room(&format!("context/{event_id}")),
        in_room(&format!("event/{event_id}")),
        in_room("aliases"),
        in_room("initialSync"),
        v1("threads"),
        v1(&format!("relations/{event_id}")),
        v1("timestamp_to_event?ts=0"),
        format!("/_matrix/client/v1/room_summary/{room_id}"),
        format!("/_matrix/client/v3/events/{event_id}"),
        format!("/_matrix/client/v3/events?timeout=0&room_id={room_id}"),
        "/_matrix/client/v3/initialSync".to_owned(),
    ];
    let search = "/_matrix/client/v3/search";
    for complete in [true, false] {
        if !complete {
            let server = "INSERT INTO partial_state_rooms (room_id, device_lists_stream_id, joined_via) VALUES";
            sql(synapse, &format!("{server} ('{room_id}', 0, 'other.test');"))?;
        }
        // Whether the state is complete is remembered: each time a new one is asked.
        let (port, _myelin) = start(synapse, if complete { "complete" } else { "partial" }, "")?;
        let myelin = Client::new(port);
        for path in &paths {
            let answer = ask(&myelin, "GET", path, None)?;
            ensure!(is_served(&answer) == complete, "{path}: {} {}", answer.status, answer.json()?);
        }
        let answer = ask(&myelin, "POST", search, Some(&term))?;
        ensure!(is_served(&answer) == complete, "{search}: {} {}", answer.status, answer.json()?);
    }
    sql(synapse, &format!("DELETE FROM partial_state_rooms WHERE room_id = '{room_id}';"))
}

/// Python fetches what is missing, and waits for what is deleted. Forwards it does neither.
fn history_that_is_fetched_or_deleted(synapse: &Synapse) -> Result<()> {
    let (user, room_id, event_id) = room(synapse, "history")?;
    let (port, _myelin) = start(synapse, "history", "")?;
    let myelin = Client::new(port).with_token(&user.token);
    let lock = "INSERT INTO worker_read_write_locks (lock_name, lock_key, instance_name, write_lock, token, \
                last_renewed_ts) VALUES";
    for (what, before, after) in [
        (
            "a purge",
            format!("{lock} ('purge_pagination_lock', '{room_id}', 'x', TRUE, 't', 9000000000000);"),
            format!("DELETE FROM worker_read_write_locks WHERE lock_key = '{room_id}';"),
        ),
        (
            "a gap",
            format!(
                "INSERT INTO event_backward_extremities (event_id, room_id) VALUES ('$gap', '{room_id}'); \
                 INSERT INTO event_edges (event_id, prev_event_id, is_state) VALUES ('{event_id}', '$gap', FALSE);"
            ),
            format!(
                "DELETE FROM event_backward_extremities WHERE room_id = '{room_id}'; \
                 DELETE FROM event_edges WHERE prev_event_id = '$gap';"
            ),
        ),
    ] {
        let served = |dir: &str| -> Result<bool> {
            let path = format!("/_matrix/client/v3/rooms/{room_id}/messages?dir={dir}");
            Ok(is_served(&myelin.get(&path)?))
        };
        ensure!(served("b")? && served("f")?, "{what}: not yet");
        sql(synapse, &before)?;
        ensure!(!served("b")? && served("f")?, "{what}: now");
        sql(synapse, &after)?;
        ensure!(served("b")? && served("f")?, "{what}: no more");
    }
    Ok(())
}
