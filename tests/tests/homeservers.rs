//! Two homeservers: ours, with Myelin where Synapse's docs/workers.md puts a worker, and a Synapse as it is. What one
//! says the other must have, event for event, also after a time in which they did not reach each other.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use myelin_testkit::certificate;
use myelin_testkit::http::{Answer, Client};
use myelin_testkit::nginx;
use myelin_testkit::process::{Service, free_port};
use myelin_testkit::program::program;
use myelin_testkit::proxy::Proxy;
use myelin_testkit::synapse::{Synapse, User};
use myelin_tests::{eventually, signed};
use serde_json::{Value, json};

/// Said while the other server is away; no more than it asks for at once when it finds a gap.
const SAID_MEANWHILE: usize = 8;
/// What the other server signs with later.
const NEW_KEY: &str = "a_new";
/// Said before anybody of the other server is there: more than one page of history.
const SAID_BEFORE: usize = 130;
/// What the other server must have asked Myelin, which must have answered all of it itself.
const ASKED: [&str; 4] = [
    "FederationQueryServlet",
    "FederationUserDevicesQueryServlet",
    "FederationBackfillServlet",
    "FederationVersionServlet",
];

/// One homeserver as its users see it, who are one each.
struct Side {
    synapse: Synapse,
    client: Client,
    user: User,
}

impl Side {
    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = Some(body).filter(|_| method != "GET");
        let answer = self.client.with_token(&self.user.token).send(method, &format!("/_matrix/client/v3/{path}"), body);
        answer.and_then(|answer| answer.ok()).with_context(|| format!("{}: {method} {path}", self.user.id))
    }

    /// Its name, by which the other finds it.
    fn name(&self) -> &str {
        self.user.id.split_once(':').map_or("", |(_, name)| name)
    }

    /// A request to `other` as this server makes it.
    fn request(&self, other: &Side, uri: &str) -> Result<Answer> {
        let key = signed::signing_key(&self.synapse)?;
        signed::ask(&other.client, &key, [self.name(), other.name()], uri, None)
    }

    fn set_state(&self, room: &str, kind: &str, content: &Value) -> Result<String> {
        let sent = self.ask("PUT", &format!("rooms/{room}/state/{kind}/"), content)?;
        Ok(sent["event_id"].as_str().context("no event_id")?.to_owned())
    }

    fn say(&self, room: &str, text: &str) -> Result<()> {
        let body = json!({"msgtype": "m.text", "body": text});
        let transaction = text.replace(' ', "-");
        self.ask("PUT", &format!("rooms/{room}/send/m.room.message/{transaction}"), &body).map(drop)
    }

    /// Everything in the room, by event id, without what depends on who asks.
    fn events(&self, room: &str) -> Result<BTreeMap<String, Value>> {
        let (mut events, mut from) = (BTreeMap::new(), String::new());
        loop {
            let page = self.ask("GET", &format!("rooms/{room}/messages?dir=b&limit=100{from}"), &Value::Null)?;
            for event in page["chunk"].as_array().into_iter().flatten() {
                let mut event = event.clone();
                if let Value::Object(fields) = &mut event {
                    fields
                        .retain(|name, _| !matches!(name.as_str(), "unsigned" | "age" | "user_id" | "replaces_state"));
                }
                events.insert(event["event_id"].as_str().context("no event_id")?.to_owned(), event);
            }
            match page["end"].as_str() {
                Some(end) => from = format!("&from={end}"),
                None => return Ok(events),
            }
        }
    }

    /// Ids of the room's state.
    fn state(&self, room: &str) -> Result<Vec<String>> {
        let state = self.ask("GET", &format!("rooms/{room}/state"), &Value::Null)?;
        let ids = state.as_array().into_iter().flatten().filter_map(|event| event["event_id"].as_str());
        let mut ids: Vec<_> = ids.map(str::to_owned).collect();
        ids.sort();
        Ok(ids)
    }

    fn hears(&self, room: &str, text: &str) -> Result<()> {
        eventually(&format!("{} never hears {text:?}", self.user.id), || {
            let page = self.ask("GET", &format!("rooms/{room}/messages?dir=b&limit=30"), &Value::Null)?;
            Ok(page["chunk"].as_array().into_iter().flatten().any(|event| event["content"]["body"] == text))
        })
    }

    /// Errors in the log of its main process, which begins anew with each start.
    fn errors(&self) -> Result<Vec<String>> {
        let log = std::fs::read_to_string(self.synapse.folder.join("main.log"))?;
        Ok(log.lines().filter(|line| line.contains(" - ERROR - ")).map(str::to_owned).collect())
    }
}

