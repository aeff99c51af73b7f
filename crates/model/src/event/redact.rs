//! Pruning a redacted event. Answers to `prune_event` in `synapse/events/utils.py` and the
//! redaction algorithm of each room version in the specification.

use std::sync::Arc;

use serde_json::Map;

use super::Event;

/// Top-level keys that survive in every room version.
const KEPT: [&str; 13] = [
    "event_id",
    "sender",
    "room_id",
    "hashes",
    "signatures",
    "type",
    "state_key",
    "depth",
    "prev_events",
    "auth_events",
    "origin_server_ts",
    "content",
    "unsigned",
];
/// Survive until version 11 took them away (MSC2176).
const KEPT_BEFORE_V11: [&str; 3] = ["prev_state", "membership", "origin"];

const POWER_LEVELS: [&str; 8] =
    ["users", "users_default", "events", "events_default", "state_default", "ban", "kick", "redact"];

impl Event {
    /// This event with everything removed that a redaction removes.
    #[must_use]
    pub fn prune(&self, redacted_by: Option<Arc<str>>) -> Self {
        let v11 = self.room_version.updated_redaction_rules;
        let content = self.pruned_content();
        let redacts = self.redacts.clone().filter(|_| v11);
        let keep = |key: &str| KEPT.contains(&key) || (!v11 && KEPT_BEFORE_V11.contains(&key));
        let text = self.text.pruned(&self.event_id, &content, redacts.as_deref(), keep);
        Self {
            text,
            unsigned: self.unsigned.prune(),
            redacts,
            redacted_by,
            replaced: None,
            sticky_duration_ms: None,
            ..self.clone()
        }
    }

    fn pruned_content(&self) -> String {
        let version = self.room_version;
        let v11 = version.updated_redaction_rules;
        let content = self.content_value();
        if &*self.kind == "m.room.create" && v11 {
            return self.content().to_owned();
        }
        let mut kept = Map::new();
        let mut keep = |keys: &[&str]| {
            for key in keys {
                if let Some(value) = content.get(*key) {
                    kept.insert((*key).to_owned(), value.clone());
                }
            }
        };
        match &*self.kind {
            "m.room.member" => {
                keep(&["membership"]);
                if version.restricted_join_rule_fix {
                    keep(&["join_authorised_via_users_server"]);
                }
                if let Some(signed) = content.get("third_party_invite").and_then(|v| v.get("signed")).filter(|_| v11) {
                    let invite = Map::from_iter([("signed".to_owned(), signed.clone())]);
                    kept.insert("third_party_invite".to_owned(), invite.into());
                }
            }
            "m.room.create" => keep(&["creator"]),
            "m.room.join_rules" => {
                keep(&["join_rule"]);
                if version.restricted_join_rule {
                    keep(&["allow"]);
                }
            }
            "m.room.power_levels" => {
                keep(&POWER_LEVELS);
                if v11 {
                    keep(&["invite"]);
                }
            }
            "m.room.aliases" if version.special_case_aliases_auth => keep(&["aliases"]),
            "m.room.history_visibility" => keep(&["history_visibility"]),
            "m.room.redaction" if v11 => keep(&["redacts"]),
            _ => {}
        }
        serde_json::Value::Object(kept).to_string()
    }
}
