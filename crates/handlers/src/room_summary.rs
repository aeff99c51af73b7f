//! What a room looks like from outside, and a space with all that is in it. Answers to
//! `synapse/handlers/room_summary.py`, for rooms that somebody of this server is in.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
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
/// Children that another server is told of.
const MAX_ROOMS_PER_SPACE: usize = 50;

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

/// What another server is told of a space.
#[derive(Serialize)]
struct FederationHierarchy<'a> {
    room: RoomSummary<'a>,
    children: Vec<RoomSummary<'a>>,
    inaccessible_children: Vec<&'a Arc<str>>,
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

    /// Whether it has any of the state that says who may see it.
    fn has_rules(&self) -> bool {
        [JOIN_RULES, HISTORY_VISIBILITY].iter().any(|kind| self.state.contains_key(&(Arc::from(*kind), Arc::from(""))))
    }

    /// Whether everybody may come in, or ask to, or read.
    fn is_open(&self) -> bool {
        let is_open = match (self.join_rule().as_deref(), self.version()) {
            (Some("public"), _) => true,
            (Some("knock"), Some(version)) => version.knock_join_rule,
            (Some("knock_restricted"), Some(version)) => version.knock_restricted_join_rule,
            _ => false,
        };
        is_open || HistoryVisibility::of(self.event(HISTORY_VISIBILITY, "")) == HistoryVisibility::WorldReadable
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
        if room.version().is_none() {
            return Ok(false);
        }
        if room.is_open() {
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

    /// `_is_local_room_accessible` of each room, for a server: somebody of it is in the room, is invited, or is in a
    /// room that lets them in, or everybody may.
    async fn rooms_accessible_to_server(
        &self,
        rooms: &HashMap<Arc<str>, LocalRoom>,
        origin: &str,
    ) -> Result<HashSet<Arc<str>>> {
        let known = rooms.iter().filter(|(_, room)| room.version().is_some() && room.has_rules());
        let (open, closed): (Vec<_>, Vec<_>) = known.partition(|(_, room)| room.is_open());
        let mut accessible: HashSet<Arc<str>> = open.into_iter().map(|(room_id, _)| Arc::clone(room_id)).collect();
        let allowed: Vec<(&Arc<str>, Vec<Arc<str>>)> = closed
            .into_iter()
            .map(|(room_id, room)| (room_id, room.allowed_rooms().into_iter().map(Arc::from).collect()))
            .collect();
        if allowed.is_empty() {
            return Ok(accessible);
        }
        let mut asked: Vec<Arc<str>> = allowed.iter().map(|(room_id, _)| Arc::clone(room_id)).collect();
        asked.extend(allowed.iter().flat_map(|(_, allowed)| allowed.iter().cloned()));
        let joined = self.storage.is_host_joined(asked, origin).await?;
        let is_in = |room_id: &Arc<str>| joined.get(room_id).copied().unwrap_or_default();
        let (inside, outside): (Vec<_>, Vec<_>) =
            allowed.into_iter().partition(|(room_id, allowed)| is_in(room_id) || allowed.iter().any(is_in));
        accessible.extend(inside.into_iter().map(|(room_id, _)| Arc::clone(room_id)));
        let outside: Vec<Arc<str>> = outside.into_iter().map(|(room_id, _)| Arc::clone(room_id)).collect();
        if !outside.is_empty() {
            let invited = self.storage.get_rooms_with_invited_host(&outside, origin).await?;
            accessible.extend(outside.into_iter().filter(|room_id| invited.contains(&**room_id)));
        }
        Ok(accessible)
    }

    /// `get_federation_hierarchy`, as JSON: a room and the rooms in it, without theirs; nothing while the state of one
    /// of them is not complete.
    pub async fn get_federation_hierarchy(
        &self,
        origin: &str,
        room_id: &str,
        suggested_only: bool,
    ) -> Result<Option<Vec<u8>>> {
        if self.storage.is_partial_state_room(room_id).await? {
            return Ok(None);
        }
        let rooms = self.local_rooms(&[Arc::from(room_id)], None).await?;
        let accessible = self.rooms_accessible_to_server(&rooms, origin).await?;
        let Some(root) = rooms.get(room_id).filter(|_| accessible.contains(room_id)) else {
            return Err(MatrixError::unknown(404, format!("Unknown room: {room_id}")));
        };
        let children_state = root.children(suggested_only);
        let ids: Vec<Arc<str>> =
            children_state.iter().take(MAX_ROOMS_PER_SPACE).map(|child| Arc::from(child.state_key)).collect();
        let children = self.local_rooms(&ids, None).await?;
        for room_id in children.keys() {
            if self.storage.is_partial_state_room(room_id).await? {
                return Ok(None);
            }
        }
        let accessible = self.rooms_accessible_to_server(&children, origin).await?;
        let (shown, hidden): (Vec<&Arc<str>>, Vec<_>) =
            ids.iter().filter(|room_id| children.contains_key(*room_id)).partition(|id| accessible.contains(*id));
        let mut room = root.summary();
        room.children_state = Some(children_state);
        let children = shown.into_iter().filter_map(|room_id| children.get(room_id)).map(LocalRoom::summary).collect();
        let answer = FederationHierarchy { room, children, inaccessible_children: hidden };
        serde_json::to_vec(&answer).map(Some).map_err(MatrixError::internal)
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
