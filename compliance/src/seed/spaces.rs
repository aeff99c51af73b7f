//! Spaces with all kinds of children, and rooms that everybody can find.

use anyhow::Result;
use serde_json::{Value, json};

use super::Seed;

impl Seed {
    pub(super) fn spaces(&mut self) -> Result<()> {
        let space = json!({"type": "m.space"});
        for (by, name) in [("alice", "tree"), ("alice", "branch"), ("alice", "far space"), ("carol", "wide")] {
            self.room(by, name, &json!({"name": name, "preset": "public_chat", "creation_content": space}))?;
        }
        self.join("tree", &["bob"])?;
        let here = json!(["myelin.test"]);
        let children = [
            ("tree", "restricted", json!({"via": here, "order": "b"})),
            ("tree", "branch", json!({"via": here, "order": "a", "suggested": true})),
            ("tree", "secret", json!({"via": here, "order": "\u{e4}"})),
            ("tree", "unnamed", json!({"via": here, "suggested": "yes"})),
            ("tree", "world_readable", json!({"via": []})),
            ("tree", "shared", json!({"via": "myelin.test"})),
            ("tree", "joined", json!({"via": ["myelin.test", 5]})),
            ("tree", "busy", json!({})),
            ("tree", "knock", json!({"via": here, "order": "x".repeat(51)})),
            ("branch", "general", json!({"via": here, "extra": 5})),
            ("branch", "tree", json!({"via": here})),
            ("branch", "open invite", json!({"via": here, "suggested": true})),
            ("far space", "general", json!({"via": here})),
        ];
        for (parent, child, content) in children {
            self.state("alice", parent, &format!("child {child}"), &format!("m.space.child/<{child}>"), &content)?;
        }
        self.state("alice", "tree", "lost", "m.space.child/!lost:myelin.test", &json!({ "via": here }))?;
        let far = json!({"via": ["myelin.test", "other.test"]});
        self.state("alice", "far space", "far", "m.space.child/!far:other.test", &far)?;
        for number in 0..55 {
            let name = format!("wide {number}");
            let content = json!({"via": here, "order": format!("{number:02}")});
            if number < 3 {
                self.room("carol", &name, &json!({"name": name, "preset": "public_chat"}))?;
                self.state("carol", "wide", &name, &format!("m.space.child/<{name}>"), &content)?;
            } else {
                self.state("carol", "wide", &name, &format!("m.space.child/!{number}:myelin.test"), &content)?;
            }
        }
        self.published()
    }

    fn published(&mut self) -> Result<()> {
        let readable = json!([{"type": "m.room.history_visibility", "state_key": "",
            "content": {"history_visibility": "world_readable"}}]);
        let settings: [(&str, Value); 5] = [
            ("find me", json!({"name": "Find Me", "topic": "A needle"})),
            ("needle", json!({"room_alias_name": "needle", "name": "Other"})),
            ("nameless", json!({})),
            ("readable", json!({"preset": "private_chat", "name": "Readable", "initial_state": readable})),
            ("listed space", json!({"name": "Listed", "creation_content": {"type": "m.space"}})),
        ];
        for (name, mut settings) in settings {
            settings["visibility"] = "public".into();
            if settings["preset"].is_null() {
                settings["preset"] = "public_chat".into();
            }
            self.room("alice", name, &settings)?;
        }
        self.join("find me", &["bob", "carol"])?;
        self.join("needle", &["bob"])?;
        let avatar = json!({"url": "mxc://myelin.test/room"});
        self.state("alice", "find me", "avatar", "m.room.avatar", &avatar)?;
        // Nobody may join, but its list is another's business.
        self.room("alice", "private but listed", &json!({"visibility": "public", "name": "Hidden"}))
    }
}
