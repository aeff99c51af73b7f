//! Rooms with members of other servers, who join, talk, fork the graph and break rules as servers do: by signed
//! requests to the main process.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use myelin_model::canonical_json::encode_without;
use myelin_testkit::synapse::Synapse;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Seed;
use crate::sign::{Signing, key};
use crate::stack::expect_ok;

/// Name, version and history visibility of each room, and what the visibility becomes.
pub const ROOMS: [(&str, &str, &str, &str); 4] = [
    ("fed world", "12", "world_readable", "joined"),
    ("fed shared", "10", "shared", "invited"),
    ("fed invited", "11", "invited", "shared"),
    ("fed joined", "6", "joined", "world_readable"),
];
/// Events of each room, as `<room:event>`.
pub const EVENTS: [&str; 17] = [
    "before",
    "join of left.test",
    "with left",
    "join of banned.test",
    "with banned",
    "join of acl.test",
    "join of other.test",
    "with other",
    "redacted",
    "redaction of redacted",
    "of emil",
    "topic",
    "other topic",
    "forked",
    "merged",
    "visibility",
    "end",
];
/// Another server's events take effect some time after they were sent.
const PATIENCE: Duration = Duration::from_secs(20);
/// What events are signed with, of those keys that they have here.
const SIGNED: [&str; 11] = [
    "auth_events",
    "content",
    "depth",
    "hashes",
    "origin_server_ts",
    "prev_events",
    "room_id",
    "sender",
    "signatures",
    "state_key",
    "type",
];

impl Seed {
    pub(super) fn remote(&mut self, synapse: &Synapse) -> Result<()> {
        for user in ["emma", "emil"] {
            self.register(user)?;
        }
        for (room, version, visibility, then) in ROOMS {
            self.remote_room(room, version, visibility)?;
            self.remote_events(synapse, room)?;
            let content = json!({"history_visibility": then});
            self.state("emma", room, "visibility", "m.room.history_visibility", &content)?;
            let acl = json!({"allow": ["*"], "deny": ["ACL.*", 5], "allow_ip_literals": false});
            self.state("emma", room, "acl", "m.room.server_acl", &acl)?;
            self.remote_join("third.test", room)?;
            self.say("emma", room, "end", "the end")?;
        }
        let erase = format!("INSERT INTO erased_users (user_id) VALUES ('{}')", self.names.get("@emil")?);
        synapse.postgres.query("synapse", &erase).map(drop)
    }

    /// Who comes and goes.
    fn remote_room(&mut self, room: &str, version: &str, visibility: &str) -> Result<()> {
        let history = json!({"type": "m.room.history_visibility", "state_key": "",
            "content": {"history_visibility": visibility}});
        let settings = json!({"preset": "public_chat", "room_version": version, "initial_state": [history]});
        self.room("emma", room, &settings)?;
        self.say("emma", room, "before", "nobody else is here")?;
        self.remote_join("left.test", room)?;
        self.say("emma", room, "with left", "one more")?;
        self.remote_join("banned.test", room)?;
        self.say("emma", room, "with banned", "two more")?;
        self.remote_join("acl.test", room)?;
        for (action, server) in [("kick", "left.test"), ("ban", "banned.test")] {
            let body = json!({"user_id": format!("@u:{server}")});
            self.ask("emma", "POST", &format!("v3/rooms/<{room}>/{action}"), &body)?;
        }
        self.remote_join("other.test", room)?;
        self.say("emma", room, "with other", "another one")?;
        self.say("emma", room, "redacted", "forget this")?;
        self.redact("emma", room, "redacted")?;
        self.join(room, &["emil"])?;
        self.say("emil", room, "of emil", "forget me")?;
        self.state("emma", room, "topic", "m.room.topic", &json!({"topic": "one"}))?;
        self.state("emma", room, "other topic", "m.room.topic", &json!({"topic": "two", "n": 1000}))
    }

    /// A fork, an event that is rejected and one that is soft-failed.
    fn remote_events(&mut self, synapse: &Synapse, room: &str) -> Result<()> {
        let message = json!({"msgtype": "m.text", "body": "from afar"});
        let event = |kind: &str, content: &Value| json!({"type": kind, "content": content});
        self.remote_send(synapse, "other.test", room, "forked", "with other", event("m.room.message", &message))?;
        self.say("emma", room, "merged", "both sides")?;
        let mut topic = event("m.room.topic", &json!({"topic": "mine"}));
        topic["state_key"] = json!("");
        self.remote_send(synapse, "other.test", room, "rejected", "merged", topic)?;
        let late = event("m.room.message", &message);
        self.remote_send(synapse, "banned.test", room, "soft-failed", "join of banned.test", late)
    }

