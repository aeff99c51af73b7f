//! The replication streams and their rows. Answers to `synapse/replication/tcp/streams/`.

use std::str::FromStr;
use std::sync::Arc;

use serde_json::Value;

use crate::presence::PresenceState;

/// The streams of Synapse 1.163, by their wire names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamName {
    Events,
    Backfill,
    Presence,
    PresenceFederation,
    Typing,
    Receipts,
    PushRules,
    Pushers,
    Caches,
    DeviceLists,
    ToDevice,
    Federation,
    AccountData,
    ProfileUpdates,
    StickyEvents,
    ThreadSubscriptions,
    UnPartialStatedRoom,
    UnPartialStatedEvent,
    QuarantinedMedia,
}

impl StreamName {
    /// Its `StreamKeyType`, as Python prints it in a label.
    pub const fn key_type(self) -> &'static str {
        match self {
            Self::Presence => "StreamKeyType.PRESENCE",
            Self::Typing => "StreamKeyType.TYPING",
            Self::Receipts => "StreamKeyType.RECEIPT",
            Self::PushRules => "StreamKeyType.PUSH_RULES",
            Self::DeviceLists => "StreamKeyType.DEVICE_LIST",
            Self::ToDevice => "StreamKeyType.TO_DEVICE",
            Self::AccountData => "StreamKeyType.ACCOUNT_DATA",
            Self::ProfileUpdates => "StreamKeyType.PROFILE_UPDATES",
            Self::StickyEvents => "StreamKeyType.STICKY_EVENTS",
            Self::ThreadSubscriptions => "StreamKeyType.THREAD_SUBSCRIPTIONS",
            Self::UnPartialStatedRoom => "StreamKeyType.UN_PARTIAL_STATED_ROOMS",
            // Nobody is woken by the rest.
            _ => "StreamKeyType.ROOM",
        }
    }

    pub const ALL: [Self; 19] = [
        Self::Events,
        Self::Backfill,
        Self::Presence,
        Self::PresenceFederation,
        Self::Typing,
        Self::Receipts,
        Self::PushRules,
        Self::Pushers,
        Self::Caches,
        Self::DeviceLists,
        Self::ToDevice,
        Self::Federation,
        Self::AccountData,
        Self::ProfileUpdates,
        Self::StickyEvents,
        Self::ThreadSubscriptions,
        Self::UnPartialStatedRoom,
        Self::UnPartialStatedEvent,
        Self::QuarantinedMedia,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Backfill => "backfill",
            Self::Presence => "presence",
            Self::PresenceFederation => "presence_federation",
            Self::Typing => "typing",
            Self::Receipts => "receipts",
            Self::PushRules => "push_rules",
            Self::Pushers => "pushers",
            Self::Caches => "caches",
            Self::DeviceLists => "device_lists",
            Self::ToDevice => "to_device",
            Self::Federation => "federation",
            Self::AccountData => "account_data",
            Self::ProfileUpdates => "profile_updates",
            Self::StickyEvents => "sticky_events",
            Self::ThreadSubscriptions => "thread_subscriptions",
            Self::UnPartialStatedRoom => "un_partial_stated_room",
            Self::UnPartialStatedEvent => "un_partial_stated_event",
            Self::QuarantinedMedia => "quarantined_media",
        }
    }

    /// Only these may be announced at a lower position than before: they live in the writer's memory.
    pub const fn can_go_backwards(self) -> bool {
        matches!(self, Self::Typing | Self::PresenceFederation)
    }
}

impl FromStr for StreamName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|name| name.as_str() == text).ok_or(())
    }
}

/// A new event, as `events` ("ev") and `backfill` carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    pub event_id: Arc<str>,
    pub room_id: Arc<str>,
    pub kind: String,
    pub state_key: Option<String>,
    pub redacts: Option<String>,
    pub relates_to: Option<String>,
    pub membership: Option<String>,
    pub rejected: bool,
    pub outlier: bool,
}

/// A change of a room's current state; `event_id` is `None` when the key was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRow {
    pub room_id: Arc<str>,
    pub kind: String,
    pub state_key: String,
    pub event_id: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptRow {
    pub room_id: Arc<str>,
    pub receipt_type: String,
    pub user_id: Arc<str>,
    pub event_id: String,
    pub thread_id: Option<String>,
    pub data: Value,
}

