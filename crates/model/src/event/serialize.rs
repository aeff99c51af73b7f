//! An event as a client sees it. Answers to `synapse/events/utils.py` (`SerializeEventConfig`) and to the
//! native serializer behind it.

use std::io::Write as _;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Event;
use super::text::{SERVER_KEYS, write_key, write_member, write_text};
use crate::Requester;

/// Which shape a route gives its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventFormat {
    /// The newer form, used by `/state/{type}?format=event`.
    V2,
    /// The newer form without `room_id`: sync and notifications.
    V2WithoutRoomId,
    /// The older form with copies at the top level: every other route.
    #[default]
    V1,
    /// The event as servers see it (`event_format: federation` of a filter).
    Raw,
}

/// What is the same for all events of one answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SerializeOptions<'a> {
    pub format: EventFormat,
    /// Decides on `transaction_id`.
    pub requester: Option<&'a Requester>,
    /// Keep `invite_room_state` and `knock_room_state`.
    pub include_stripped_room_state: bool,
    /// The requester is a server admin.
    pub include_admin_metadata: bool,
    /// Tell for how long an event still sticks (MSC4354).
    pub sticky_ttl: bool,
    /// A filter's `event_fields`, split into their path.
    pub event_fields: Option<&'a [Vec<String>]>,
}

/// What belongs to one event but is not in it.
#[derive(Clone, Debug, Default)]
pub struct EventExtras<'a> {
    /// The requester's membership at the event.
    pub membership: Option<&'a str>,
    /// The redaction that this event was pruned for, if it can be shown.
    pub redacted_because: Option<&'a Event>,
    /// `unsigned.m.relations`, as JSON.
    pub aggregations: Option<String>,
}

/// Copied from `unsigned` to the top level by the older format.
const V1_COPIES: [&str; 6] =
    ["age", "redacted_because", "replaces_state", "prev_content", "invite_room_state", "knock_room_state"];

/// One event's JSON for a client, as text.
pub fn to_client_json(event: &Event, now_ms: i64, options: &SerializeOptions<'_>, extras: EventExtras<'_>) -> String {
    let mut out = Vec::with_capacity(event.text.len() + 256);
    write_client_json(&mut out, event, now_ms, options, extras);
    // serde_json writes UTF-8 only.
    String::from_utf8(out).unwrap_or_default()
}

/// Appends one event's JSON to a response body.
pub fn write_client_json(
    out: &mut Vec<u8>,
    event: &Event,
    now_ms: i64,
    options: &SerializeOptions<'_>,
    mut extras: EventExtras<'_>,
) {
    let Some(paths) = options.event_fields else { return write_whole(out, event, now_ms, options, &extras) };
    let aggregations = extras.aggregations.take();
    let mut whole = Vec::new();
    write_whole(&mut whole, event, now_ms, options, &extras);
    let whole = serde_json::from_slice(&whole).unwrap_or_default();
    let mut kept = only_fields(&whole, paths);
    if let Some(aggregations) = aggregations
        && let Some(unsigned) = kept.entry("unsigned").or_insert_with(|| Map::new().into()).as_object_mut()
    {
        unsigned.insert("m.relations".to_owned(), serde_json::from_str(&aggregations).unwrap_or_default());
    }
    drop(serde_json::to_writer(out, &kept));
}

/// A value of `unsigned`.
enum Piece<'a> {
    Number(i64),
    Text(&'a str),
    /// JSON, ready to be copied.
    Json(&'a str),
    Written(String),
    Value(&'a Value),
}

impl Piece<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        match self {
            Self::Number(number) => drop(write!(out, "{number}")),
            Self::Text(text) => write_text(out, text),
            Self::Json(json) => out.extend_from_slice(json.as_bytes()),
            Self::Written(json) => out.extend_from_slice(json.as_bytes()),
            Self::Value(value) => drop(serde_json::to_writer(out, value)),
        }
    }
}

/// `unsigned` in the making; a key that is put in again replaces the stored one.
struct Pieces<'a>(Vec<(&'a str, Piece<'a>)>);

