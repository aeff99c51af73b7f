//! An event as other servers see it. Answers to `get_pdu_json` and to `synapse/federation/units.py`.

use std::io::Write as _;
use std::ops::RangeInclusive;

use super::Event;
use super::text::{write_key, write_member, write_text};

/// Depths that canonical JSON can tell apart; other events are never sent.
const DEPTHS: RangeInclusive<i64> = -((1 << 53) - 1)..=(1 << 53) - 1;
/// Keys of `unsigned` that Synapse keeps, besides those that have a field of their own.
const UNSIGNED: [&str; 4] = ["prev_content", "prev_sender", "invite_room_state", "knock_room_state"];

/// Whether other servers may be sent this event: `filter_pdus_for_valid_depth`.
pub fn has_valid_depth(event: &Event) -> bool {
    DEPTHS.contains(&event.depth)
}

/// Appends the event with everything that is signed, as it was stored. Without `now_ms` its `unsigned` says when it
/// arrived, else its age.
pub fn write_pdu_json(out: &mut Vec<u8>, event: &Event, now_ms: Option<i64>) {
    let (content, rest) = event.text.shared();
    out.push(b'{');
    out.extend_from_slice(content.as_bytes());
    if event.room_version.event_format == 1 {
        write_member(out, "event_id", &event.event_id);
    }
    // MSC4291: a create event is what the room's id is made of.
    if !(event.room_version.room_id_from_create && &*event.kind == "m.room.create" && event.is_state()) {
        write_member(out, "room_id", &event.room_id);
    }
    out.extend_from_slice(rest.as_bytes());
    if !event.text.server().is_empty() {
        out.push(b',');
        out.extend_from_slice(event.text.server().as_bytes());
    }
    out.extend_from_slice(br#","unsigned":{"#);
    let start = out.len();
    if let Some(age_ts) = event.unsigned.age_ts {
        // Writing to a Vec cannot fail.
        match now_ms {
            Some(now_ms) => drop(write!(out, r#""age":{}"#, now_ms.saturating_sub(age_ts))),
            None => drop(write!(out, r#""age_ts":{age_ts}"#)),
        }
    }
    if let Some(replaces_state) = &event.unsigned.replaces_state {
        next_key(out, start, "replaces_state");
        write_text(out, replaces_state);
    }
    for (key, value) in event.unsigned.others().filter(|(key, _)| UNSIGNED.contains(&key.as_str())) {
        next_key(out, start, key);
        drop(serde_json::to_writer(&mut *out, value));
    }
    out.extend_from_slice(b"}}");
}

/// About how many bytes `write_pdu_json` writes.
pub fn pdu_len(event: &Event) -> usize {
    event.text.len() + event.room_id.len() + 200
}

fn next_key(out: &mut Vec<u8>, start: usize, key: &str) {
    if out.len() > start {
        out.push(b',');
    }
    write_key(out, key);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::stored::tests::{share, stored};
    use super::*;

    const REST: &str = r#""sender":"@a:t","depth":3,"origin_server_ts":5,"prev_events":["$x"],"auth_events":["$y"],
        "hashes":{"sha256":"x"},"signatures":{"t":{"ed25519:1":"s"}},"origin":"t","weird":{"n":12345678901234567890123}"#;

    fn event(version: &str, members: &str) -> Event {
        let json = format!("{{{members},{REST}}}");
        Event::from_stored(stored(&json, version), share).unwrap()
    }

    fn pdu(event: &Event, now_ms: Option<i64>) -> Value {
        let mut out = Vec::new();
        write_pdu_json(&mut out, event, now_ms);
        serde_json::from_slice(&out).unwrap()
    }

    /// What Synapse 1.163.2 answers for the same dictionaries.
    #[test]
    fn what_was_stored_comes_back() {
        let members = r#""type":"m.x","room_id":"!r","content":{"b":1.5,"a":[]},
            "unsigned":{"age_ts":5,"replaces_state":"$z","prev_content":{"q":1},"prev_sender":"@b:t",
            "redacted_because":{},"foo":1,"invite_room_state":[1],"age":77}"#;
        for version in ["1", "3", "10", "11", "12"] {
            let event = event(version, members);
            let mut wanted: Value = serde_json::from_str(&format!("{{{members},{REST}}}")).unwrap();
            wanted["unsigned"] = json!({"age": 95, "replaces_state": "$z", "prev_content": {"q": 1},
                "prev_sender": "@b:t", "invite_room_state": [1]});
            if version == "1" {
                wanted["event_id"] = json!("$e");
            }
            assert_eq!(pdu(&event, Some(100)), wanted, "{version}");
            assert_eq!(pdu(&event, None)["unsigned"]["age_ts"], json!(5));
            let pruned = pdu(&event.prune(None), Some(100));
            assert_eq!(pruned["unsigned"], json!({"age": 95, "replaces_state": "$z"}));
            assert_eq!((&pruned["content"], &pruned["hashes"]), (&json!({}), &wanted["hashes"]));
            assert_eq!((pruned.get("origin").is_some(), pruned.get("weird")), (!matches!(version, "11" | "12"), None));
        }
    }

    #[test]
    fn redactions_are_sent_as_they_were_signed() {
        let both = r#""type":"m.room.redaction","room_id":"!r","redacts":"$1","content":{"redacts":"$2","reason":"x"}"#;
        for (version, target) in [("10", "$1"), ("11", "$2")] {
            let event = event(version, both);
            assert_eq!(event.redacts.as_deref(), Some(target));
            let sent = pdu(&event, None);
            assert_eq!((&sent["redacts"], &sent["content"]["redacts"]), (&json!("$1"), &json!("$2")));
            assert_eq!(sent["unsigned"], json!({}));
        }
        let pruned = pdu(&event("10", both).prune(None), None);
        assert_eq!((pruned.get("redacts"), &pruned["content"]), (None, &json!({})));
        let pruned = pdu(&event("11", both).prune(None), None);
        assert_eq!((pruned.get("redacts"), &pruned["content"]), (None, &json!({"redacts": "$2"})));
        let one = r#""type":"m.room.redaction","room_id":"!r","redacts":"$1","content":{}"#;
        assert_eq!(pdu(&event("10", one), None)["content"], json!({}));
        let one = r#""type":"m.room.redaction","room_id":"!r","content":{"redacts":"$1"}"#;
        assert_eq!(pdu(&event("11", one), None).get("redacts"), None);
    }

    #[test]
    fn create_events_of_version_12_have_no_room_id() {
        let create = r#""type":"m.room.create","state_key":"","content":{"room_version":"12"}"#;
        assert_eq!(pdu(&event("12", create), None).get("room_id"), None);
        assert_eq!(pdu(&event("12", create).prune(None), None).get("room_id"), None);
    }

    #[test]
    fn depths_beyond_canonical_json() {
        let mut event = event("5", r#""type":"m.x","room_id":"!r","content":{}"#);
        for (depth, valid) in [((1 << 53) - 1, true), (1 << 53, false), (-(1 << 53), false), (i64::MAX, false)] {
            event.depth = depth;
            assert_eq!(has_valid_depth(&event), valid, "{depth}");
        }
    }
}