/// One row of one stream, in the field order of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    Event(EventRow),
    State(StateRow),
    /// Many state changes at once: everything known about the room's state is stale.
    StateAll {
        room_id: Arc<str>,
    },
    Backfill(EventRow),
    Presence(PresenceState),
    PresenceFederation {
        destination: String,
        user_id: Arc<str>,
    },
    /// The complete list of who types in the room now.
    Typing {
        room_id: Arc<str>,
        user_ids: Vec<Arc<str>>,
    },
    Receipt(ReceiptRow),
    PushRules {
        user_id: Arc<str>,
    },
    Pushers {
        user_id: Arc<str>,
        app_id: String,
        pushkey: String,
        deleted: bool,
    },
    /// `keys: None` clears the whole cache.
    Cache {
        function: String,
        keys: Option<Vec<String>>,
    },
    DeviceList {
        user_id: Arc<str>,
        is_signature: bool,
        hosts_calculated: bool,
    },
    /// A local user id or a remote host.
    ToDevice {
        entity: Arc<str>,
    },
    Federation,
    AccountData {
        user_id: Arc<str>,
        room_id: Option<Arc<str>>,
        kind: String,
    },
    ProfileUpdate {
        user_id: Arc<str>,
        action: String,
    },
    StickyEvent {
        room_id: Arc<str>,
        event_id: Arc<str>,
    },
    ThreadSubscription {
        user_id: Arc<str>,
        room_id: Arc<str>,
        event_id: Arc<str>,
    },
    UnPartialStatedRoom {
        room_id: Arc<str>,
    },
    UnPartialStatedEvent {
        event_id: Arc<str>,
        rejection_status_changed: bool,
    },
    QuarantinedMedia,
}

#[derive(Debug, thiserror::Error)]
#[error("row of stream {stream} has the wrong shape")]
pub struct RowError {
    pub stream: &'static str,
}

impl StreamName {
    /// Reads one row as the wire carries it; trailing fields of a newer Synapse are ignored.
    pub fn parse_row(self, value: &Value) -> Result<Row, RowError> {
        self.row(&Fields(value)).ok_or(RowError { stream: self.as_str() })
    }

    fn row(self, row: &Fields<'_>) -> Option<Row> {
        Some(match self {
            Self::Events => return event_stream_row(row),
            Self::Backfill => Row::Backfill(event_row(row)?),
            Self::Presence => Row::Presence(presence_row(row)?),
            Self::PresenceFederation => Row::PresenceFederation { destination: row.text(0)?, user_id: row.id(1)? },
            Self::Typing => Row::Typing {
                room_id: row.id(0)?,
                user_ids: row.0.get(1)?.as_array()?.iter().map(as_id).collect::<Option<_>>()?,
            },
            Self::Receipts => Row::Receipt(ReceiptRow {
                room_id: row.id(0)?,
                receipt_type: row.text(1)?,
                user_id: row.id(2)?,
                event_id: row.text(3)?,
                thread_id: row.optional(4)?,
                data: row.0.get(5)?.clone(),
            }),
            Self::PushRules => Row::PushRules { user_id: row.id(0)? },
            Self::Pushers => {
                Row::Pushers { user_id: row.id(0)?, app_id: row.text(1)?, pushkey: row.text(2)?, deleted: row.flag(3)? }
            }
            Self::Caches => Row::Cache { function: row.text(0)?, keys: cache_keys(row.0.get(1)?)? },
            Self::DeviceLists => {
                Row::DeviceList { user_id: row.id(0)?, is_signature: row.flag(1)?, hosts_calculated: row.flag(2)? }
            }
            Self::ToDevice => Row::ToDevice { entity: row.id(0)? },
            Self::Federation => Row::Federation,
            Self::AccountData => {
                Row::AccountData { user_id: row.id(0)?, room_id: row.optional_id(1)?, kind: row.text(2)? }
            }
            Self::ProfileUpdates => Row::ProfileUpdate { user_id: row.id(0)?, action: row.text(1)? },
            Self::StickyEvents => Row::StickyEvent { room_id: row.id(0)?, event_id: row.id(1)? },
            Self::ThreadSubscriptions => {
                Row::ThreadSubscription { user_id: row.id(0)?, room_id: row.id(1)?, event_id: row.id(2)? }
            }
            Self::UnPartialStatedRoom => Row::UnPartialStatedRoom { room_id: row.id(0)? },
            Self::UnPartialStatedEvent => {
                Row::UnPartialStatedEvent { event_id: row.id(0)?, rejection_status_changed: row.flag(1)? }
            }
            Self::QuarantinedMedia => Row::QuarantinedMedia,
        })
    }
}

