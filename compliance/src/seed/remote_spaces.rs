//! What other servers find: a space with rooms that let some of them in, and rooms in the public list that are not for
//! all of them.

use anyhow::Result;
use myelin_testkit::synapse::Synapse;
use serde_json::{Value, json};

use super::Seed;

fn initial(kind: &str, content: &Value) -> Value {
    json!({"type": kind, "state_key": "", "content": content})
}

impl Seed {
    pub(super) fn remote_spaces(&mut self, synapse: &Synapse) -> Result<()> {
        let space = json!({"type": "m.space"});
        let open =
            json!({"name": "Federated", "preset": "public_chat", "room_version": "10", "creation_content": space});
        self.room("emma", "fed space", &open)?;
        let closed = json!({"name": "Den", "preset": "private_chat", "creation_content": space});
        self.room("emma", "fed den", &closed)?;
        let allow = json!([{"type": "m.room_membership", "room_id": self.names.get("fed shared")?}, {"type": "x"}, 5]);
        let rule = |rule: &str| initial("m.room.join_rules", &json!({"join_rule": rule, "allow": allow}));
        for (name, version, join_rule) in [
            ("fed restricted", "10", "restricted"),
            ("fed knock", "9", "knock_restricted"),
            ("fed early", "6", "knock"),
        ] {
            let settings = json!({"name": name, "room_version": version, "initial_state": [rule(join_rule)]});
            self.room("emma", name, &settings)?;
        }
        self.remote_guests(synapse)?;
        let here = json!(["myelin.test"]);
        for (number, child) in [
            "fed world",
            "fed restricted",
            "fed knock",
            "fed early",
            "fed asked",
            "fed den",
            "fed space",
            "general",
            "secret",
        ]
        .into_iter()
        .enumerate()
        {
            let content = json!({"via": here, "order": number.to_string(), "suggested": number % 2 == 0});
            self.state("emma", "fed space", &format!("child {child}"), &format!("m.space.child/<{child}>"), &content)?;
        }
        self.state("emma", "fed space", "lost", "m.space.child/!lost:other.test", &json!({"via": ["other.test"]}))?;
        self.state("emma", "fed space", "no via", "m.space.child/<fed shared>", &json!({}))?;
        self.state("emma", "fed den", "child", "m.space.child/<fed world>", &json!({ "via": here }))?;
        self.remote_lists()
    }

    /// A room that nobody may join any more; somebody of `other.test` is in it and invited somebody of `third.test`.
    fn remote_guests(&mut self, synapse: &Synapse) -> Result<()> {
        let settings = json!({"name": "Asked", "preset": "public_chat", "room_version": "10",
            "power_level_content_override": {"invite": 0}});
        self.room("emma", "fed asked", &settings)?;
        self.remote_join(synapse, "other.test", "fed asked")?;
        self.say("emma", "fed asked", "before", "come in")?;
        let invite =
            json!({"type": "m.room.member", "state_key": "@v:third.test", "content": {"membership": "invite"}});
        self.remote_send(synapse, "other.test", "fed asked", "invite", "before", invite)?;
        self.state("emma", "fed asked", "rule", "m.room.join_rules", &json!({"join_rule": "invite"}))
    }

    fn remote_lists(&mut self) -> Result<()> {
        let acl = |deny: &[&str]| initial("m.room.server_acl", &json!({"allow": ["*"], "deny": deny}));
        for number in 0..4 {
            let deny: &[&str] = if number % 2 == 0 { &["third.test"] } else { &[] };
            let settings = json!({"name": format!("Listed {number}"), "preset": "public_chat", "visibility": "public",
                "initial_state": [acl(deny)]});
            self.room("emma", &format!("fed listed {number}"), &settings)?;
        }
        let settings = json!({"name": "Home alone", "preset": "public_chat", "visibility": "public",
            "creation_content": {"m.federate": false}});
        self.room("emma", "unfederated", &settings)
    }
}