impl<'a> Pieces<'a> {
    fn put(&mut self, key: &'a str, piece: Piece<'a>) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some(entry) => entry.1 = piece,
            None => self.0.push((key, piece)),
        }
    }
}

fn write_whole(
    out: &mut Vec<u8>,
    event: &Event,
    now_ms: i64,
    options: &SerializeOptions<'_>,
    extras: &EventExtras<'_>,
) {
    let pieces = unsigned(event, now_ms, options, extras);
    let format = options.format;
    out.push(b'{');
    out.extend_from_slice(event.text.client().as_bytes());
    let is_v12_create = event.room_version.room_id_from_create && &*event.kind == "m.room.create";
    // Synapse: the create event of version 12 has its room id put back in every format.
    if format != EventFormat::V2WithoutRoomId || (is_v12_create && event.state_key.is_some()) {
        write_member(out, "room_id", &event.room_id);
    }
    if format == EventFormat::V1 {
        write_member(out, "user_id", &event.sender);
    }
    out.extend_from_slice(br#","unsigned":{"#);
    for (index, (key, piece)) in pieces.0.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_key(out, key);
        piece.write(out);
    }
    if let Some(aggregations) = &extras.aggregations {
        if !pieces.0.is_empty() {
            out.push(b',');
        }
        write_key(out, "m.relations");
        out.extend_from_slice(aggregations.as_bytes());
    }
    out.push(b'}');
    let copied = |key: &str| format == EventFormat::V1 && V1_COPIES.contains(&key);
    for (key, piece) in pieces.0.iter().filter(|(key, _)| copied(key)) {
        out.push(b',');
        write_key(out, key);
        piece.write(out);
    }
    if format == EventFormat::Raw {
        if !event.text.server().is_empty() {
            out.push(b',');
            out.extend_from_slice(event.text.server().as_bytes());
        }
    } else if event.text.odd {
        let is_copied = |key: &str| copied(key) && pieces.0.iter().any(|(known, _)| *known == key);
        let hidden =
            |key: &str| SERVER_KEYS.contains(&key) || (format == EventFormat::V1 && key == "user_id") || is_copied(key);
        for (key, value) in event.text.server_keys().iter().filter(|(key, _)| !hidden(key)) {
            out.push(b',');
            write_key(out, key);
            out.extend_from_slice(RawValue::get(value).as_bytes());
        }
    }
    out.push(b'}');
}

fn unsigned<'a>(event: &'a Event, now_ms: i64, options: &SerializeOptions<'_>, extras: &EventExtras<'a>) -> Pieces<'a> {
    let stripped = |key: &str| matches!(key, "invite_room_state" | "knock_room_state");
    let shown = |key: &str| options.include_stripped_room_state || !stripped(key);
    let stored = event.unsigned.others().filter(|(key, _)| shown(key));
    let mut pieces = Pieces(Vec::with_capacity(8));
    pieces.0.extend(stored.map(|(key, value)| (key.as_str(), Piece::Value(value))));
    if let Some(age_ts) = event.unsigned.age_ts {
        pieces.put("age", Piece::Number(now_ms.saturating_sub(age_ts)));
    }
    if let Some(replaces_state) = &event.unsigned.replaces_state {
        pieces.put("replaces_state", Piece::Text(replaces_state));
    }
    if let Some(replaced) = &event.replaced {
        pieces.put("prev_content", Piece::Json(replaced.content()));
        pieces.put("prev_sender", Piece::Text(&replaced.sender));
    }
    if let Some(requester) = options.requester.filter(|requester| requester.user_id == event.sender) {
        if let Some(txn_id) = event.internal.txn_id.as_ref().filter(|_| sent_by_this_device(event, requester)) {
            pieces.put("transaction_id", Piece::Text(txn_id));
        }
        if let Some(delay_id) = &event.internal.delay_id {
            pieces.put("org.matrix.msc4140.delay_id", Piece::Text(delay_id));
        }
    }
    if options.include_admin_metadata {
        if event.internal.soft_failed {
            pieces.put("io.element.synapse.soft_failed", Piece::Json("true"));
        }
        if event.internal.policy_server_spammy {
            pieces.put("io.element.synapse.policy_server_spammy", Piece::Json("true"));
        }
    }
    if let Some(duration) = event.sticky_duration_ms.filter(|_| options.sticky_ttl) {
        // Its server may say that it was sent in the future.
        let left = event.origin_server_ts.min(now_ms).saturating_add(duration.into()) - now_ms;
        if left > 0 {
            pieces.put("msc4354_sticky_duration_ttl_ms", Piece::Number(left));
        }
    }
    if let Some(membership) = extras.membership {
        pieces.put("membership", Piece::Text(membership));
    }
    if let (Some(redacted_by), Some(redaction)) = (&event.redacted_by, extras.redacted_because) {
        // Synapse: `event_fields` chooses from the outer event alone.
        let whole = SerializeOptions { event_fields: None, ..*options };
        let redaction = to_client_json(redaction, now_ms, &whole, EventExtras::default());
        pieces.put("redacted_by", Piece::Text(redacted_by));
        pieces.put("redacted_because", Piece::Written(redaction));
    }
    pieces
}

