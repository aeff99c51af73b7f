//! What a worker refuses, hides or leaves to another: too many requests, messages that are too old, rooms whose state or
//! history is not complete. A Python worker with the same settings says what the answers look like.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::{Answer, Client};
use myelin_testkit::process::{Service, free_port};
use myelin_testkit::python;
use myelin_testkit::synapse::{SERVER_NAME, Synapse, User};
use myelin_tests::{Case, eventually, signed, start};
use serde_json::{Value, json};

const CASES: [Case; 5] = [
    ("as many requests as are allowed", as_many_requests_as_are_allowed),
    ("as many requests of a server as are allowed", as_many_requests_of_a_server_as_are_allowed),
    ("what is older than is kept", what_is_older_than_is_kept),
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

/// What must be equal of an answer: status, body, whether it has `Retry-After`; and how long it says to wait.
fn shape(answer: &Answer) -> Result<((u16, Value, bool), Option<u64>)> {
    let mut body = answer.json()?;
    let wait = body.as_object_mut().and_then(|body| body.remove("retry_after_ms")).and_then(|wait| wait.as_u64());
    Ok(((answer.status, body, answer.header("retry-after").is_some()), wait))
}

/// `rc_…` of the configuration; an administrator may lift them from a user.
fn as_many_requests_as_are_allowed(synapse: &Synapse) -> Result<()> {
    let extra = "rc_profile: TIGHT\nrc_user_directory: TIGHT\nrc_delayed_event_mgmt: TIGHT\n\
                 rc_registration_token_validity: TIGHT\nrc_presence: {per_user: TIGHT}\n"
        .replace("TIGHT", TIGHT);
    let (limited, free) = (synapse.register("limited")?, synapse.register("free")?);
    let (unset, raised) = (synapse.register("unset")?, synapse.register("raised")?);
    // Other numbers than 0 are for the sending of events alone.
    for (user, limit) in [(&free, "0, 0"), (&unset, "NULL, NULL"), (&raised, "1000, 1000")] {
        sql(synapse, &format!("INSERT INTO ratelimit_override VALUES ('{}', {limit});", user.id))?;
    }
    let (python, _python) = python_worker(synapse, "limited_python", &extra)?;
    let (port, _myelin) = start(synapse, "limited_myelin", &extra)?;
    let myelin = Client::new(port);
    let term = json!({"search_term": "limited"});
    let profile = format!("/_matrix/client/v3/profile/{}", limited.id);
    let requests: [(&str, &str, Option<&Value>); 4] = [
        ("POST", "/_matrix/client/v3/user_directory/search", Some(&term)),
        ("GET", &profile, None),
        ("GET", "/_matrix/client/unstable/org.matrix.msc4140/delayed_events", None),
        ("GET", "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/x", None),
    ];
    for (user, requests) in
        [(&limited, &requests[..]), (&free, &requests[..]), (&unset, &requests[..1]), (&raised, &requests[..1])]
    {
        let presence = format!("/_matrix/client/v3/presence/{}/status", user.id);
        let online = json!({"presence": "online"});
        for (method, path, body) in requests.iter().copied().chain([("PUT", &*presence, Some(&online))]) {
            let ask = |worker: &Client| worker.with_token(&user.token).send(method, path, body);
            let last = same_four_times(&format!("{path} of {}", user.id), || ask(&python), || ask(&myelin))?;
            let is_limited = user.id == limited.id || user.id == raised.id;
            ensure!((last == 429) == is_limited, "{path} of {}: {last}", user.id);
        }
    }
    let token = "/_matrix/client/v1/register/m.login.registration_token/validity?token=x";
    same_four_times(token, || python.get(token), || myelin.get(token)).map(drop)
}

/// `rc_federation`: of those that come at once two are answered, three sleep and are answered then, and the rest is
/// refused, whether or not it would have been found.
fn as_many_requests_of_a_server_as_are_allowed(synapse: &Synapse) -> Result<()> {
    const AT_ONCE: usize = 9;
    // Long enough for all to have come, on a busy machine too.
    let extra =
        "rc_federation: {window_size: 60000, sleep_limit: 2, sleep_delay: 4000, reject_limit: 2, concurrent: 3}\n";
    let (python, _python) = python_worker(synapse, "crowd_python", extra)?;
    let (port, _myelin) = start(synapse, "crowd_myelin", extra)?;
    let key = signed::signing_key(synapse)?;
    let uri = format!("/_matrix/federation/v1/query/profile?user_id=@nobody:{SERVER_NAME}");
    let crowd = |worker: &Client| -> Result<Vec<(u16, String)>> {
        let ask = || {
            let answer = signed::ask(worker, &key, [SERVER_NAME; 2], &uri, None)?;
            Ok::<_, anyhow::Error>((answer.status, answer.json()?.to_string()))
        };
        let mut answers = thread::scope(|scope| {
            let asking: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(ask)).collect();
            let answers = asking.into_iter().map(|asking| asking.join().map_err(|_| anyhow::anyhow!("panicked"))?);
            answers.collect::<Result<Vec<_>>>()
        })?;
        answers.sort_unstable();
        Ok(answers)
    };
    let (python, myelin) = (crowd(&python)?, crowd(&Client::new(port))?);
    ensure!(python == myelin, "Python {python:#?}, Myelin {myelin:#?}");
    let refused = python.iter().filter(|(status, _)| *status == 429).count();
    ensure!(refused == AT_ONCE - 5, "{python:#?}");
    Ok(())
}