/// Both of them, and what is between them.
struct Pair {
    ours: Side,
    theirs: Side,
    myelin: (u16, Service),
    _front: Proxy,
    _tls: Proxy,
}

impl Pair {
    fn start(folder: &Path) -> Result<Self> {
        let program = program()?;
        let (our_port, their_port) = (free_port()?, free_port()?);
        certificate::make(folder)?;
        let start = |name: &str, port: u16| {
            let inside = folder.join(name);
            std::fs::create_dir(&inside)?;
            Synapse::start(&inside, &settings(folder, port))
        };
        let (ours, theirs) = std::thread::scope(|scope| {
            let theirs = scope.spawn(|| start("theirs", their_port));
            let ours = start("ours", our_port);
            anyhow::Ok((ours?, theirs.join().map_err(|_| anyhow!("a start panicked"))??))
        })?;
        let port = free_port()?;
        let yaml = format!(
            "{}worker_listeners:\n  - {{type: http, port: {port}, bind_addresses: ['127.0.0.1'], x_forwarded: true, \
             resources: [{{names: [client, federation, metrics]}}]}}\n",
            ours.myelin_yaml(ours.postgres.port)?
        );
        let worker = ours.worker_config("myelin1", port, &yaml)?;
        let mut command = std::process::Command::new(&program);
        command.arg("-c").arg(ours.config()).arg("-c").arg(worker);
        let myelin = ours.start_worker("myelin1", port, command)?;
        let front = nginx::start(&ours.folder, myelin.0, ours.port)?;
        let tls = nginx::without_tls(folder, "tls", &[(our_port, front.port), (their_port, theirs.port)])?;
        let side = |synapse: Synapse, port: u16, name: &str| {
            let user = synapse.register(name)?;
            anyhow::Ok(Side { client: Client::new(port), user, synapse })
        };
        let their_client = theirs.port;
        Ok(Self {
            ours: side(ours, front.port, "alice")?,
            theirs: side(theirs, their_client, "bob")?,
            myelin,
            _front: front,
            _tls: tls,
        })
    }

    /// How often Myelin was asked, by servlet, and how often it answered itself.
    fn asked(&self, servlet: &str) -> Result<(u64, u64)> {
        let text = String::from_utf8(Client::new(self.myelin.0).get("/_synapse/metrics")?.body)?;
        let lines = text.lines().filter(|line| {
            line.starts_with("myelin_requests_total{") && line.contains(&format!("servlet=\"{servlet}\""))
        });
        let (mut all, mut native) = (0, 0);
        for line in lines {
            let count: u64 = line.rsplit(' ').next().context("an odd line")?.parse()?;
            all += count;
            native += if line.contains("answered_by=\"native\"") { count } else { 0 };
        }
        Ok((all, native))
    }

    /// Both have the same events and the same state.
    fn agree(&self, room: &str) -> Result<()> {
        eventually("the servers do not agree", || {
            Ok(self.ours.state(room)? == self.theirs.state(room)?
                && self.ours.events(room)?.keys().eq(self.theirs.events(room)?.keys()))
        })
        .or_else(|error| {
            let (ours, theirs) = (self.ours.events(room)?, self.theirs.events(room)?);
            let only = |a: &BTreeMap<String, Value>, b: &BTreeMap<String, Value>| {
                a.iter().filter(|(id, _)| !b.contains_key(*id)).map(|(_, event)| event.to_string()).collect::<Vec<_>>()
            };
            Err(error.context(format!(
                "only ours: {:#?}\nonly theirs: {:#?}",
                only(&ours, &theirs),
                only(&theirs, &ours)
            )))
        })?;
        let (ours, theirs) = (self.ours.events(room)?, self.theirs.events(room)?);
        for (id, event) in &ours {
            ensure!(theirs.get(id) == Some(event), "{event}\nis there {:?}", theirs.get(id));
        }
        Ok(())
    }
}

/// A name by which the other server finds it: an address and a port, so that nothing is looked up.
fn settings(folder: &Path, port: u16) -> String {
    format!(
        "server_name: 'localhost:{port}'
federation_custom_ca_list: ['{}']
ip_range_whitelist: ['127.0.0.0/8', '::1']
federation: {{destination_min_retry_interval: 1s, destination_max_retry_interval: 2s}}
rc_federation: {{sleep_limit: 10000, concurrent: 100}}
",
        folder.join("server.pem").display()
    )
}

