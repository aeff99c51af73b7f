//! An event as it is stored and read. Answers to `synapse/events/__init__.py`.

pub mod pdu;
mod redact;
pub mod serialize;
mod stored;
mod text;
mod unsigned;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::position::EventPosition;
use crate::room_version::RoomVersion;

pub use stored::{StoredEvent, UnreadableEvent};
use text::Text;
pub use unsigned::Unsigned;

/// A persisted event. Its JSON is read once and kept as text, the part that clients see ready to be copied into an
/// answer: numbers keep their precision, and a cached event is small. Texts that recur are shared.
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
    /// How long every member is to see it (MSC4354), at most an hour.
    pub sticky_duration_ms: Option<u32>,
    pub unsigned: Unsigned,
    pub internal: Arc<InternalMetadata>,
    pub rejected_reason: Option<Arc<str>>,
    /// The redaction that this event was pruned for.
    pub redacted_by: Option<Arc<str>>,
    /// The state event that this one replaced, if it was asked for: `unsigned.prev_content`.
    pub replaced: Option<Arc<Event>>,
    /// Of an m.room.member event.
    membership: Option<Arc<str>>,
    text: Text,
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
    pub send_on_behalf_of: Option<Box<str>>,
    pub policy_server_spammy: bool,
    pub txn_id: Option<Box<str>>,
    pub token_id: Option<i64>,
    pub device_id: Option<Box<str>>,
    pub delay_id: Option<Box<str>>,
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

    /// The text of `content`, as it was stored.
    pub fn content(&self) -> &str {
        self.text.content()
    }

    /// Content as a tree, for the few rules that look into it; not for the hot path.
    pub fn content_value(&self) -> Map<String, Value> {
        serde_json::from_str(self.content()).unwrap_or_default()
    }

    /// One field of content, without building a tree for the rest. `None` also when it is of another type.
    pub fn content_field<'a, T: Deserialize<'a>>(&'a self, key: &str) -> Option<T> {
        text::field(self.content(), key)
    }

    /// One text field of content.
    pub fn content_str(&self, key: &str) -> Option<String> {
        self.content_field(key)
    }

    /// `content.membership` of an m.room.member event.
    pub fn membership(&self) -> Option<&str> {
        self.membership.as_deref()
    }

    /// The same to keep: it is shared with every other event that says so.
    pub fn membership_text(&self) -> Option<&Arc<str>> {
        self.membership.as_ref()
    }

    /// One text field of `unsigned.prev_content`.
    pub fn prev_content_str(&self, key: &str) -> Option<String> {
        match &self.replaced {
            Some(replaced) => replaced.content_str(key),
            None => self.unsigned.get("prev_content")?.get(key)?.as_str().map(str::to_owned),
        }
    }

    /// The ids of the events that it follows in the room's graph.
    pub fn prev_event_ids(&self) -> Vec<Arc<str>> {
        self.text.references("prev_events")
    }

    /// The ids of the events that entitled it.
    pub fn auth_event_ids(&self) -> Vec<Arc<str>> {
        self.text.references("auth_events")
    }

    /// (type, state_key) of a state event.
    pub fn state_map_key(&self) -> Option<(Arc<str>, Arc<str>)> {
        Some((Arc::clone(&self.kind), Arc::clone(self.state_key.as_ref()?)))
    }

    /// This event, with what it replaced in its `unsigned`.
    #[must_use]
    pub fn with_replaced(&self, replaced: Arc<Self>) -> Self {
        Self { replaced: Some(replaced), ..self.clone() }
    }

    /// About how many bytes a client's form of this event has.
    pub fn client_len(&self) -> usize {
        self.text.client().len() + self.room_id.len() + 2 * self.sender.len() + 256
    }

    /// About how many bytes this event takes, for the cache that holds it. Shared texts are not counted.
    pub fn weight(&self) -> usize {
        // Allocations that hold a text of its own: each has a header.
        const FIXED: usize = size_of::<Event>() + size_of::<InternalMetadata>() + 8 * 16;
        let texts = [&self.redacts, &self.unsigned.replaces_state, &self.rejected_reason, &self.redacted_by];
        let texts: usize = texts.into_iter().flatten().map(|text| text.len()).sum();
        FIXED + self.event_id.len() + texts + self.text.len() + self.internal.len() + self.unsigned.weight()
    }
}

impl InternalMetadata {
    fn len(&self) -> usize {
        let texts = [&self.send_on_behalf_of, &self.txn_id, &self.device_id, &self.delay_id];
        texts.into_iter().flatten().map(|text| text.len()).sum()
    }
}