/// The third request is one too many, if there is a limit. Returns the status of the last one.
fn same_four_times(
    what: &str,
    python: impl Fn() -> Result<Answer>,
    myelin: impl Fn() -> Result<Answer>,
) -> Result<u16> {
    let mut last = 0;
    for number in 1..=4 {
        let ((python, python_wait), (myelin, myelin_wait)) = (shape(&python()?)?, shape(&myelin()?)?);
        ensure!(python == myelin, "{what}, {number}: Python {python:?}, Myelin {myelin:?}");
        let waits = python_wait.zip(myelin_wait);
        ensure!(waits.is_some() == (python.0 == 429), "{what}, {number}: {waits:?}");
        ensure!(waits.is_none_or(|(a, b)| a.abs_diff(b) < TOLERANCE_MS), "{what}, {number}: {waits:?}");
        last = python.0;
    }
    Ok(last)
}

/// What rooms say of how long messages are kept, in the order in which they say it, and whether messages of now are then
/// shown where one millisecond is the rule.
const KEPT: [(&str, &[&str], bool); 6] = [
    ("nothing", &[], false),
    ("a day", &[r#"{"max_lifetime": 86400000}"#], true),
    ("a moment", &[r#"{"max_lifetime": 1}"#], false),
    ("a moment, then a day", &[r#"{"max_lifetime": 1}"#, r#"{"max_lifetime": 86400000}"#], true),
    ("at least a day", &[r#"{"min_lifetime": 86400000}"#], false),
    ("something else", &[r#"{"other": 86400000}"#], false),
];

/// `retention`: a room's own `m.room.retention`, and else the server's default policy.
fn what_is_older_than_is_kept(synapse: &Synapse) -> Result<()> {
    let user = synapse.register("keeper")?;
    let main = Client::new(synapse.port).with_token(&user.token);
    let event_id = |method: &str, path: &str, body: &Value| -> Result<String> {
        Ok(main.send(method, path, Some(body))?.ok()?["event_id"].as_str().context("no event_id")?.to_owned())
    };
    let mut rooms = Vec::new();
    for (name, says, shown) in KEPT {
        let made = main.send("POST", "/_matrix/client/v3/createRoom", Some(&json!({ "name": name })))?.ok()?;
        let room = format!("/_matrix/client/v3/rooms/{}", made["room_id"].as_str().context("no room_id")?);
        let message = json!({"msgtype": "m.text", "body": "perishable"});
        let first = event_id("PUT", &format!("{room}/send/m.room.message/1"), &message)?;
        for policy in says {
            event_id("PUT", &format!("{room}/state/m.room.retention"), &serde_json::from_str(policy)?)?;
        }
        let relation = json!({"rel_type": "m.thread", "event_id": first});
        let reply = json!({"msgtype": "m.text", "body": "perishable too", "m.relates_to": relation});
        event_id("PUT", &format!("{room}/send/m.room.message/2"), &reply)?;
        let topic = event_id("PUT", &format!("{room}/state/m.room.topic"), &json!({"topic": "this stays"}))?;
        rooms.push((name, room, first, topic, shown));
    }
    let settings = "retention: {enabled: true, default_policy: {min_lifetime: 1, max_lifetime: 1}}\n";
    let (python, _python) = python_worker(synapse, "keeping_python", settings)?;
    let (port, _myelin) = start(synapse, "keeping_myelin", settings)?;
    let workers = [python.with_token(&user.token), Client::new(port).with_token(&user.token)];
    for (name, room, first, topic, shown) in &rooms {
        same_is_kept(&workers, room, first, topic, *shown).context(*name)?;
    }
    same_events(&workers, "POST", "/_matrix/client/v3/search", Some(&perishable()))?;
    same_events(&workers, "GET", "/_matrix/client/v3/sync?set_presence=offline", None)?;
    same_events(&workers, "GET", "/_matrix/client/v3/initialSync?limit=50", None)?;

    let (name, room, first, topic, _) = &rooms[1];
    event_id("PUT", &format!("{room}/state/m.room.retention"), &json!({"max_lifetime": 1}))?;
    for worker in &workers {
        let hidden = || Ok(worker.get(&format!("{room}/event/{first}"))?.status == 404);
        eventually("the message stays though its room changed its mind", hidden)?;
    }
    same_is_kept(&workers, room, first, topic, false).context(*name)
}

fn perishable() -> Value {
    json!({"search_categories": {"room_events": {"search_term": "perishable", "order_by": "recent"}}})
}

/// Every way to read the room's messages. State is shown whatever its age.
fn same_is_kept(workers: &[Client; 2], room: &str, first: &str, topic: &str, shown: bool) -> Result<()> {
    let v1 = room.replace("/v3/", "/v1/");
    for path in [
        format!("{room}/messages?dir=b&limit=100"),
        format!("{room}/messages?dir=f&limit=100"),
        format!("{room}/messages?dir=b&limit=1"),
        format!("{room}/initialSync?limit=100"),
        format!("{v1}/threads"),
        format!("{v1}/relations/{first}"),
        format!("{v1}/relations/{first}?recurse=true"),
        format!("{v1}/timestamp_to_event?ts=0"),
        format!("{room}/context/{topic}?limit=50"),
    ] {
        let (_, events) = same_events(workers, "GET", &path, None)?;
        let is_listed = events.iter().any(|event| event == first);
        ensure!(is_listed == shown || !path.contains("=100"), "{path}: {events:?}");
    }
    for path in [
        format!("{room}/event/{first}"),
        format!("{room}/context/{first}"),
        format!("/_matrix/client/v3/events/{first}"),
    ] {
        let (status, _) = same_events(workers, "GET", &path, None)?;
        ensure!((status == 200) == shown, "{path}: {status}");
    }
    let (status, _) = same_events(workers, "GET", &format!("{room}/event/{topic}"), None)?;
    ensure!(status == 200, "state is hidden: {status}");
    // Answers to the same question are kept for some time.
    let limit = if shown { "50" } else { "51" };
    let filter = r#"{"room":{"rooms":["ROOM"],"timeline":{"limit":LIMIT}}}"#.replace("LIMIT", limit);
    let id = room.rsplit('/').next().unwrap_or_default();
    let filter = filter.replace("ROOM", id).replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
    let path = format!("/_matrix/client/v3/sync?set_presence=offline&filter={filter}");
    let (_, events) = same_events(workers, "GET", &path, None)?;
    ensure!(events.iter().any(|event| event == first) == shown, "{path}: {events:?}");
    Ok(())
}

/// The status and the events of an answer, which Python and Myelin give alike; in no order, as state has none.
fn same_events(workers: &[Client; 2], method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Vec<String>)> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
            Value::Object(values) => {
                found.extend(values.get("event_id").and_then(Value::as_str).map(str::to_owned));
                values.values().for_each(|value| collect(value, found));
            }
            _ => {}
        }
    }
    let [python, myelin] = workers.each_ref().map(|worker| {
        let answer = worker.send(method, path, body)?;
        let mut found = Vec::new();
        collect(&answer.json()?, &mut found);
        found.sort();
        anyhow::Ok((answer, found))
    });
    let ((python, expected), (myelin, found)) = (python?, myelin?);
    ensure!(myelin.is_native(), "{path} is passed on: {}", myelin.status);
    let same = (python.status, &expected) == (myelin.status, &found);
    ensure!(same, "{path}: Python {} {expected:?}, Myelin {} {found:?}", python.status, myelin.status);
    Ok((python.status, found))
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

const TEAPOT: u16 = 418;

/// A fallback, by its port, that answers everything in the same way.
fn teapot() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let answer = |stream: TcpStream| -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let field = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            length = field.map_or(length, |(_, value)| value.trim().parse().unwrap_or(0));
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        write!(reader.get_mut(), "HTTP/1.1 {TEAPOT} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    };
    // A connection that is given up matters to nobody.
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer(stream))));
    Ok(port)
}

/// Python waits until the state is complete. So may the fallback: Myelin says nothing of such a room where it needs the
/// whole state.
fn rooms_in_partial_state(synapse: &Synapse) -> Result<()> {
    let (user, room_id, event_id) = room(synapse, "partial")?;
    let main = Client::new(synapse.port).with_token(&user.token);
    let alias = "/_matrix/client/v3/directory/room/%23partial:myelin.test";
    main.send("PUT", alias, Some(&json!({ "room_id": room_id })))?.ok()?;
    let paths = paths_in_partial_state(&room_id, &event_id, alias);
    let in_part = |rest: &str| format!("/_matrix/client/v3/user/{}/{rest}", user.id);
    // These do not ask for state.
    let anyway = [
        "/_matrix/client/v3/joined_rooms".to_owned(),
        format!("/_matrix/client/v3/profile/{}", user.id),
        in_part(&format!("rooms/{room_id}/tags")),
        in_part(&format!("rooms/{room_id}/account_data/x")),
        "/_matrix/client/v3/publicRooms".to_owned(),
        "/_matrix/client/v3/notifications".to_owned(),
    ];
    let term = json!({"search_categories": {"room_events": {"search_term": "hello"}}});
    let settings = "experimental_features: {msc4306_enabled: true}\n";
    let settings = format!("{settings}myelin: {{fallback: 'http://127.0.0.1:{}'}}\n", teapot()?);
    for complete in [true, false] {
        if !complete {
            let server = "INSERT INTO partial_state_rooms (room_id, device_lists_stream_id, joined_via) VALUES";
            sql(synapse, &format!("{server} ('{room_id}', 0, 'other.test');"))?;
        }
        // Whether the state is complete is remembered: each time new ones are asked.
        let name = if complete { "complete" } else { "partial" };
        let (port, _myelin) = start(synapse, name, &settings)?;
        let myelin = Client::new(port).with_token(&user.token);
        for (method, path, body, status) in paths
            .iter()
            .map(|(path, status)| ("GET", &**path, None, *status))
            .chain([("POST", "/_matrix/client/v3/search", Some(&term), 200)])
        {
            let answer = myelin.send(method, path, body)?;
            let told = (answer.is_native(), answer.status);
            let expected = if complete { (true, status) } else { (false, TEAPOT) };
            ensure!(told == expected, "{name}, {path}: {told:?} {}", String::from_utf8_lossy(&answer.body));
        }
        for path in &anyway {
            let answer = myelin.get(path)?;
            ensure!(answer.is_native(), "{path}: {} {}", answer.status, answer.json()?);
        }
        let (python, _python) = python_worker(synapse, &format!("{name}_python"), "")?;
        let workers = [python.with_token(&user.token), myelin];
        // Who loads members lazily sees the room before.
        for (filter, shown) in
            [("", complete), ("&filter=%7B%22room%22:%7B%22state%22:%7B%22lazy_load_members%22:true%7D%7D%7D", true)]
        {
            let path = format!("/_matrix/client/v3/sync?set_presence=offline{filter}");
            let (_, events) = same_events(&workers, "GET", &path, None)?;
            ensure!(events.contains(&event_id) == shown, "{path}: {events:?}");
        }
    }
    sql(synapse, &format!("DELETE FROM partial_state_rooms WHERE room_id = '{room_id}';"))
}

/// Paths that need the room's whole state, and what they answer when it is there.
fn paths_in_partial_state(room_id: &str, event_id: &str, alias: &str) -> Vec<(String, u16)> {
    let mut paths = vec![(alias.to_owned(), 200), (format!("/_matrix/client/v3/events/{event_id}"), 200)];
    let mut add = |prefix: &str, rest: &[&str]| {
        paths.extend(rest.iter().map(|rest| (format!("/_matrix/client/{prefix}{}", rest.replace('$', event_id)), 200)));
    };
    let in_room = |version: &str| format!("{version}/rooms/{room_id}/");
    let reads = [
        "state",
        "state/m.room.create/",
        "state/m.room.create",
        "members",
        "joined_members",
        "messages",
        "context/$",
        "event/$",
        "aliases",
        "initialSync",
    ];
    add(&in_room("v3"), &reads);
    let reads =
        ["threads", "relations/$", "relations/$/m.thread/m.room.message", "timestamp_to_event?ts=0", "hierarchy"];
    add(&in_room("v1"), &reads);
    add(&in_room("unstable/org.matrix.msc2432"), &["aliases"]);
    add(&in_room("unstable/im.nheko.summary"), &["summary"]);
    let summaries = ["v1/room_summary/", "unstable/im.nheko.summary/summary/"];
    for path in summaries {
        add(path, &[room_id]);
    }
    add("v3/", &[&format!("events?timeout=0&room_id={room_id}"), "events?timeout=0", "initialSync"]);
    let subscription = format!("unstable/io.element.msc4306/rooms/{room_id}/thread/{event_id}/subscription");
    paths.push((format!("/_matrix/client/{subscription}"), 404));
    paths
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
            Ok(myelin.get(&path)?.status == 200)
        };
        ensure!(served("b")? && served("f")?, "{what}: not yet");
        sql(synapse, &before)?;
        ensure!(!served("b")? && served("f")?, "{what}: now");
        sql(synapse, &after)?;
        ensure!(served("b")? && served("f")?, "{what}: no more");
    }
    Ok(())
}
