//! What other servers ask of a room: walks cost the same however long they are, and what is warm costs only what
//! nobody asked for before. Requests are signed with the server's own key, whose server is in the room.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use myelin_model::signing::SigningKey;
use myelin_testkit::http::{Answer, Client};
use myelin_testkit::process::free_port;
use myelin_testkit::synapse::{SERVER_NAME, Synapse};
use myelin_tests::signed;
use serde_json::{Value, json};

use super::{Counted, User};

const MESSAGES: usize = 60;
const F: &str = "/_matrix/federation/v1";
/// The graph; with events that nobody asked for: them, their redactions, their state groups and the rows of these.
const WALK: u64 = 1;
const COLD_WALK: u64 = 12;
/// An event, its redactions and its state group.
const STATE: u64 = 3;
/// Of a space and of all that is in it: who is there, what is known of them, their state, and its events.
const HIERARCHY: u64 = 10;
const CHILDREN: [usize; 2] = [2, 12];
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    myelin: Client,
    key: SigningKey,
}

impl Server {
    fn ask(&self, path: &str, content: Option<&Value>) -> Result<Value> {
        self.answer(path, content)?.ok()
    }

    fn answer(&self, path: &str, content: Option<&Value>) -> Result<Answer> {
        let answer = signed::ask(&self.myelin, &self.key, [SERVER_NAME; 2], path, content)?;
        ensure!(answer.is_native(), "the fallback answered {path}");
        Ok(answer)
    }

    /// How many events are in the answer.
    fn backfill(&self, room_id: &str, event: &str, limit: usize) -> Result<usize> {
        let answer = self.ask(&format!("{F}/backfill/{room_id}?v={event}&limit={limit}"), None)?;
        Ok(answer["pdus"].as_array().context("no pdus")?.len())
    }

    fn missing(&self, room_id: &str, event: &str) -> Result<usize> {
        let content = json!({"latest_events": [event], "limit": 20});
        let answer = self.ask(&format!("{F}/get_missing_events/{room_id}"), Some(&content))?;
        Ok(answer["events"].as_array().context("no events")?.len())
    }
}

pub fn other_servers(synapse: &Synapse) -> Result<()> {
    let counted = Counted::start_on(synapse, "servers", free_port()?)?;
    let server = Server { myelin: counted.myelin.clone(), key: signed::signing_key(synapse)? };
    let owner = User::register(synapse, &counted.myelin, "host")?;
    let room_id = owner.create_room("walks")?;
    let events = (0..MESSAGES).map(|n| owner.say(&room_id, &n.to_string())).collect::<Result<Vec<_>>>()?;
    let [first, .., last] = events.as_slice() else { anyhow::bail!("no events") };
    let state_ids = |event: &str| server.ask(&format!("{F}/state_ids/{room_id}?event_id={event}"), None);
    state_ids(first)?;
    counted.costs("the state at another event of a warm room", STATE, || state_ids(last))?;
    counted.costs("the state at the same event", 0, || state_ids(last))?;
    for limit in [5, 50] {
        let found =
            counted.costs(&format!("backfill of {limit}"), COLD_WALK, || server.backfill(&room_id, last, limit))?;
        ensure!(found == limit, "{found} events of {limit}");
    }
    counted.costs("backfill of 50, warm", WALK, || server.backfill(&room_id, last, 50))?;
    let found = counted.costs("missing events, warm", WALK, || server.missing(&room_id, last))?;
    ensure!(found == 20, "{found} missing events");
    let event = format!("{F}/event/{last}");
    counted.costs("an event, warm", 0, || server.ask(&event, None))?;
    let auth = |event: &str| server.ask(&format!("{F}/event_auth/{room_id}/{event}"), None);
    auth(first)?;
    counted.costs("what entitled an event of a warm room", 0, || auth(last))?;
    let list = || server.answer(&format!("{F}/publicRooms"), None);
    let refused = counted.costs("the list of rooms, which is not for other servers by default", 0, list)?;
    ensure!(refused.status == 403 && refused.json()?["errcode"] == "M_FORBIDDEN", "{}", refused.status);
    for children in CHILDREN {
        let space = space(&owner, children)?;
        // Statistics say that it is one, a moment later.
        let known =
            format!("SELECT count(*) FROM room_stats_state WHERE room_id = '{space}' AND room_type = 'm.space'");
        let start = Instant::now();
        while synapse.postgres.query("synapse", &known)? != "1" {
            ensure!(start.elapsed() < PATIENCE, "the space has no statistics");
            std::thread::sleep(Duration::from_millis(50));
        }
        let path = format!("{F}/hierarchy/{space}");
        let found = counted.costs(&format!("a space of {children}"), HIERARCHY, || server.ask(&path, None))?;
        ensure!(found["children"].as_array().is_some_and(|found| found.len() == children), "not all: {found}");
    }
    Ok(())
}

fn space(owner: &User, children: usize) -> Result<String> {
    let made = owner.send("POST", "createRoom", &json!({"creation_content": {"type": "m.space"}}))?;
    let space = made["room_id"].as_str().context("no room_id")?.to_owned();
    for number in 0..children {
        let child = owner.create_room(&format!("child {number}"))?;
        let path = format!("rooms/{space}/state/m.space.child/{child}");
        owner.send("PUT", &path, &json!({"via": [SERVER_NAME]}))?;
    }
    Ok(space)
}
