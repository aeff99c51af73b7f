//! The benchmark's data: people, rooms and messages made once by the real Synapse, and kept as a stopped Postgres cluster.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::Client;
use myelin_testkit::packages::cache_folder;
use myelin_testkit::synapse::{SERVER_NAME, Synapse};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::progress;

/// Raised when what is made changes, so that an older copy is not used.
const VERSION: u32 = 3;

/// `user0000` and on: all are in the room of 2,000, the first half in the room of 1,000, the second half in small rooms.
pub const USERS: usize = 2000;
pub const MEMBERS_OF_1000: usize = 1000;
/// Accounts in `LIGHT_ROOMS` small rooms each.
pub const LIGHTS: usize = 8;
const LIGHT_ROOMS: usize = 5;
/// The account `heavy` is in all of these and in the room of 2,000.
const SMALL_ROOMS: usize = 300;
const SMALL_ROOM_MEMBERS: usize = 6;
pub const MESSAGES: usize = 30;
/// Index of a small room's message that a thread was begun on.
pub const THREAD_ROOT: usize = THREADED - 1;
/// Every fifteenth message, from this, answers the one before it in a thread.
const THREADED: usize = 4;
const BIG_ROOM_MESSAGES: usize = 40;
/// Sent to the room of 1,000 after `before_messages`.
const NEW_MESSAGES: usize = 50;
/// Rooms that get one or two messages after `before_rooms`.
const NEW_ROOMS: usize = 50;
/// Small rooms in the space.
const SPACE_ROOMS: usize = 100;
/// The first users have a device with keys.
pub const WITH_KEYS: usize = 100;
/// How long the statistics of rooms may take to follow, in seconds.
const STATISTICS: u64 = 120;
/// Requests at a time: the main process has one thread, and Postgres works meanwhile.
const LANES: usize = 3;

/// Only while the data are made: what nobody asks for later is not computed.
const SETTINGS: &str = "
presence: {enabled: false}
";

/// Where things are in the data.
#[derive(Serialize, Deserialize)]
pub struct Dataset {
    pub room_of_2000: String,
    pub room_of_1000: String,
    pub small_rooms: Vec<String>,
    /// Of the first 100 small rooms.
    pub space: String,
    /// Messages of the small rooms: room id, event id.
    pub events: Vec<(String, String)>,
    /// A /sync token from before the last 50 messages of the room of 1,000.
    pub before_messages: String,
    /// A /sync token from before one or two messages in each of 50 small rooms.
    pub before_rooms: String,
}

/// Never issued by a Synapse, but looked up like any other.
pub fn token(user: &str) -> String {
    format!("bench_{user}_token")
}

pub fn user(number: usize) -> String {
    format!("user{number:04}")
}

pub fn id(user: &str) -> String {
    format!("@{user}:{SERVER_NAME}")
}

pub fn light(number: usize) -> String {
    format!("light{number}")
}

/// The folder that holds the data, made first if it is not there, and what is in it.
pub fn get() -> Result<(PathBuf, Dataset)> {
    let kept = cache_folder().join(format!("bench-{VERSION}"));
    if !kept.exists() {
        make(&kept)?;
    }
    let dataset = fs::read(kept.join("dataset.json")).context("the benchmark's data")?;
    Ok((kept, serde_json::from_slice(&dataset)?))
}

fn make(kept: &Path) -> Result<()> {
    progress("making the data set; this happens once");
    let start = Instant::now();
    let unfinished = kept.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    fs::create_dir_all(&unfinished)?;
    let synapse = Synapse::start(&unfinished, SETTINGS)?;
    let dataset =
        Maker { main: Client::new(synapse.port), synapse: &synapse, transactions: AtomicUsize::new(0) }.run()?;
    // Kept in the cluster: each run counts statements, and no vacuum comes between two measurements.
    for statement in [
        "CREATE EXTENSION pg_stat_statements",
        "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'",
        "ALTER DATABASE synapse SET pg_stat_statements.track_utility = off",
        "ALTER SYSTEM SET autovacuum = off",
        "VACUUM ANALYZE",
    ] {
        synapse.postgres.query("synapse", statement)?;
    }
    let events = synapse.postgres.query("synapse", "SELECT count(*) FROM events")?;
    drop(synapse);
    fs::write(unfinished.join("dataset.json"), serde_json::to_vec(&dataset)?)?;
    fs::rename(&unfinished, kept)?;
    progress(&format!("{events} events in {} s", start.elapsed().as_secs()));
    Ok(())
}

struct Maker<'a> {
    main: Client,
    synapse: &'a Synapse,
    transactions: AtomicUsize,
}