/// A row's positional fields; every accessor answers `None` on a missing or wrongly typed field.
struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn text(&self, index: usize) -> Option<String> {
        self.0.get(index)?.as_str().map(str::to_owned)
    }

    fn id(&self, index: usize) -> Option<Arc<str>> {
        as_id(self.0.get(index)?)
    }

    fn number(&self, index: usize) -> Option<i64> {
        self.0.get(index)?.as_i64()
    }

    fn flag(&self, index: usize) -> Option<bool> {
        self.0.get(index)?.as_bool()
    }

    /// Outer `None`: wrong type. Inner `None`: null.
    #[expect(clippy::option_option, reason = "outside: the field is wrong; inside: it is null")]
    fn optional(&self, index: usize) -> Option<Option<String>> {
        match self.0.get(index)? {
            Value::Null => Some(None),
            value => value.as_str().map(|text| Some(text.to_owned())),
        }
    }

    #[expect(clippy::option_option, reason = "outside: the field is wrong; inside: it is null")]
    fn optional_id(&self, index: usize) -> Option<Option<Arc<str>>> {
        Some(self.optional(index)?.map(Arc::from))
    }
}

fn as_id(value: &Value) -> Option<Arc<str>> {
    value.as_str().map(Arc::from)
}

fn event_stream_row(row: &Fields<'_>) -> Option<Row> {
    let data = Fields(row.0.get(1)?);
    Some(match row.0.get(0)?.as_str()? {
        "ev" => Row::Event(EventRow {
            membership: data.optional(6)?,
            rejected: data.flag(7)?,
            outlier: data.flag(8)?,
            ..event_row(&data)?
        }),
        "state" => Row::State(StateRow {
            room_id: data.id(0)?,
            kind: data.text(1)?,
            state_key: data.text(2)?,
            event_id: data.optional_id(3)?,
        }),
        "state-all" => Row::StateAll { room_id: data.id(0)? },
        _ => return None,
    })
}

fn event_row(data: &Fields<'_>) -> Option<EventRow> {
    Some(EventRow {
        event_id: data.id(0)?,
        room_id: data.id(1)?,
        kind: data.text(2)?,
        state_key: data.optional(3)?,
        redacts: data.optional(4)?,
        relates_to: data.optional(5)?,
        membership: None,
        rejected: false,
        outlier: false,
    })
}

fn presence_row(row: &Fields<'_>) -> Option<PresenceState> {
    Some(PresenceState {
        user_id: row.id(0)?,
        state: row.text(1)?,
        last_active_ts: row.number(2)?,
        last_federation_update_ts: row.number(3)?,
        last_user_sync_ts: row.number(4)?,
        status_msg: row.optional(5)?,
        currently_active: row.flag(6)?,
    })
}

#[expect(clippy::option_option, reason = "outside: the field is wrong; inside: it is null")]
fn cache_keys(value: &Value) -> Option<Option<Vec<String>>> {
    match value {
        Value::Null => Some(None),
        Value::Array(keys) => {
            // A key is text on the wire; numbers and null come from module caches and are written as Python would.
            let keys = keys.iter().map(|key| key.as_str().map_or_else(|| key.to_string(), str::to_owned));
            Some(Some(keys.collect()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(stream: StreamName, text: &str) -> Result<Row, RowError> {
        stream.parse_row(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn rows_seen_on_the_wire() {
        let row =
            parse(StreamName::Events, r#"["ev",["$P","!H","m.room.member","@bob:t",null,null,"join",false,false]]"#);
        let Row::Event(event) = row.unwrap() else { panic!() };
        assert_eq!((&*event.room_id, event.membership.as_deref()), ("!H", Some("join")));
        assert!(parse(StreamName::Events, r#"["state",["!H","m.room.member","@bob:t","$P"]]"#).is_ok());
        assert!(parse(StreamName::Typing, r#"["!H",[]]"#).is_ok());
        assert!(parse(StreamName::Caches, r#"["x",null,1795217273190]"#).is_ok());
        assert!(parse(StreamName::Receipts, r#"["!H","m.read","@b:t","$Q",null,{"ts":1}]"#).is_ok());
        assert!(parse(StreamName::Presence, r#"["@a:t","online",1,2,3,null,true]"#).is_ok());
    }

    #[test]
    fn wrong_shapes_are_refused() {
        for text in ["null", "[]", "[1]", r#"["ev"]"#, r#"["ev",[1,2]]"#, r#"["other",[]]"#] {
            assert!(parse(StreamName::Events, text).is_err(), "{text}");
        }
        for stream in StreamName::ALL {
            assert_eq!(stream.as_str().parse(), Ok(stream));
        }
    }
}
