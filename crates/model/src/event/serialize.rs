//! An event as a client sees it. Answers to `synapse/events/utils.py` (`SerializeEventConfig`) and to the
//! native serializer behind it.

use std::borrow::Cow;

use serde::ser::{SerializeMap, Serializer as _};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Event;
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
    /// `unsigned.m.relations`.
    pub aggregations: Option<Value>,
}

/// Dropped by every client format.
const SERVER_KEYS: [&str; 8] =
    ["auth_events", "prev_events", "hashes", "signatures", "depth", "origin", "prev_state", "unsigned"];

/// Copied from `unsigned` to the top level by the older format.
const V1_COPIES: [&str; 6] =
    ["age", "redacted_because", "replaces_state", "prev_content", "invite_room_state", "knock_room_state"];

/// One event's JSON for a client, as text.
pub fn to_client_json(event: &Event, now_ms: i64, options: &SerializeOptions<'_>, extras: EventExtras<'_>) -> String {
    let mut out = Vec::with_capacity(event.content.get().len() + 512);
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
    extras: EventExtras<'_>,
) {
    let EventExtras { membership, redacted_because, aggregations } = extras;
    let mut unsigned = unsigned(event, now_ms, options);
    add_to_unsigned(&mut unsigned, event, options, membership);
    if let Some(redacted_by) = &event.redacted_by
        && let Some(redaction) = redacted_because
    {
        unsigned.insert("redacted_by".to_owned(), Value::from(&**redacted_by));
        // Synapse: `event_fields` chooses from the outer event alone.
        let whole = SerializeOptions { event_fields: None, ..*options };
        let text = to_client_json(redaction, now_ms, &whole, EventExtras::default());
        unsigned.insert("redacted_because".to_owned(), serde_json::from_str(&text).unwrap_or_default());
    }
    let copies: Vec<(&str, Value)> = match options.format {
        EventFormat::V1 => V1_COPIES.iter().filter_map(|key| Some((*key, unsigned.get(*key)?.clone()))).collect(),
        _ => Vec::new(),
    };
    let fields =
        Fields { event, format: options.format, content: content(event), unsigned: &unsigned, copies: &copies };
    match (options.event_fields, aggregations) {
        // Writing to a Vec cannot fail.
        (None, None) => drop(fields.write(out)),
        (None, Some(aggregations)) => {
            let mut unsigned = unsigned.clone();
            unsigned.insert("m.relations".to_owned(), aggregations);
            drop(Fields { unsigned: &unsigned, ..fields }.write(out));
        }
        (Some(paths), aggregations) => {
            let mut whole = Vec::new();
            drop(fields.write(&mut whole));
            let whole = serde_json::from_slice(&whole).unwrap_or_default();
            let mut kept = only_fields(&whole, paths);
            if let Some(aggregations) = aggregations
                && let Some(unsigned) = kept.entry("unsigned").or_insert_with(|| Map::new().into()).as_object_mut()
            {
                unsigned.insert("m.relations".to_owned(), aggregations);
            }
            drop(serde_json::to_writer(out, &kept));
        }
    }
}

fn unsigned(event: &Event, now_ms: i64, options: &SerializeOptions<'_>) -> Map<String, Value> {
    let mut unsigned = (*event.unsigned).clone();
    if let Some(age_ts) = unsigned.remove("age_ts").as_ref().and_then(Value::as_i64) {
        unsigned.insert("age".to_owned(), now_ms.saturating_sub(age_ts).into());
    }
    if let Some(requester) = options.requester.filter(|requester| requester.user_id == event.sender) {
        if let Some(txn_id) = event.internal.txn_id.as_ref().filter(|_| sent_by_this_device(event, requester)) {
            unsigned.insert("transaction_id".to_owned(), Value::from(&**txn_id));
        }
        if let Some(delay_id) = &event.internal.delay_id {
            unsigned.insert("org.matrix.msc4140.delay_id".to_owned(), Value::from(&**delay_id));
        }
    }
    if !options.include_stripped_room_state {
        unsigned.remove("invite_room_state");
        unsigned.remove("knock_room_state");
    }
    unsigned
}

/// Events from before device ids were stored are recognised by their access token.
fn sent_by_this_device(event: &Event, requester: &Requester) -> bool {
    if let Some(device_id) = &event.internal.device_id {
        return requester.device_id.as_deref() == Some(device_id);
    }
    let same_token = event.internal.token_id.is_some() && event.internal.token_id == requester.access_token_id;
    same_token || requester.is_guest || requester.app_service.is_some()
}

fn add_to_unsigned(
    unsigned: &mut Map<String, Value>,
    event: &Event,
    options: &SerializeOptions<'_>,
    membership: Option<&str>,
) {
    if options.include_admin_metadata {
        if event.internal.soft_failed {
            unsigned.insert("io.element.synapse.soft_failed".to_owned(), true.into());
        }
        if event.internal.policy_server_spammy {
            unsigned.insert("io.element.synapse.policy_server_spammy".to_owned(), true.into());
        }
    }
    if let Some(membership) = membership {
        unsigned.insert("membership".to_owned(), membership.into());
    }
}

/// Redactions carry `redacts` in both places, whatever their room version.
fn content(event: &Event) -> Cow<'_, RawValue> {
    let Some(redacts) = redaction_target(event) else { return Cow::Borrowed(&event.content) };
    let mut content = event.content_value();
    content.insert("redacts".to_owned(), redacts.into());
    match serde_json::value::to_raw_value(&content) {
        Ok(raw) => Cow::Owned(raw),
        Err(_) => Cow::Borrowed(&event.content),
    }
}

fn redaction_target(event: &Event) -> Option<&str> {
    event.redacts.as_deref().filter(|_| &*event.kind == "m.room.redaction")
}

struct Fields<'a> {
    event: &'a Event,
    format: EventFormat,
    content: Cow<'a, RawValue>,
    unsigned: &'a Map<String, Value>,
    copies: &'a [(&'a str, Value)],
}

impl Fields<'_> {
    fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let event = self.event;
        let client = self.format != EventFormat::Raw;
        let mut serializer = serde_json::Serializer::new(out);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("event_id", &*event.event_id)?;
        map.serialize_entry("content", &self.content)?;
        map.serialize_entry("unsigned", self.unsigned)?;
        let is_v12_create = event.room_version.room_id_from_create && &*event.kind == "m.room.create";
        // Synapse: the create event of version 12 has its room id put back in every format.
        if self.format != EventFormat::V2WithoutRoomId || (is_v12_create && event.state_key.is_some()) {
            map.serialize_entry("room_id", &*event.room_id)?;
        }
        if let Some(redacts) = redaction_target(event) {
            map.serialize_entry("redacts", redacts)?;
        }
        if self.format == EventFormat::V1 {
            map.serialize_entry("user_id", &*event.sender)?;
        }
        let written = |key: &str| {
            matches!(key, "event_id" | "content" | "unsigned" | "room_id")
                || (key == "redacts" && redaction_target(event).is_some())
                || (self.format == EventFormat::V1 && key == "user_id")
                || (client && SERVER_KEYS.contains(&key))
                || self.copies.iter().any(|(copied, _)| *copied == key)
        };
        for (key, value) in event.pdu.iter().filter(|(key, _)| !written(key)) {
            map.serialize_entry(key, value)?;
        }
        for (key, value) in self.copies {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
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
