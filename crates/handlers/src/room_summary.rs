//! What a room looks like from outside, and a space with all that is in it. Answers to
//! `synapse/handlers/room_summary.py`, for rooms that somebody of this server is in.

use std::sync::Arc;

use hashbrown::HashMap;
use myelin_model::room_version::RoomVersion;
use myelin_model::state_filter::{MEMBER, StateMap};
use myelin_model::{Event, MatrixError, Requester};
use myelin_storage::GetEvents;
use myelin_storage::room_stats::RoomStats;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::room_list::PublicRoom;
use crate::visibility::{HISTORY_VISIBILITY, HistoryVisibility};
use crate::{Handlers, Result};

const JOIN_RULES: &str = "m.room.join_rules";
const SPACE_CHILD: &str = "m.space.child";
const SPACE: &str = "m.space";
/// Longer values of a child's `order` do not count.
const MAX_ORDER: usize = 50;

/// `_build_room_entry`
#[derive(Serialize)]
pub(crate) struct RoomSummary<'a> {
    #[serde(flatten)]
    room: PublicRoom<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join_rule: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_room_ids: Vec<String>,
    /// Of a summary that a user asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) membership: Option<String>,
    /// Of a hierarchy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) children_state: Option<Vec<ChildState<'a>>>,
}

/// A room's `m.space.child`, without most of the event.
#[derive(Serialize)]
pub(crate) struct ChildState<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    pub(crate) state_key: &'a str,
    content: Box<RawValue>,
    sender: &'a str,
    origin_server_ts: i64,
    #[serde(skip)]
    pub(crate) via: Vec<String>,
}

/// A room that somebody of this server is in, as far as a summary needs it.
pub(crate) struct LocalRoom {
    stats: RoomStats,
    state: StateMap,
    events: Arc<HashMap<Arc<str>, Arc<Event>>>,
}

impl LocalRoom {
    fn event(&self, kind: &str, state_key: &str) -> Option<&Arc<Event>> {
        self.events.get(self.state.get(&(Arc::from(kind), Arc::from(state_key)))?)
    }

    fn version(&self) -> Option<&'static RoomVersion> {
        self.stats.room_version.as_deref().and_then(RoomVersion::find)
    }

    fn join_rule(&self) -> Option<String> {
        self.event(JOIN_RULES, "")?.content_str("join_rule")
    }

    /// `has_restricted_join_rules`, and then `get_rooms_that_allow_join`.
    fn allowed_rooms(&self) -> Vec<String> {
        let Some(version) = self.version().filter(|version| version.restricted_join_rule) else { return Vec::new() };
        match self.join_rule().as_deref() {
            Some("restricted") => {}
            Some("knock_restricted") if version.knock_restricted_join_rule => {}
            _ => return Vec::new(),
        }
        let allow: Option<Vec<Value>> = self.event(JOIN_RULES, "").and_then(|event| event.content_field("allow"));
        let room_id = |rule: Value| match rule {
            Value::Object(rule) if rule.get("type").is_some_and(|kind| kind == "m.room_membership") => {
                rule.get("room_id")?.as_str().map(str::to_owned)
            }
            _ => None,
        };
        allow.unwrap_or_default().into_iter().filter_map(room_id).collect()
    }

    pub(crate) fn summary(&self) -> RoomSummary<'_> {
        let stats = &self.stats;
        RoomSummary {
            room: PublicRoom::new(stats),
            room_version: stats.room_version.as_deref(),
            encryption: stats.encryption.as_deref(),
            join_rule: self.join_rule(),
            allowed_room_ids: self.allowed_rooms(),
            membership: None,
            children_state: None,
        }
    }

    /// `_get_child_events` of a space, in the order in which they are shown; those of other rooms do not count.
    pub(crate) fn children(&self, suggested_only: bool) -> Vec<ChildState<'_>> {
        if self.stats.room_type.as_deref() != Some(SPACE) {
            return Vec::new();
        }
        let children = self.state.iter().filter(|((kind, _), _)| &**kind == SPACE_CHILD);
        let mut children: Vec<&Arc<Event>> = children.filter_map(|(_, event_id)| self.events.get(event_id)).collect();
        if suggested_only {
            children.retain(|event| event.content_field("suggested") == Some(true));
        }
        children.sort_by_cached_key(|event| {
            let order = event.content_str("order").filter(|order| is_valid_order(order));
            (order.is_none(), order, event.origin_server_ts)
        });
        children.into_iter().filter_map(|event| ChildState::of(event)).collect()
    }
}