#[test]
fn two_homeservers() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let start = Instant::now();
    let mut pair = Pair::start(folder.path())?;
    println!("started: {:.1} s", start.elapsed().as_secs_f32());
    let room = meet(&pair)?;
    println!("met: {:.1} s", start.elapsed().as_secs_f32());
    pair.agree(&room)?;
    knows_key(&pair, "a_test")?;
    ask_about_each_other(&pair)?;
    lose_each_other(&mut pair, &room)?;
    println!("found again: {:.1} s", start.elapsed().as_secs_f32());
    pair.agree(&room)?;
    knows_key(&pair, NEW_KEY)?;
    read_all(&pair, &room)?;
    shut_out(&pair, &room)?;
    for servlet in ASKED {
        let (all, here) = pair.asked(servlet)?;
        println!("{servlet}: {here} of {all} answered by Myelin");
        ensure!(all > 0 && here == all, "{servlet}: {here} of {all}");
    }
    let errors = [pair.ours.errors()?, pair.theirs.errors()?].concat();
    ensure!(errors.is_empty(), "{errors:#?}");
    println!("done: {:.1} s", start.elapsed().as_secs_f32());
    Ok(())
}

/// The key was fetched by Myelin, which was the first to need it, and told the others.
fn knows_key(pair: &Pair, version: &str) -> Result<()> {
    let name = pair.theirs.name();
    let statement = format!(
        "SELECT count(*) FROM cache_invalidation_stream_by_instance WHERE instance_name = 'myelin1' \
         AND cache_func = 'get_server_key_json_for_remote' AND keys = ARRAY['{name}', 'ed25519:{version}']"
    );
    let count = pair.ours.synapse.postgres.query("synapse", &statement)?;
    ensure!(count == "1", "{count} times the key {version} of {name} was fetched");
    Ok(())
}

/// Whoever answers is Myelin itself.
fn native(answer: &Answer, status: u16) -> Result<Value> {
    ensure!(answer.is_native(), "{:?}", answer.headers);
    ensure!(answer.status == status, "{} instead of {status}: {:?}", answer.status, answer.json());
    answer.json()
}

fn ids(list: &Value) -> Vec<String> {
    let mut ids: Vec<_> = list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    ids.sort();
    ids
}

/// Everything that a server in the room may read of it is what the other server has itself.
fn read_all(pair: &Pair, room: &str) -> Result<()> {
    let Pair { ours, theirs, .. } = pair;
    let read = |path: &str| native(&theirs.request(ours, &format!("/_matrix/federation/v1/{path}"))?, 200);
    let topic = ours.set_state(room, "m.room.topic", &json!({"topic": "The end"}))?;
    ours.say(room, "after the topic")?;
    theirs.hears(room, "after the topic")?;
    let last = theirs.ask("GET", &format!("rooms/{room}/messages?dir=b&limit=1"), &Value::Null)?;
    let last = last["chunk"][0]["event_id"].as_str().context("no event")?;
    let at = read(&format!("state_ids/{room}?event_id={last}"))?;
    ensure!(ids(&at["pdu_ids"]) == theirs.state(room)? && ids(&at["pdu_ids"]).contains(&topic), "{at}");
    let state = read(&format!("state/{room}?event_id={last}"))?;
    let sizes = |state: &Value, name: &str| state[name].as_array().map(Vec::len);
    ensure!(sizes(&state, "pdus") == sizes(&at, "pdu_ids"), "{state}");
    ensure!(sizes(&state, "auth_chain") == sizes(&at, "auth_chain_ids"), "{state}");
    let event = read(&format!("event/{last}"))?;
    ensure!(event["pdus"][0]["content"]["body"] == "after the topic", "{event}");
    let auth = read(&format!("event_auth/{room}/{last}"))?;
    ensure!(sizes(&auth, "auth_chain").is_some_and(|size| size > 2), "{auth}");
    let history = read(&format!("backfill/{room}?v={last}&limit=20"))?;
    ensure!(sizes(&history, "pdus") == Some(20), "{history}");
    let then = read(&format!("timestamp_to_event/{room}?ts=0&dir=f"))?;
    ensure!(then["event_id"].as_str().is_some_and(|id| id.starts_with('$')), "{then}");
    read("version").map(drop)
}

