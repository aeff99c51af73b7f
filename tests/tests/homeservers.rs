//! Two homeservers: ours, with Myelin where Synapse's docs/workers.md puts a worker, and a Synapse as it is. What one
//! says the other must have, event for event, also after a time in which they did not reach each other.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use myelin_testkit::certificate;
use myelin_testkit::http::Client;
use myelin_testkit::nginx;
use myelin_testkit::process::{Service, free_port};
use myelin_testkit::program::program;
use myelin_testkit::proxy::Proxy;
use myelin_testkit::synapse::{Synapse, User};
use myelin_tests::eventually;
use serde_json::{Value, json};

/// Said while the other server is away; no more than it asks for at once when it finds a gap.
const SAID_MEANWHILE: usize = 8;
/// Said before anybody of the other server is there: more than one page of history.
const SAID_BEFORE: usize = 130;
/// What must have come to Myelin, and whether it was answered here once the other server's key was known.
const ASKED: [(&str, bool); 3] = [
    ("FederationQueryServlet", true),
    ("FederationUserDevicesQueryServlet", true),
    ("FederationBackfillServlet", false),
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
    ask_about_each_other(&pair)?;
    lose_each_other(&mut pair, &room)?;
    println!("found again: {:.1} s", start.elapsed().as_secs_f32());
    pair.agree(&room)?;
    for (servlet, native) in ASKED {
        let (all, here) = pair.asked(servlet)?;
        println!("{servlet}: {here} of {all} answered by Myelin");
        ensure!(all > 0 && (here > 0 || !native), "{servlet}: {here} of {all}");
    }
    let errors = [pair.ours.errors()?, pair.theirs.errors()?].concat();
    ensure!(errors.is_empty(), "{errors:#?}");
    println!("done: {:.1} s", start.elapsed().as_secs_f32());
    Ok(())
}

/// A room of ours with a history; the other server's user comes in by its alias, reads all of it, and they talk.
fn meet(pair: &Pair) -> Result<String> {
    let Pair { ours, theirs, .. } = pair;
    let made =
        ours.ask("POST", "createRoom", &json!({"preset": "public_chat", "room_alias_name": "meeting", "name": "M"}))?;
    let room = made["room_id"].as_str().context("no room_id")?.to_owned();
    for number in 0..SAID_BEFORE {
        ours.say(&room, &format!("before {number}"))?;
    }
    let domain = ours.user.id.split_once(':').context("no domain")?.1;
    theirs.ask("POST", &format!("join/%23meeting:{domain}"), &json!({}))?;
    eventually("the other server's user does not come in", || {
        let members = ours.ask("GET", &format!("rooms/{room}/joined_members"), &Value::Null)?;
        Ok(members["joined"].get(&theirs.user.id).is_some())
    })?;
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

/// The other server is away while something is said; then its user says that it is back.
fn lose_each_other(pair: &mut Pair, room: &str) -> Result<()> {
    let errors = pair.theirs.errors()?;
    ensure!(errors.is_empty(), "{errors:#?}");
    pair.theirs.synapse.stop_main()?;
    for number in 0..SAID_MEANWHILE {
        pair.ours.say(room, &format!("meanwhile {number}"))?;
    }
    pair.theirs.synapse.start_main()?;
    pair.theirs.say(room, "back")?;
    pair.ours.hears(room, "back")?;
    pair.ours.say(room, "at last")?;
    pair.theirs.hears(room, "at last")?;
    for number in 0..SAID_MEANWHILE {
        pair.theirs.hears(room, &format!("meanwhile {number}"))?;
    }
    Ok(())
}