impl<'a> ChildState<'a> {
    /// Nothing without servers to ask.
    fn of(event: &'a Event) -> Option<Self> {
        let via: Vec<String> = event.content_field("via").filter(|via: &Vec<String>| !via.is_empty())?;
        Some(Self {
            kind: &event.kind,
            state_key: event.state_key.as_deref()?,
            content: RawValue::from_string(event.content().to_owned()).ok()?,
            sender: &event.sender,
            origin_server_ts: event.origin_server_ts,
            via,
        })
    }
}

fn is_valid_order(order: &str) -> bool {
    order.len() <= MAX_ORDER && order.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

impl Handlers {
    /// Those of `room_ids` that somebody of this server is in. `user_id`: who asks.
    pub(crate) async fn local_rooms(
        &self,
        room_ids: &[Arc<str>],
        user_id: Option<&str>,
    ) -> Result<HashMap<Arc<str>, LocalRoom>> {
        let server_name = &self.config.server.server_name;
        let joined = self.storage.is_host_joined(room_ids.iter().cloned(), server_name).await?;
        let room_ids: Vec<Arc<str>> = joined.into_iter().filter(|(_, joined)| *joined).map(|(id, _)| id).collect();
        if room_ids.is_empty() {
            return Ok(HashMap::new());
        }
        let mut keys = vec![(JOIN_RULES, ""), (HISTORY_VISIBILITY, "")];
        keys.extend(user_id.map(|user_id| (MEMBER, user_id)));
        let mut stats = self.storage.get_rooms_with_stats(&room_ids).await?;
        let states = self.storage.get_current_state_ids_of_rooms(&room_ids, &keys, SPACE_CHILD).await?;
        let ids: Vec<Arc<str>> = states.values().flat_map(|state| state.values().cloned()).collect();
        let events = Arc::new(self.storage.get_events(&ids, GetEvents::default()).await?);
        let room = |(room_id, state): (Arc<str>, StateMap)| {
            let stats = stats.remove(&room_id)?;
            Some((room_id, LocalRoom { stats, state, events: Arc::clone(&events) }))
        };
        Ok(states.into_iter().filter_map(room).collect())
    }

    /// `_is_local_room_accessible`: who asks is in the room, or could come in, or everybody may read it.
    pub(crate) async fn is_local_room_accessible(&self, room: &LocalRoom, user_id: Option<&str>) -> Result<bool> {
        let Some(version) = room.version() else { return Ok(false) };
        let open = match room.join_rule().as_deref() {
            Some("public") => true,
            Some("knock") => version.knock_join_rule,
            Some("knock_restricted") => version.knock_restricted_join_rule,
            _ => false,
        };
        let visibility = HistoryVisibility::of(room.event(HISTORY_VISIBILITY, ""));
        if open || visibility == HistoryVisibility::WorldReadable {
            return Ok(true);
        }
        let Some(user_id) = user_id else { return Ok(false) };
        let membership = room.event(MEMBER, user_id).and_then(|event| event.membership());
        if matches!(membership, Some("join" | "invite")) {
            return Ok(true);
        }
        let allowed = room.allowed_rooms();
        if allowed.is_empty() {
            return Ok(false);
        }
        let joined = self.storage.get_rooms_for_user(user_id).await?;
        Ok(allowed.iter().any(|room_id| joined.contains(room_id.as_str())))
    }

    /// `get_room_summary`, as JSON; nothing when another server must be asked. `has_hosts`: some are named.
    pub async fn get_room_summary(
        &self,
        requester: Option<&Requester>,
        room_id: &str,
        has_hosts: bool,
    ) -> Result<Option<Vec<u8>>> {
        let user_id = requester.map(|requester| &*requester.user_id);
        let rooms = self.local_rooms(&[Arc::from(room_id)], user_id).await?;
        let Some(room) = rooms.get(room_id) else {
            if has_hosts {
                return Ok(None);
            }
            return Err(MatrixError::unknown(400, "Missing via to query remote room"));
        };
        if !self.is_local_room_accessible(room, user_id).await? {
            return Err(MatrixError::not_found("Room not found or is not accessible"));
        }
        let mut summary = room.summary();
        if let Some(user_id) = user_id {
            let found = self.storage.get_local_current_membership_for_user_in_room(user_id, room_id).await?;
            summary.membership = Some(found.map_or_else(|| "leave".to_owned(), |(membership, _)| membership));
        }
        serde_json::to_vec(&summary).map(Some).map_err(MatrixError::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders() {
        assert!(is_valid_order("") && is_valid_order(" ~") && is_valid_order(&"a".repeat(50)));
        assert!(!is_valid_order("\n") && !is_valid_order("é") && !is_valid_order(&"a".repeat(51)));
    }
}
