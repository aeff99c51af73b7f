//! Rooms with members of other servers, who join, talk, fork the graph and break rules as servers do: by signed
//! requests to the main process.

use anyhow::Result;
use myelin_testkit::synapse::Synapse;
use serde_json::{Value, json};

use super::Seed;
use crate::afar::Afar;
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
impl Seed {
    pub(super) fn remote(&mut self, synapse: &Synapse) -> Result<()> {
        for user in ["emma", "emil"] {
            self.register(user)?;
        }
        for (room, version, visibility, then) in ROOMS {
            self.remote_room(synapse, room, version, visibility)?;
            self.remote_events(synapse, room)?;
            let content = json!({"history_visibility": then});
            self.state("emma", room, "visibility", "m.room.history_visibility", &content)?;
            let acl = json!({"allow": ["*"], "deny": ["ACL.*", 5], "allow_ip_literals": false});
            self.state("emma", room, "acl", "m.room.server_acl", &acl)?;
            self.remote_join(synapse, "third.test", room)?;
            self.say("emma", room, "end", "the end")?;
        }
        let erase = format!("INSERT INTO erased_users (user_id) VALUES ('{}')", self.names.get("@emil")?);
        synapse.postgres.query("synapse", &erase).map(drop)
    }

    /// Who comes and goes.
    fn remote_room(&mut self, synapse: &Synapse, room: &str, version: &str, visibility: &str) -> Result<()> {
        let history = json!({"type": "m.room.history_visibility", "state_key": "",
            "content": {"history_visibility": visibility}});
        let settings = json!({"preset": "public_chat", "room_version": version, "initial_state": [history]});
        self.room("emma", room, &settings)?;
        self.say("emma", room, "before", "nobody else is here")?;
        self.remote_join(synapse, "left.test", room)?;
        self.say("emma", room, "with left", "one more")?;
        self.remote_join(synapse, "banned.test", room)?;
        self.say("emma", room, "with banned", "two more")?;
        self.remote_join(synapse, "acl.test", room)?;
        for (action, server) in [("kick", "left.test"), ("ban", "banned.test")] {
            let body = json!({"user_id": format!("@u:{server}")});
            self.ask("emma", "POST", &format!("v3/rooms/<{room}>/{action}"), &body)?;
        }
        self.remote_join(synapse, "other.test", room)?;
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

    /// `@u` of the server joins.
    pub(super) fn remote_join(&mut self, synapse: &Synapse, server: &str, room: &str) -> Result<()> {
        let afar = Afar { names: &self.names, synapse, server };
        let answer = afar.join(&format!("@u:{server}"), self.names.get(room)?)?;
        let answer = expect_ok(&answer, &format!("{server} joins {room}"))?;
        self.names.set(&format!("{room}:join of {server}"), answer["event_id"].as_str().unwrap_or_default());
        Ok(())
    }

    /// Sends an event of `@u` that follows `after`, and keeps its id as `<room:name>`.
    pub(super) fn remote_send(
        &mut self,
        synapse: &Synapse,
        server: &str,
        room: &str,
        name: &str,
        after: &str,
        mut event: Value,
    ) -> Result<()> {
        event["sender"] = format!("@u:{server}").into();
        let after = self.names.get(&format!("{room}:{after}"))?;
        let answer = Afar { names: &self.names, synapse, server }.send(self.names.get(room)?, Some(after), event)?;
        let answer = expect_ok(&answer, &format!("{server} sends {name}"))?;
        self.names.set(&format!("{room}:{name}"), answer["event_id"].as_str().unwrap_or_default());
        Ok(())
    }
}
