//! An event from the columns it is stored in. Answers to `make_event_from_dict` in `synapse/events/`.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::text::{RawKeys, Text, field};
use super::unsigned::Unsigned;
use super::{Event, InternalMetadata};
use crate::position::EventPosition;
use crate::room_version::RoomVersion;

const LONGEST_STICKY_MS: u64 = 3_600_000;

/// What `events`, `event_json`, `rooms` and `rejections` hold of one event.
#[derive(Clone, Debug)]
pub struct StoredEvent<'a> {
    pub event_id: Arc<str>,
    pub json: &'a str,
    pub internal_metadata: &'a str,
    /// Missing in rows from before there were formats: 1.
    pub format_version: Option<i32>,
    /// Missing for old out-of-band memberships alone.
    pub room_version: Option<&'a str>,
    pub position: EventPosition,
    pub outlier: bool,
    pub rejected_reason: Option<&'a str>,
}

/// Why a stored event is treated as unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableEvent {
    #[error("{0} is not what Synapse writes")]
    Malformed(&'static str),
    #[error("its room is unknown")]
    UnknownRoom,
    #[error("its room has the unknown version {0}")]
    UnknownRoomVersion(String),
    #[error("it has format {found}, but its room's version has {expected}")]
    WrongFormat { expected: u8, found: i32 },
}

