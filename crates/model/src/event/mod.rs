//! An event as it is stored and read. Answers to `synapse/events/__init__.py`.

mod redact;
pub mod serialize;
mod stored;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::position::EventPosition;
use crate::room_version::RoomVersion;

pub use stored::{StoredEvent, UnreadableEvent};

/// A persisted event. Content stays the text of the database: numbers keep their precision.
#[derive(Clone, Debug)]
pub struct Event {
    pub event_id: Arc<str>,
    pub room_id: Arc<str>,
    pub room_version: &'static RoomVersion,
    pub kind: Arc<str>,
    pub state_key: Option<Arc<str>>,
    pub sender: Arc<str>,
    pub origin_server_ts: i64,
    pub depth: i64,
    pub position: EventPosition,
    /// The top-level key in old rooms, `content.redacts` since version 11.
    pub redacts: Option<Arc<str>>,
    pub content: Arc<RawValue>,
    pub prev_event_ids: Vec<Arc<str>>,
    pub auth_event_ids: Vec<Arc<str>>,
    /// Every top-level key of the stored JSON but `content` and `unsigned`.
    pub pdu: Arc<Map<String, Value>>,
    pub unsigned: Arc<Map<String, Value>>,
    pub internal: Arc<InternalMetadata>,
    pub rejected_reason: Option<Arc<str>>,
    /// The redaction that this event was pruned for.
    pub redacted_by: Option<Arc<str>>,
}

/// `event_json.internal_metadata`; keys that a reader has no use for are not read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags, as stored")]
pub struct InternalMetadata {
    pub outlier: bool,
    pub soft_failed: bool,
    pub out_of_band_membership: bool,
    pub recheck_redaction: bool,
    pub proactively_send: Option<bool>,
    pub send_on_behalf_of: Option<String>,
    pub policy_server_spammy: bool,
    pub txn_id: Option<String>,
    pub token_id: Option<i64>,
    pub device_id: Option<String>,
    pub delay_id: Option<String>,
    pub redacted: bool,
}

impl Event {
    pub fn is_state(&self) -> bool {
        self.state_key.is_some()
    }

    pub fn is_rejected(&self) -> bool {
        self.rejected_reason.is_some()
    }

    pub fn is_outlier(&self) -> bool {
        self.internal.outlier
    }

    /// Content as a tree, for the few rules that look into it; not for the hot path.
    pub fn content_value(&self) -> Map<String, Value> {
        serde_json::from_str(self.content.get()).unwrap_or_default()
    }

    /// One text field of content, without building a tree for the rest.
    pub fn content_str(&self, key: &str) -> Option<String> {
        match self.content_value().remove(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// `content.membership` of an m.room.member event.
    pub fn membership(&self) -> Option<String> {
        (&*self.kind == "m.room.member").then(|| self.content_str("membership")).flatten()
    }

    /// (type, state_key) of a state event.
    pub fn state_map_key(&self) -> Option<(Arc<str>, Arc<str>)> {
        Some((Arc::clone(&self.kind), Arc::clone(self.state_key.as_ref()?)))
    }
}
