//! Somebody who says all that a client can be told, and remembers what must arrive.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::{Answer, Client};
use myelin_testkit::synapse::Synapse;
use serde_json::{Value, json};

/// Rooms are made until two event persisters have one each; each persister gets about every second one.
const MAX_ROOMS: usize = 20;

/// Alice speaks, Bob listens.
pub struct Talker {
    alice: Client,
    alice_id: String,
    bob: Client,
    pub bob_id: String,
    pub bob_token: String,
    /// With two event persisters: one room of each.
    pub rooms: Vec<String>,
    next: AtomicUsize,
    said: Mutex<Said>,
}

/// Labels of what was said.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Acknowledged: it must arrive, once.
    pub must: Vec<String>,
    /// The request failed: it may have been done all the same.
    pub may: Vec<String>,
}

impl Talker {
    /// Registers both and makes their rooms. `persisters`: how many there are.
    pub fn new(synapse: &Synapse, persisters: usize) -> Result<Self> {
        let (alice, bob) = (synapse.register("alice")?, synapse.register("bob")?);
        let (alice_id, bob_id, bob_token) = (alice.id, bob.id, bob.token);
        let client = Client::new(synapse.port);
        let (alice, bob) = (client.with_token(&alice.token), client.with_token(&bob_token));
        let (mut rooms, mut instances) = (Vec::new(), BTreeSet::new());
        for _ in 0..MAX_ROOMS {
            if instances.len() == persisters {
                break;
            }
            let public = json!({"preset": "public_chat"});
            let made = alice.send("POST", "/_matrix/client/v3/createRoom", Some(&public))?.ok()?;
            let room_id = made["room_id"].as_str().context("no room")?.to_owned();
            let of = format!("SELECT DISTINCT instance_name FROM events WHERE room_id = '{room_id}'");
            if instances.insert(synapse.postgres.query("synapse", &of)?) {
                bob.send("POST", &format!("/_matrix/client/v3/join/{room_id}"), Some(&json!({})))?.ok()?;
                rooms.push(room_id);
            }
        }
        ensure!(instances.len() == persisters, "all rooms are written by {instances:?}");
        Ok(Self { alice, alice_id, bob, bob_id, bob_token, rooms, next: AtomicUsize::new(0), said: Mutex::default() })
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was said since the last `take`.
    pub fn said_so_far(&self) -> Said {
        self.said().clone()
    }

    /// The same, and begins anew.
    pub fn take(&self) -> Said {
        std::mem::take(&mut self.said())
    }

    fn label(&self, kind: &str) -> String {
        format!("{kind} {}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn note(&self, label: &str, answer: Result<Answer>) -> Result<Value> {
        let answer = answer.and_then(|answer| answer.ok());
        let mut said = self.said();
        let list = if answer.is_ok() { &mut said.must } else { &mut said.may };
        list.push(label.to_owned());
        answer
    }

    /// One message in each room and one to Bob's device. What fails is not said again.
    pub fn round(&self) {
        for room in 0..self.rooms.len() {
            // Whether it must arrive is noted.
            let _ = self.message(room);
        }
        let _ = self.to_device();
    }

    /// The event id and the label.
    pub fn message(&self, room: usize) -> Result<(String, String)> {
        let label = self.label("message");
        let sent = self.note(&label, self.say(room, &label))?;
        Ok((sent["event_id"].as_str().context("no event_id")?.to_owned(), label))
    }

    /// A message that is not noted.
    pub fn say(&self, room: usize, text: &str) -> Result<Answer> {
        let transaction = self.label("txn").replace(' ', "");
        let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/{transaction}", self.rooms[room]);
        self.alice.send("PUT", &path, Some(&json!({"msgtype": "m.text", "body": text})))
    }

    pub fn to_device(&self) -> Result<String> {
        let label = self.label("to-device");
        let path = format!("/_matrix/client/v3/sendToDevice/m.label/{}", label.replace(' ', ""));
        let body = json!({"messages": {&self.bob_id: {"*": {"label": label}}}});
        self.note(&label, self.alice.send("PUT", &path, Some(&body)))?;
        Ok(label)
    }

    /// Alice has read a new message of hers; that event's id.
    pub fn receipt(&self, room: usize) -> Result<String> {
        let (event_id, _) = self.message(room)?;
        let path = format!("/_matrix/client/v3/rooms/{}/receipt/m.read/{event_id}", self.rooms[room]);
        self.note(&event_id, self.alice.send("POST", &path, Some(&json!({}))))?;
        Ok(event_id)
    }

    pub fn account_data(&self) -> Result<String> {
        let label = self.label("account data");
        let path = format!("/_matrix/client/v3/user/{}/account_data/my.label", self.bob_id);
        self.note(&label, self.bob.send("PUT", &path, Some(&json!({"label": label}))))?;
        Ok(label)
    }

    /// Who types then.
    pub fn typing(&self, room: usize, typing: bool) -> Result<Vec<String>> {
        let path = format!("/_matrix/client/v3/rooms/{}/typing/{}", self.rooms[room], self.alice_id);
        self.alice.send("PUT", &path, Some(&json!({"typing": typing, "timeout": 120_000})))?.ok()?;
        Ok(if typing { vec![self.alice_id.clone()] } else { Vec::new() })
    }
}
