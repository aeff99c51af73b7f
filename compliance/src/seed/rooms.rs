//! Rooms of several versions, join rules, visibilities, and every kind of membership.

use anyhow::Result;
use serde_json::{Value, json};

use super::Seed;

/// A state event for `initial_state`.
fn initial(kind: &str, content: &Value) -> Value {
    json!({"type": kind, "state_key": "", "content": content})
}

impl Seed {
    pub(super) fn rooms(&mut self) -> Result<()> {
        self.general()?;
        self.versions()?;
        self.visibilities()?;
        self.memberships()?;
        self.special()
    }

    /// The room where everybody has been.
    fn general(&mut self) -> Result<()> {
        let users = json!({self.names.get("@alice")?: 100, self.names.get("@bob")?: 50});
        let settings = json!({"preset": "public_chat", "name": "General", "topic": "All of it",
            "room_alias_name": "general", "power_level_content_override": {"users": users},
            "initial_state": [initial("m.room.guest_access", &json!({"guest_access": "can_join"}))]});
        self.room("alice", "general", &settings)?;
        self.join("general", &["bob", "carol", "dave", "erin", "grace", "mallory"])?;
        self.ask("guest", "POST", "v3/join/<general>", &json!({}))?;
        self.membership("alice", "general", "invite", "frank")?;
        self.membership("alice", "general", "invite", "puppet")?;
        self.ask("puppet", "POST", "v3/join/<general>", &json!({}))?;
        self.say("alice", "general", "first", "hello, world")?;
        self.say("dave", "general", "of dave", "I will be banned")?;
        self.membership("bob", "general", "ban", "dave")?;
        self.say("erin", "general", "of erin", "I will leave")?;
        self.leave("erin", "general")
    }

    fn versions(&mut self) -> Result<()> {
        for (name, version) in [("v6", "6"), ("v10", "10"), ("v12", "12")] {
            let settings = json!({"room_version": version, "name": format!("Version {version}"),
                "invite": [self.names.get("@bob")?, self.names.get("@carol")?]});
            self.room("alice", name, &settings)?;
            self.join(name, &["bob"])?;
            self.say("bob", name, "first", "a message")?;
        }
        Ok(())
    }

    /// A room per history visibility, with events from before, between and after bob's membership.
    fn visibilities(&mut self) -> Result<()> {
        for visibility in ["world_readable", "shared", "invited", "joined"] {
            let history = initial("m.room.history_visibility", &json!({"history_visibility": visibility}));
            let settings = json!({"preset": "public_chat", "name": visibility, "initial_state": [history]});
            self.room("alice", visibility, &settings)?;
            self.say("alice", visibility, "before", "before the invite")?;
            self.membership("alice", visibility, "invite", "bob")?;
            self.say("alice", visibility, "invited", "after the invite")?;
            self.join(visibility, &["bob", "carol"])?;
            self.say("alice", visibility, "joined", "after the join")?;
            self.leave("carol", visibility)?;
            self.say("alice", visibility, "left", "after carol left")?;
        }
        Ok(())
    }

    /// Bob's memberships in rooms of alice: invited, left, kicked, banned, rejected, forgotten, back again.
    fn memberships(&mut self) -> Result<()> {
        for name in ["open invite", "left", "kicked", "banned", "rejected", "forgotten", "back"] {
            let settings = json!({"name": name, "invite": [self.names.get("@bob")?]});
            self.room("alice", name, &settings)?;
            self.say("alice", name, "first", "before bob")?;
        }
        self.join("left", &["bob"])?;
        self.say("bob", "left", "of bob", "I am here")?;
        self.leave("bob", "left")?;
        self.say("alice", "left", "after", "bob is gone")?;
        self.join("kicked", &["bob"])?;
        self.membership("alice", "kicked", "kick", "bob")?;
        self.join("banned", &["bob"])?;
        self.membership("alice", "banned", "ban", "bob")?;
        self.leave("bob", "rejected")?;
        self.join("forgotten", &["bob"])?;
        self.leave("bob", "forgotten")?;
        self.ask("bob", "POST", "v3/rooms/<forgotten>/forget", &json!({}))?;
        self.join("back", &["bob"])?;
        self.leave("bob", "back")?;
        self.membership("alice", "back", "invite", "bob")?;
        self.join("back", &["bob"])
    }

    fn special(&mut self) -> Result<()> {
        let bob = self.names.get("@bob")?.to_owned();
        self.room("alice", "dm", &json!({"is_direct": true, "preset": "trusted_private_chat", "invite": [bob]}))?;
        self.join("dm", &["bob"])?;
        // No name: its members are its name.
        self.room("alice", "unnamed", &json!({"preset": "public_chat"}))?;
        self.join("unnamed", &["bob", "carol", "dave", "grace", "heidi", "ivan"])?;
        self.say("ivan", "unnamed", "first", "bye")?;
        self.leave("ivan", "unnamed")?;
        self.membership("alice", "unnamed", "invite", "judy")?;
        let knock = initial("m.room.join_rules", &json!({"join_rule": "knock"}));
        self.room("alice", "knock", &json!({"name": "Knock", "initial_state": [knock]}))?;
        for user in ["bob", "carol"] {
            self.ask(user, "POST", "v3/knock/<knock>", &json!({"reason": "let me in"}))?;
        }
        let encryption = initial("m.room.encryption", &json!({"algorithm": "m.megolm.v1.aes-sha2"}));
        self.room("alice", "secret", &json!({"name": "Secret", "initial_state": [encryption], "invite": [bob]}))?;
        self.join("secret", &["bob"])?;
        self.room("alice", "space", &json!({"name": "Space", "creation_content": {"type": "m.space"}}))?;
        self.state("alice", "space", "child", "m.space.child/<general>", &json!({"via": ["myelin.test"]}))?;
        // Only bob is left of two.
        self.room("carol", "deserted", &json!({"invite": [bob]}))?;
        self.join("deserted", &["bob"])?;
        self.leave("carol", "deserted")?;
        let allow = json!([{"type": "m.room_membership", "room_id": self.names.get("general")?}]);
        let restricted = initial("m.room.join_rules", &json!({"join_rule": "restricted", "allow": allow}));
        self.room("alice", "restricted", &json!({"name": "Restricted", "initial_state": [restricted]}))?;
        self.join("restricted", &["bob"])?;
        self.say("bob", "restricted", "first", "hello")?;
        self.room("alice", "old", &json!({"name": "Old", "preset": "public_chat", "room_version": "10"}))?;
        self.join("old", &["bob"])?;
        let new = self.ask("alice", "POST", "v3/rooms/<old>/upgrade", &json!({"new_version": "12"}))?;
        self.names.set("upgraded", new["replacement_room"].as_str().unwrap_or_default());
        self.room("nina", "with nina", &json!({"preset": "public_chat", "name": "Erased"}))?;
        self.join("with nina", &["bob"])?;
        self.say("nina", "with nina", "of nina", "forget me")?;
        self.room("mallory", "unwanted", &json!({"name": "Buy now", "invite": [bob]}))?;
        self.room("mallory", "not ours", &json!({"name": "Nobody else"}))?;
        self.say("mallory", "not ours", "first", "alone")
    }
}