    fn ask_as(&self, server: &str, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let path = self.names.fill_url(path)?;
        let body = body.map(|body| body.to_string().into_bytes());
        let signature = Signing::by(server).header(&self.names, method, &path, body.as_deref())?;
        let headers = [("Authorization", signature.as_str()), ("Content-Type", "application/json")];
        let answer = self.main.send_bytes(method, &path, &headers, body)?;
        expect_ok(&answer, &format!("{server}: {method} {}", self.names.unfill(&path)))
    }

    /// `@u` of the server joins.
    fn remote_join(&mut self, server: &str, room: &str) -> Result<()> {
        let versions = "ver=6&ver=10&ver=11&ver=12";
        let path = format!("/_matrix/federation/v1/make_join/<{room}>/%40u%3A{server}?{versions}");
        let template = self.ask_as(server, "GET", &path, None)?;
        let (id, event) = self.signed(server, template["event"].clone())?;
        let name = format!("{room}:join of {server}");
        self.names.set(&name, id);
        let path = format!("/_matrix/federation/v2/send_join/<{room}>/<{name}>");
        self.ask_as(server, "PUT", &path, Some(&event)).map(drop)
    }

    /// Sends an event of `@u` that follows `after`, keeps its id as `<room:name>`, and waits until it was looked at.
    fn remote_send(
        &mut self,
        synapse: &Synapse,
        server: &str,
        room: &str,
        name: &str,
        after: &str,
        mut event: Value,
    ) -> Result<()> {
        let state = self.ask("emma", "GET", &format!("v3/rooms/<{room}>/state"), &json!({}))?;
        let state = state.as_array().context("no state")?;
        let id = |kind: &str| state.iter().find(|event| event["type"] == kind).map(|event| event["event_id"].clone());
        let version_12 = ROOMS.iter().any(|(known, version, ..)| *known == room && *version == "12");
        let mut auth: Vec<Value> = id("m.room.power_levels").into_iter().collect();
        auth.extend(id("m.room.create").filter(|_| !version_12));
        auth.push(self.names.get(&format!("{room}:join of {server}"))?.into());
        let after = self.names.get(&format!("{room}:{after}"))?;
        let depth =
            synapse.postgres.query("synapse", &format!("SELECT depth FROM events WHERE event_id = '{after}'"))?;
        let depth: i64 = depth.parse()?;
        event["room_id"] = self.names.get(room)?.into();
        event["sender"] = format!("@u:{server}").into();
        event["prev_events"] = json!([after]);
        event["auth_events"] = auth.into();
        event["depth"] = json!(depth + 1);
        let (id, event) = self.signed(server, event)?;
        let body = json!({"origin": server, "origin_server_ts": event["origin_server_ts"], "pdus": [event]});
        let path = format!("/_matrix/federation/v1/send/{}", id.trim_start_matches('$'));
        let answer = self.ask_as(server, "PUT", &path, Some(&body))?;
        ensure!(answer["pdus"][&id] == json!({}), "{server} may not send {name}: {answer}");
        let found = format!("SELECT count(*) FROM events WHERE event_id = '{id}'");
        let start = Instant::now();
        while synapse.postgres.query("synapse", &found)? != "1" {
            ensure!(start.elapsed() < PATIENCE, "{name} of {server} was not looked at");
            std::thread::sleep(Duration::from_millis(50));
        }
        self.names.set(&format!("{room}:{name}"), id);
        Ok(())
    }

    /// An event with hash and signature, and its id: of a version from 4 on, and of a kind that keeps its membership
    /// or nothing when it is redacted.
    fn signed(&self, server: &str, event: Value) -> Result<(String, Value)> {
        let Value::Object(mut event) = event else { anyhow::bail!("no event: {event}") };
        event.retain(|key, _| SIGNED.contains(&key.as_str()));
        event
            .insert("origin_server_ts".to_owned(), json!(i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?));
        let hash = Sha256::digest(encode_without(&event, &["hashes", "signatures"])?);
        event.insert("hashes".to_owned(), json!({"sha256": STANDARD_NO_PAD.encode(hash)}));
        let mut redacted = event.clone();
        let kept: Map<String, Value> = match redacted["type"].as_str() {
            Some("m.room.member") => {
                Map::from_iter([("membership".to_owned(), redacted["content"]["membership"].clone())])
            }
            _ => Map::new(),
        };
        redacted.insert("content".to_owned(), kept.into());
        key(&self.names, server)?.sign_json(&mut redacted, server)?;
        let id = Sha256::digest(encode_without(&redacted, &["signatures"])?);
        event.insert("signatures".to_owned(), redacted["signatures"].clone());
        Ok((format!("${}", URL_SAFE_NO_PAD.encode(id)), event.into()))
    }
}