impl Event {
    /// `share` makes one text of equal ones: rooms, users and types recur.
    pub fn from_stored(stored: StoredEvent<'_>, share: impl Fn(&str) -> Arc<str>) -> Result<Self, UnreadableEvent> {
        let mut keys: RawKeys<'_> =
            serde_json::from_str(stored.json).map_err(|_| UnreadableEvent::Malformed("json"))?;
        let mut internal: InternalMetadata = serde_json::from_str(stored.internal_metadata)
            .map_err(|_| UnreadableEvent::Malformed("internal_metadata"))?;
        internal.outlier = stored.outlier;
        let kind = text(&keys, "type")?.ok_or(UnreadableEvent::Malformed("type"))?;
        let room_version = room_version(&stored, &kind)?;
        let content = keys.remove("content").ok_or(UnreadableEvent::Malformed("content"))?.get();
        let unsigned: Map<String, Value> = match keys.remove("unsigned") {
            Some(raw) => serde_json::from_str(raw.get()).map_err(|_| UnreadableEvent::Malformed("unsigned"))?,
            None => Map::new(),
        };
        let room_id = match text(&keys, "room_id")? {
            Some(room_id) => share(&room_id),
            // MSC4291: a create event's hash is the room's id.
            None => share(&format!("!{}", stored.event_id.trim_start_matches('$'))),
        };
        let redacts: Option<Arc<str>> = match &*kind {
            "m.room.redaction" if room_version.updated_redaction_rules => {
                field::<Cow<'_, str>>(content, "redacts").map(Arc::from)
            }
            "m.room.redaction" => text(&keys, "redacts").unwrap_or_default().map(Arc::from),
            _ => None,
        };
        let membership = (&*kind == "m.room.member").then(|| field::<Cow<'_, str>>(content, "membership")).flatten();
        Ok(Self {
            text: Text::new(&stored.event_id, content, &keys, redacts.as_deref()),
            room_id,
            room_version,
            state_key: text(&keys, "state_key")?.map(|key| share(&key)),
            sender: share(&text(&keys, "sender")?.ok_or(UnreadableEvent::Malformed("sender"))?),
            origin_server_ts: number(&keys, "origin_server_ts"),
            depth: number(&keys, "depth"),
            position: stored.position,
            redacts,
            sticky_duration_ms: keys.get("msc4354_sticky").and_then(|sticky| sticky_duration(sticky.get())),
            unsigned: Unsigned::new(unsigned),
            internal: Arc::new(internal),
            rejected_reason: stored.rejected_reason.map(Arc::from),
            redacted_by: None,
            replaced: None,
            membership: membership.map(|membership| share(&membership)),
            kind: share(&kind),
            event_id: stored.event_id,
        })
    }
}

/// `sticky_duration`
fn sticky_duration(sticky: &str) -> Option<u32> {
    let duration_ms: u64 = field(sticky, "duration_ms")?;
    u32::try_from(duration_ms.min(LONGEST_STICKY_MS)).ok()
}

fn room_version(stored: &StoredEvent<'_>, kind: &str) -> Result<&'static RoomVersion, UnreadableEvent> {
    let format = stored.format_version.unwrap_or(1);
    let Some(id) = stored.room_version.filter(|id| !id.is_empty()) else {
        // Invites from before rooms of invites were stored: those rooms were at most version 5.
        if kind != "m.room.member" {
            return Err(UnreadableEvent::UnknownRoom);
        }
        let id = match format {
            1 => "1",
            2 => "3",
            _ => "5",
        };
        return RoomVersion::find(id).ok_or(UnreadableEvent::UnknownRoom);
    };
    let version = RoomVersion::find(id).ok_or_else(|| UnreadableEvent::UnknownRoomVersion(id.to_owned()))?;
    if i32::from(version.event_format) != format {
        return Err(UnreadableEvent::WrongFormat { expected: version.event_format, found: format });
    }
    Ok(version)
}

fn text<'a>(keys: &RawKeys<'a>, key: &'static str) -> Result<Option<Cow<'a, str>>, UnreadableEvent> {
    /// Borrowed unless it has escapes.
    #[derive(serde::Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let Some(raw) = keys.get(key) else { return Ok(None) };
    match serde_json::from_str::<Option<Text<'_>>>(raw.get()) {
        Ok(text) => Ok(text.map(|text| text.0)),
        Err(_) => Err(UnreadableEvent::Malformed(key)),
    }
}

/// Depths of old rooms may exceed an i64; they are clamped as Synapse clamps `topological_ordering`.
fn number(keys: &RawKeys<'_>, key: &str) -> i64 {
    let Some(raw) = keys.get(key) else { return 0 };
    raw.get().parse().unwrap_or_else(|_| match raw.get().as_bytes() {
        [b'-', digit, ..] if digit.is_ascii_digit() => i64::MIN,
        [digit, ..] if digit.is_ascii_digit() => i64::MAX,
        _ => 0,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn how_long_an_event_sticks() {
        for (sticky, duration) in [
            (r#"{"duration_ms":5000,"x":1}"#, Some(5000)),
            (r#"{"duration_ms":0}"#, Some(0)),
            (r#"{"duration_ms":99999999}"#, Some(3_600_000)),
            (r#"{"duration_ms":-5}"#, None),
            (r#"{"duration_ms":5000.7}"#, None),
            (r#"{"duration_ms":true}"#, None),
            ("{}", None),
            ("5", None),
        ] {
            assert_eq!(sticky_duration(sticky), duration, "{sticky}");
        }
    }

    pub fn stored<'a>(json: &'a str, version: &'a str) -> StoredEvent<'a> {
        StoredEvent {
            event_id: "$e".into(),
            json,
            internal_metadata: r#"{"outlier":false,"txn_id":"t","unknown":[1]}"#,
            format_version: RoomVersion::find(version).map(|v| v.event_format.into()),
            room_version: Some(version),
            position: EventPosition { instance: "master".into(), stream: 7 },
            outlier: true,
            rejected_reason: None,
        }
    }

    pub fn share(text: &str) -> Arc<str> {
        Arc::from(text)
    }

    fn read(row: StoredEvent<'_>) -> Result<Event, UnreadableEvent> {
        Event::from_stored(row, share)
    }

    #[test]
    fn content_stays_as_it_is_written() {
        let json = r#"{"type":"m.x","room_id":"!r","sender":"@a:t","content":{"n":1e400, "big":123456789012345678901},
            "depth":12,"origin_server_ts":5,"prev_events":["$a"],"auth_events":[],"unsigned":{"age_ts":5},"x":1}"#;
        let event = read(stored(json, "10")).unwrap();
        assert_eq!(event.content(), r#"{"n":1e400, "big":123456789012345678901}"#);
        assert_eq!((event.depth, event.origin_server_ts, event.prev_event_ids().len()), (12, 5, 1));
        assert!(event.is_outlier() && event.internal.txn_id.as_deref() == Some("t"));
        assert_eq!(event.unsigned.age_ts, Some(5));
    }

    #[test]
    fn old_references_and_redactions() {
        let json = r#"{"type":"m.room.redaction","room_id":"!r","sender":"@a:t","content":{"redacts":"$b"},
            "redacts":"$a","prev_events":[["$p:t",{"sha256":"x"}]],"depth":9223372036854775808}"#;
        let event = read(stored(json, "1")).unwrap();
        assert_eq!((event.redacts.as_deref(), &*event.prev_event_ids()[0]), (Some("$a"), "$p:t"));
        assert_eq!(event.depth, i64::MAX);
        let event = read(stored(json, "11")).unwrap();
        assert_eq!(event.redacts.as_deref(), Some("$b"));
    }

    #[test]
    fn a_create_event_of_version_12_names_its_room() {
        let json = r#"{"type":"m.room.create","state_key":"","sender":"@a:t","content":{}}"#;
        assert_eq!(&*read(stored(json, "12")).unwrap().room_id, "!e");
    }

    #[test]
    fn unreadable_rows() {
        let json = r#"{"type":"m.x","room_id":"!r","sender":"@a:t","content":{}}"#;
        let reason = |row| read(row).err();
        assert_eq!(reason(stored(json, "no")), Some(UnreadableEvent::UnknownRoomVersion("no".to_owned())));
        let wrong = StoredEvent { format_version: Some(1), ..stored(json, "10") };
        assert_eq!(reason(wrong), Some(UnreadableEvent::WrongFormat { expected: 3, found: 1 }));
        let homeless = StoredEvent { room_version: None, ..stored(json, "10") };
        assert_eq!(reason(homeless), Some(UnreadableEvent::UnknownRoom));
        assert!(reason(stored("{", "10")).is_some() && reason(stored("[]", "10")).is_some());
    }
}
