//! What only some servers have switched on: events that stick (MSC4354), rules for invites (MSC4155), profiles.

use anyhow::Result;
use serde_json::{Value, json};

use super::Seed;

/// One answer tells of at most 100.
const STICKY: u32 = 105;
const LASTING: &str = "org.matrix.msc4354.sticky_duration_ms=3600000";

impl Seed {
    fn stick(&mut self, by: &str, room: &str, name: &str) -> Result<()> {
        let path = format!("v3/rooms/<{room}>/send/my.sticky/{name}?{LASTING}");
        self.keep_event(by, &path, room, name, &json!({"of": name}))
    }

    /// Bob ignores mallory by now.
    pub(super) fn sticky(&mut self) -> Result<()> {
        self.room("alice", "sticky", &json!({"preset": "public_chat", "name": "Sticky"}))?;
        self.join("sticky", &["bob", "mallory"])?;
        for number in 0..STICKY {
            self.stick("alice", "sticky", &format!("sticks{number}"))?;
        }
        self.stick("mallory", "sticky", "unwanted")?;
        self.stick("alice", "busy", "sticks")?;
        self.stick("alice", "busy", "redacted-sticky")?;
        self.redact("alice", "busy", "redacted-sticky")
    }

    /// Carol gets everything that sticks.
    pub(super) fn sticky_for_newcomers(&mut self) -> Result<()> {
        self.join("sticky", &["carol"])?;
        self.stick("bob", "sticky", "late")?;
        for number in 0..12 {
            self.say("alice", "sticky", &format!("m{number}"), "a message")?;
        }
        Ok(())
    }

    /// Heidi and grace do not see all of their invites.
    pub(super) fn invite_rules(&mut self) -> Result<()> {
        const RULES: &str = "org.matrix.msc4155.invite_permission_config";
        let rules = json!({"allowed_users": ["@carol:*"], "ignored_users": ["@MALLORY:*", 5, ""]});
        self.account_data("heidi", RULES, &rules)?;
        let rules = json!({"allowed_users": ["@alice:*"], "ignored_servers": ["myelin.t?st"]});
        self.account_data("grace", RULES, &rules)?;
        // Other rules, which have the last word.
        self.account_data("frank", RULES, &json!({"ignored_users": ["*"]}))?;
        self.account_data("frank", "m.invite_permission_config", &json!({"default_action": "allow"}))?;
        self.invite_to("invites")
    }

    pub(super) fn invite_to(&mut self, name: &str) -> Result<()> {
        let invited: Vec<Value> = ["heidi", "grace", "frank"]
            .iter()
            .map(|user| Ok(self.names.get(&format!("@{user}"))?.into()))
            .collect::<Result<_>>()?;
        for by in ["alice", "mallory", "carol"] {
            self.room(by, &format!("{name} of {by}"), &json!({"name": by, "invite": invited}))?;
        }
        Ok(())
    }

    pub(super) fn profiles(&mut self) -> Result<()> {
        self.ask("dave", "PUT", "v3/profile/<@dave>/my.field", &json!({"my.field": {"a": [1, 2.5, null]}}))?;
        self.ask("alice", "PUT", "v3/profile/<@alice>/my.field", &json!({"my.field": "x"}))?;
        self.ask("alice", "DELETE", "v3/profile/<@alice>/my.field", &json!({}))?;
        self.ask("carol", "PUT", "v3/profile/<@carol>/my.other", &json!({"my.other": 1}))?;
        let avatar = json!({"avatar_url": "mxc://myelin.test/other"});
        self.ask("heidi", "PUT", "v3/profile/<@heidi>/avatar_url", &avatar).map(drop)
    }
}