/// With its last user, and by a room's list of servers, which goes by hosts: it shuts out both, so that nothing is said
/// in that room afterwards.
fn shut_out(pair: &Pair, room: &str) -> Result<()> {
    let Pair { ours, theirs, .. } = pair;
    let ask = |room: &str| theirs.request(ours, &format!("/_matrix/federation/v1/state_ids/{room}?event_id=$none"));
    let refused = |room: &str, why: &str| {
        // What the main process wrote is known to Myelin a moment later.
        eventually(&format!("it is never refused with {why:?}"), || Ok(ask(room)?.json()?["error"] == why))?;
        native(&ask(room)?, 403)
    };
    native(&ask(room)?, 404)?;
    ours.ask("POST", &format!("rooms/{room}/ban"), &json!({"user_id": theirs.user.id}))?;
    refused(room, "Host not in room.")?;
    eventually("the other server does not hear of the ban", || {
        let rooms = theirs.ask("GET", "joined_rooms", &Value::Null)?;
        Ok(rooms["joined_rooms"] == json!([]))
    })?;
    let listed = make_room(ours, "listed")?;
    come_in(pair, "listed", &listed)?;
    native(&ask(&listed)?, 404)?;
    ours.set_state(&listed, "m.room.server_acl", &json!({"allow": ["*"], "deny": ["localhost"]}))?;
    refused(&listed, "Server is banned from room").map(drop)
}

fn make_room(side: &Side, alias: &str) -> Result<String> {
    let made =
        side.ask("POST", "createRoom", &json!({"preset": "public_chat", "room_alias_name": alias, "name": "M"}))?;
    Ok(made["room_id"].as_str().context("no room_id")?.to_owned())
}

/// The other server's user, to a room of ours.
fn come_in(pair: &Pair, alias: &str, room: &str) -> Result<()> {
    let Pair { ours, theirs, .. } = pair;
    theirs.ask("POST", &format!("join/%23{alias}:{}", ours.name()), &json!({}))?;
    eventually("the other server's user does not come in", || {
        let members = ours.ask("GET", &format!("rooms/{room}/joined_members"), &Value::Null)?;
        Ok(members["joined"].get(&theirs.user.id).is_some())
    })
}

/// A room of ours with a history; the other server's user comes in by its alias, reads all of it, and they talk.
fn meet(pair: &Pair) -> Result<String> {
    let Pair { ours, theirs, .. } = pair;
    let room = make_room(ours, "meeting")?;
    for number in 0..SAID_BEFORE {
        ours.say(&room, &format!("before {number}"))?;
    }
    come_in(pair, "meeting", &room)?;
    for (from, to, text) in [(ours, theirs, "welcome"), (theirs, ours, "thank you"), (ours, theirs, "sit down")] {
        from.say(&room, text)?;
        to.hears(&room, text)?;
    }
    Ok(room)
}

/// Names and devices.
fn ask_about_each_other(pair: &Pair) -> Result<()> {
    let Pair { ours, theirs, .. } = pair;
    for (asking, asked) in [(theirs, ours), (ours, theirs)] {
        let id = &asked.user.id;
        let name = json!({"displayname": "Somebody Else"});
        asked.ask("PUT", &format!("profile/{id}/displayname"), &name)?;
        eventually("the name is not known", || {
            Ok(asking.ask("GET", &format!("profile/{id}/displayname"), &Value::Null)? == name)
        })?;
        let keys = asking.ask("POST", "keys/query", &json!({"device_keys": {id: []}}))?;
        ensure!(keys["failures"] == json!({}) && keys["device_keys"].get(id).is_some(), "{keys}");
    }
    Ok(())
}

/// The other server is away while something is said; then it has another key, and its user says that it is back.
fn lose_each_other(pair: &mut Pair, room: &str) -> Result<()> {
    let errors = pair.theirs.errors()?;
    ensure!(errors.is_empty(), "{errors:#?}");
    pair.theirs.synapse.stop_main()?;
    for number in 0..SAID_MEANWHILE {
        pair.ours.say(room, &format!("meanwhile {number}"))?;
    }
    // It comes back with another key, of which Myelin is the first to hear.
    let seed = signed::signing_key(&pair.theirs.synapse)?.sign(b"a seed");
    std::fs::write(pair.theirs.synapse.folder.join("signing.key"), format!("ed25519 {NEW_KEY} {}\n", &seed[..43]))?;
    pair.theirs.synapse.start_main()?;
    native(&pair.theirs.request(&pair.ours, "/_matrix/federation/v1/version")?, 200)?;
    pair.theirs.say(room, "back")?;
    pair.ours.hears(room, "back")?;
    pair.ours.say(room, "at last")?;
    pair.theirs.hears(room, "at last")?;
    for number in 0..SAID_MEANWHILE {
        pair.theirs.hears(room, &format!("meanwhile {number}"))?;
    }
    Ok(())
}