impl Maker<'_> {
    fn run(&self) -> Result<Dataset> {
        self.add_users()?;
        let room_of_2000 = self.create_room(&user(0), "Room of 2,000")?;
        let room_of_1000 = self.create_room(&user(0), "Room of 1,000")?;
        self.ask("heavy", "POST", &format!("join/{room_of_2000}"), &json!({}))?;
        let joins: Vec<(usize, &str)> = (1..USERS)
            .flat_map(|number| {
                let rooms = [room_of_2000.as_str(), room_of_1000.as_str()];
                rooms.into_iter().take(1 + usize::from(number < MEMBERS_OF_1000)).map(move |room| (number, room))
            })
            .collect();
        each("joins of the big rooms", joins.len(), |index| {
            let (number, room) = joins[index];
            self.ask(&user(number), "POST", &format!("join/{room}"), &json!({})).map(drop)
        })?;
        let made = each("small rooms", SMALL_ROOMS, |index| self.small_room(index))?;
        let (small_rooms, events): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        each("messages of the big rooms", 2 * BIG_ROOM_MESSAGES, |index| {
            let room = if index % 2 == 0 { &room_of_1000 } else { &room_of_2000 };
            self.say(&user(index), room, index, "").map(drop)
        })?;
        let before_messages = self.now()?;
        each("new messages", NEW_MESSAGES, |index| self.say(&user(index), &room_of_1000, index, "").map(drop))?;
        let before_rooms = self.now()?;
        each("new messages in small rooms", NEW_ROOMS, |index| {
            let sender = user(member(index * 5, 0));
            (0..=index % 2).try_for_each(|_| self.say(&sender, &small_rooms[index * 5], 0, "").map(drop))
        })?;
        let space = self.space(&small_rooms)?;
        each("devices with keys", WITH_KEYS, |index| self.upload_keys(&user(index)))?;
        self.wait_for_statistics()?;
        let events = events.concat();
        Ok(Dataset { room_of_2000, room_of_1000, small_rooms, space, events, before_messages, before_rooms })
    }

    fn space(&self, rooms: &[String]) -> Result<String> {
        let body = json!({"preset": "public_chat", "room_version": "11", "name": "A space",
            "creation_content": {"type": "m.space"}});
        let answer = self.ask(&user(0), "POST", "createRoom", &body)?;
        let space = answer["room_id"].as_str().context("no room_id")?.to_owned();
        for room in rooms.iter().take(SPACE_ROOMS) {
            let path = format!("rooms/{space}/state/m.space.child/{room}");
            self.ask(&user(0), "PUT", &path, &json!({"via": [SERVER_NAME]}))?;
        }
        Ok(space)
    }

    fn upload_keys(&self, name: &str) -> Result<()> {
        // As long as real ones.
        let (key, signature) = ("A".repeat(43), "A".repeat(86));
        let user_id = id(name);
        let keys = json!({
            "user_id": user_id, "device_id": "BENCH",
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {"curve25519:BENCH": key, "ed25519:BENCH": key},
            "signatures": {user_id: {"ed25519:BENCH": signature}},
        });
        self.ask(name, "POST", "keys/upload", &json!({ "device_keys": keys })).map(drop)
    }

    /// Lists of rooms are made of them; Synapse counts in the background.
    fn wait_for_statistics(&self) -> Result<()> {
        let behind = "SELECT (SELECT stream_id FROM stats_incremental_position)
            < (SELECT max(stream_id) FROM current_state_delta_stream)";
        let start = Instant::now();
        while self.synapse.postgres.query("synapse", behind)?.trim() != "f" {
            ensure!(start.elapsed().as_secs() < STATISTICS, "the statistics of rooms do not follow");
            std::thread::sleep(Duration::from_millis(250));
        }
        Ok(())
    }

    /// Two thousand registrations would take longer than all the rest, and leave no more than these rows.
    fn add_users(&self) -> Result<()> {
        let names = (0..USERS).map(user).chain((0..LIGHTS).map(light)).chain(["heavy".to_owned()]);
        let mut sql = String::from("BEGIN;");
        for (index, name) in names.enumerate() {
            let (id, token, access) = (id(&name), token(&name), 1_000_000 + index);
            // Writing to a String cannot fail.
            let _ = write!(
                sql,
                "INSERT INTO users (name, creation_ts, approved) VALUES ('{id}', 1700000000, true);
                INSERT INTO profiles (full_user_id, user_id, displayname) VALUES ('{id}', '{name}', 'Person {name}');
                INSERT INTO devices (user_id, device_id, display_name) VALUES ('{id}', 'BENCH', 'A device');
                INSERT INTO access_tokens (id, user_id, device_id, token, used)
                    VALUES ({access}, '{id}', 'BENCH', '{token}', true);\n"
            );
        }
        // Some routes let through ten requests at once, whatever the configuration says.
        let unlimited = id("heavy");
        let _ = write!(sql, "INSERT INTO ratelimit_override VALUES ('{unlimited}', 0, 0);");
        let script = self.synapse.folder.join("users.sql");
        fs::write(&script, sql + "COMMIT;")?;
        self.synapse.postgres.run_script("synapse", &script, &[])
    }

    /// A room with a handful of members, talk, and `heavy`'s receipt somewhere in it.
    fn small_room(&self, index: usize) -> Result<(String, Vec<(String, String)>)> {
        let room = self.create_room(&user(member(index, 0)), &format!("Small room {index}"))?;
        let mut joining: Vec<_> = (1..SMALL_ROOM_MEMBERS).map(|place| user(member(index, place))).collect();
        joining.push("heavy".to_owned());
        if index < LIGHTS * LIGHT_ROOMS {
            joining.push(light(index % LIGHTS));
        }
        for name in joining {
            self.ask(&name, "POST", &format!("join/{room}"), &json!({}))?;
        }
        let mut events = Vec::new();
        for number in 0..MESSAGES {
            let earlier = events.last().map_or("", |(_, event): &(String, String)| event.as_str());
            let event = self.say(&user(member(index, number % SMALL_ROOM_MEMBERS)), &room, number, earlier)?;
            events.push((room.clone(), event));
        }
        let read = &events[index % MESSAGES].1;
        self.ask("heavy", "POST", &format!("rooms/{room}/receipt/m.read/{read}"), &json!({}))?;
        Ok((room, events))
    }

    fn create_room(&self, by: &str, name: &str) -> Result<String> {
        let body =
            json!({"preset": "public_chat", "room_version": "11", "name": name, "topic": "A room to measure in"});
        let answer = self.ask(by, "POST", "createRoom", &body)?;
        Ok(answer["room_id"].as_str().context("no room_id")?.to_owned())
    }

    /// A message; now and then, if there is an earlier one, a thread's answer, an edit or a reaction. Gives the event id.
    fn say(&self, by: &str, room: &str, number: usize, earlier: &str) -> Result<String> {
        let text = format!("Message {number} of {by}: a sentence of about the length that people write to each other.");
        let mut content = json!({"msgtype": "m.text", "body": text});
        let mut kind = "m.room.message";
        match number % 15 {
            _ if earlier.is_empty() => {}
            THREADED => content["m.relates_to"] = json!({"rel_type": "m.thread", "event_id": earlier}),
            8 => {
                content["m.new_content"] = json!({"msgtype": "m.text", "body": "Better said."});
                content["m.relates_to"] = json!({"rel_type": "m.replace", "event_id": earlier});
            }
            11 => {
                kind = "m.reaction";
                content = json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": earlier, "key": "+1"}});
            }
            _ => {}
        }
        let transaction = self.transactions.fetch_add(1, Ordering::Relaxed);
        let answer = self.ask(by, "PUT", &format!("rooms/{room}/send/{kind}/{transaction}"), &content)?;
        Ok(answer["event_id"].as_str().context("no event_id")?.to_owned())
    }

    /// The main process's present, as a /sync token.
    fn now(&self) -> Result<String> {
        // It keeps an answer for two minutes: each request is another.
        let number = self.transactions.fetch_add(1, Ordering::Relaxed);
        let path = format!("sync?timeout={number}&filter=%7B%22room%22:%7B%22rooms%22:[]%7D%7D");
        let answer = self.ask("heavy", "GET", &path, &Value::Null)?;
        Ok(answer["next_batch"].as_str().context("no next_batch")?.to_owned())
    }

    fn ask(&self, user: &str, method: &str, path: &str, body: &Value) -> Result<Value> {
        let client = self.main.with_token(&token(user));
        let path = format!("/_matrix/client/v3/{path}");
        let answer = client.send(method, &path, (!body.is_null()).then_some(body))?;
        ensure!(answer.status == 200, "{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        answer.json()
    }
}

/// Does `count` things in `LANES` lanes and shows how far it is. Results come in order.
fn each<T: Send>(what: &str, count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let (next, start) = (AtomicUsize::new(0), Instant::now());
    let lane = || -> Result<Vec<(usize, T)>> {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(done);
            }
            if index % count.div_ceil(10) == 0 {
                progress(&format!("{what}: {index} of {count}, {} s", start.elapsed().as_secs()));
            }
            done.push((index, work(index)?));
        }
    };
    let lanes = std::thread::scope(|scope| -> Result<Vec<_>> {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().map(|lane| lane.join().map_err(|_| anyhow::anyhow!("a lane panicked"))?).collect()
    })?;
    let mut done: Vec<_> = lanes.into_iter().flatten().collect();
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// The number of the user who sits on a place of a small room: one of those who are not in the room of 1,000.
pub fn member(room: usize, place: usize) -> usize {
    MEMBERS_OF_1000 + (room * SMALL_ROOM_MEMBERS + place % SMALL_ROOM_MEMBERS * 7) % (USERS - MEMBERS_OF_1000)
}