/// Events from before device ids were stored are recognised by their access token.
fn sent_by_this_device(event: &Event, requester: &Requester) -> bool {
    if let Some(device_id) = &event.internal.device_id {
        return requester.device_id.as_deref() == Some(device_id);
    }
    let same_token = event.internal.token_id.is_some() && event.internal.token_id == requester.access_token_id;
    same_token || requester.is_guest || requester.app_service.is_some()
}

/// `only_fields`: what the given paths lead to.
fn only_fields(whole: &Map<String, Value>, paths: &[Vec<String>]) -> Map<String, Value> {
    let mut kept = Map::new();
    for path in paths {
        copy_field(whole, &mut kept, path);
    }
    kept
}

fn copy_field(from: &Map<String, Value>, to: &mut Map<String, Value>, path: &[String]) {
    let Some((key, rest)) = path.split_first() else { return };
    let Some(value) = from.get(key) else { return };
    if rest.is_empty() {
        to.insert(key.clone(), value.clone());
        return;
    }
    let Some(inner) = value.as_object() else { return };
    let mut child = match to.get(key) {
        Some(Value::Object(child)) => child.clone(),
        _ => Map::new(),
    };
    copy_field(inner, &mut child, rest);
    if !child.is_empty() {
        to.insert(key.clone(), Value::Object(child));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::event::StoredEvent;
    use crate::event::stored::tests::{share, stored};

    fn event(version: &str, json: &Value) -> Event {
        let json = json.to_string();
        let metadata = r#"{"txn_id":"t","device_id":"D"}"#;
        let stored = StoredEvent { internal_metadata: metadata, outlier: false, ..stored(&json, version) };
        Event::from_stored(stored, share).unwrap()
    }

    fn shown(event: &Event, format: EventFormat, extras: EventExtras<'_>) -> Value {
        let options = SerializeOptions { format, ..SerializeOptions::default() };
        serde_json::from_str(&to_client_json(event, 100, &options, extras)).unwrap()
    }

    fn name() -> Value {
        json!({
            "type": "m.room.name", "state_key": "", "room_id": "!r", "sender": "@a:t", "content": {"name": "\"x\""},
            "origin_server_ts": 5, "depth": 3, "auth_events": ["$a"], "prev_events": ["$p"], "hashes": {}, "custom": 1,
            "signatures": {}, "unsigned": {"age_ts": 60, "replaces_state": "$old", "invite_room_state": []},
        })
    }

    #[test]
    fn each_format() {
        let event = event("10", &name());
        let unsigned = json!({"age": 40, "replaces_state": "$old", "membership": "join", "m.relations": {"x": 1}});
        let extras = || EventExtras {
            membership: Some("join"),
            aggregations: Some(r#"{"x":1}"#.to_owned()),
            ..EventExtras::default()
        };
        let mut expected = json!({
            "type": "m.room.name", "state_key": "", "sender": "@a:t", "content": {"name": "\"x\""}, "event_id": "$e",
            "origin_server_ts": 5, "custom": 1, "unsigned": unsigned,
        });
        assert_eq!(shown(&event, EventFormat::V2WithoutRoomId, extras()), expected);
        expected["room_id"] = "!r".into();
        assert_eq!(shown(&event, EventFormat::V2, extras()), expected);
        let mut raw = expected.clone();
        for key in ["depth", "auth_events", "prev_events", "hashes", "signatures"] {
            raw[key] = name()[key].clone();
        }
        assert_eq!(shown(&event, EventFormat::Raw, extras()), raw);
        for (key, value) in [("user_id", json!("@a:t")), ("age", json!(40)), ("replaces_state", json!("$old"))] {
            expected[key] = value;
        }
        assert_eq!(shown(&event, EventFormat::V1, extras()), expected);
    }

    #[test]
    fn what_was_replaced() {
        let mut old = name();
        old["content"] = json!({"name": "old", "n": 1e3});
        let event = event("10", &name()).with_replaced(Arc::new(self::event("10", &old)));
        let shown = shown(&event, EventFormat::V1, EventExtras::default());
        assert_eq!((&shown["prev_content"], &shown["unsigned"]["prev_content"]), (&old["content"], &old["content"]));
        assert_eq!(shown["unsigned"]["prev_sender"], "@a:t");
        assert_eq!(event.prev_content_str("name").as_deref(), Some("old"));
    }

    #[test]
    fn keys_that_a_format_writes_itself() {
        let mut json = name();
        json["user_id"] = "@other:t".into();
        json["age"] = 7.into();
        json["prev_content"] = "p".into();
        let event = event("10", &json);
        let newer = shown(&event, EventFormat::V2, EventExtras::default());
        assert_eq!((&newer["user_id"], &newer["age"], &newer["depth"]), (&json["user_id"], &json["age"], &Value::Null));
        let older = shown(&event, EventFormat::V1, EventExtras::default());
        assert_eq!((&older["user_id"], &older["age"]), (&"@a:t".into(), &40.into()));
        assert_eq!(older["prev_content"], "p");
    }

    #[test]
    fn redactions_and_what_they_leave() {
        let json = json!({
            "type": "m.room.redaction", "room_id": "!r", "sender": "@a:t", "content": {"reason": "r"}, "redacts": "$x",
            "depth": 1, "prev_events": [], "auth_events": [], "unsigned": {},
        });
        let redaction = event("10", &json);
        let shown = |event: &Event, extras| shown(event, EventFormat::V2, extras);
        let whole = shown(&redaction, EventExtras::default());
        assert_eq!((&whole["redacts"], &whole["content"]["redacts"]), (&"$x".into(), &"$x".into()));
        let pruned = event("10", &name()).prune(Some("$e".into()));
        let extras = EventExtras { redacted_because: Some(&redaction), ..EventExtras::default() };
        let pruned = shown(&pruned, extras);
        assert_eq!(pruned["unsigned"]["redacted_because"], whole);
        assert_eq!((&pruned["content"], &pruned["custom"]), (&json!({}), &Value::Null));
        assert_eq!(pruned["unsigned"]["redacted_by"], "$e");
    }

    #[test]
    fn some_fields() {
        let paths = [vec!["content".to_owned(), "name".to_owned()], vec!["unsigned".to_owned(), "age".to_owned()]];
        let options = SerializeOptions { event_fields: Some(&paths), ..SerializeOptions::default() };
        let extras = EventExtras { aggregations: Some("{}".to_owned()), ..EventExtras::default() };
        let shown = to_client_json(&event("10", &name()), 100, &options, extras);
        let expected = json!({"content": {"name": "\"x\""}, "unsigned": {"age": 40, "m.relations": {}}});
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), expected);
    }
}
