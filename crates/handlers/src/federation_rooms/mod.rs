//! What other servers read of rooms. Answers to `synapse/federation/federation_server.py` and the reading half of
//! `synapse/handlers/federation.py`.

mod gates;
mod server_acl;
mod visibility;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashSet;
use myelin_caches::ResponseCache;
use myelin_model::event::pdu::{has_valid_depth, pdu_len, write_pdu_json};
use myelin_model::state_filter::StateFilter;
use myelin_model::{Direction, Event, MatrixError};
use myelin_storage::{GetEvents, Storage};
use serde_json::{Value, json};
use tokio::sync::OwnedMutexGuard;

use crate::linearizer::Linearizer;
use crate::timestamp_lookup::nothing_found;
use crate::visibility::HistoryVisibility;
use crate::{Handlers, Result, now_ms};
use server_acl::ServerAcls;

/// Events of one answer to `/backfill`, and to `/get_missing_events`.
const MAX_BACKFILL: usize = 100;
const MAX_MISSING: usize = 20;
/// `_state_resp_cache` and `_state_ids_resp_cache`: such requests come in waves.
const STATE_KEPT: Duration = Duration::from_secs(30);
/// State events of a room of complexity 1.
const COMPLEXITY_V1: f64 = 500.0;

/// What of a room's graph is missing to another server.
#[derive(Clone, Debug)]
pub struct MissingEvents<'a> {
    pub earliest: Vec<Arc<str>>,
    pub latest: Vec<Arc<str>>,
    pub limit: i64,
    pub room_id: &'a str,
}

/// What requests of other servers share.
pub(crate) struct FederationRooms {
    /// `_server_linearizer`: one request of a server about a room at a time.
    turns: Linearizer,
    acls: ServerAcls,
    pub state: ResponseCache<Result<Bytes>>,
    pub state_ids: ResponseCache<Result<Bytes>>,
}

impl FederationRooms {
    pub fn new() -> Self {
        let responses = || ResponseCache::new(STATE_KEPT, |body: &Result<Bytes>| body.as_ref().map_or(0, Bytes::len));
        Self { turns: Linearizer::default(), acls: ServerAcls::new(), state: responses(), state_ids: responses() }
    }
}

impl Handlers {
    /// `on_pdu_request`: one event, pruned where the server may not see it; nothing if it is not known.
    pub async fn federation_event(&self, origin: &str, event_id: &str) -> Result<Option<Vec<u8>>> {
        let options = GetEvents { allow_rejected: true, ..GetEvents::default() };
        let events = self.storage.get_events_as_list(&[Arc::from(event_id)], options).await?;
        let Some(event) = events.first() else { return Ok(None) };
        self.assert_host_in_room(&event.room_id, origin).await?;
        let events = self.filter_events_for_server(origin, events).await?;
        Ok(Some(self.transaction(&events)))
    }

    /// `on_room_state_request`: the state before an event, and all that entitled it.
    pub async fn federation_state(&self, origin: &str, room_id: &str, event_id: &str) -> Result<Bytes> {
        self.assert_host_in_room(room_id, origin).await?;
        self.check_server_matches_acl(origin, room_id).await?;
        let _turn = self.federation_turn(origin, room_id).await;
        let work = state_body(self.storage.clone(), room_id.to_owned(), event_id.to_owned());
        self.federation_rooms.state.wrap(state_key(room_id, event_id), work, Result::is_ok).await
    }

    /// `on_state_ids_request`: the same by id.
    pub async fn federation_state_ids(&self, origin: &str, room_id: &str, event_id: &str) -> Result<Bytes> {
        self.assert_host_in_room(room_id, origin).await?;
        self.check_server_matches_acl(origin, room_id).await?;
        let work = state_ids_body(self.storage.clone(), room_id.to_owned(), event_id.to_owned());
        self.federation_rooms.state_ids.wrap(state_key(room_id, event_id), work, Result::is_ok).await
    }

    /// `on_backfill_request`: what is before `versions`, and these. Nothing while the room's state is not complete.
    pub async fn federation_backfill(
        &self,
        origin: &str,
        room_id: &str,
        versions: &[Arc<str>],
        limit: i64,
    ) -> Result<Option<Vec<u8>>> {
        let _turn = self.federation_turn(origin, room_id).await;
        self.check_server_matches_acl(origin, room_id).await?;
        if self.storage.is_partial_state_room(room_id).await? {
            return Ok(None);
        }
        self.assert_host_in_room(room_id, origin).await?;
        let limit = usize::try_from(limit).unwrap_or_default().min(MAX_BACKFILL);
        let ids = self.storage.get_backfill_event_ids(room_id, versions, limit).await?;
        let mut events = self.storage.get_events_as_list(&ids, GetEvents::default()).await?;
        events.sort_by_key(|event| std::cmp::Reverse((event.depth, event.position.stream)));
        let events = self.filter_events_for_server(origin, events).await?;
        Ok(Some(self.transaction(&events)))
    }

    /// `on_get_missing_events`. Nothing while the room's state is not complete.
    pub async fn federation_missing_events(&self, origin: &str, asked: &MissingEvents<'_>) -> Result<Option<Vec<u8>>> {
        let room_id = asked.room_id;
        let _turn = self.federation_turn(origin, room_id).await;
        self.check_server_matches_acl(origin, room_id).await?;
        if self.storage.is_partial_state_room(room_id).await? {
            return Ok(None);
        }
        self.assert_host_in_room(room_id, origin).await?;
        let limit = usize::try_from(asked.limit).unwrap_or_default().min(MAX_MISSING);
        let earliest: HashSet<Arc<str>> = asked.earliest.iter().cloned().collect();
        let ids = self.storage.get_missing_event_ids(room_id, &earliest, &asked.latest, limit).await?;
        let events = self.storage.get_events_as_list(&ids, GetEvents::default()).await?;
        let events = self.filter_events_for_server(origin, events).await?;
        Ok(Some(object("events", &events, Some(now_ms()))))
    }

    /// `on_event_auth`: all that entitled an event.
    pub async fn federation_event_auth(&self, origin: &str, room_id: &str, event_id: &str) -> Result<Vec<u8>> {
        let _turn = self.federation_turn(origin, room_id).await;
        self.assert_host_in_room(room_id, origin).await?;
        self.check_server_matches_acl(origin, room_id).await?;
        let event = event_of_room(&self.storage, room_id, event_id).await?;
        let ids = self.storage.get_auth_chain_ids(&event.auth_event_ids(), true).await?;
        let events = self.storage.get_events_as_list(&ids, GetEvents::default()).await?;
        Ok(object("auth_chain", &events, Some(now_ms())))
    }

    /// `on_timestamp_to_event_request`: the event next to a time in milliseconds, as far as it is known here.
    pub async fn federation_timestamp_to_event(
        &self,
        origin: &str,
        room_id: &str,
        timestamp: i64,
        direction: Direction,
    ) -> Result<Value> {
        let _turn = self.federation_turn(origin, room_id).await;
        self.assert_host_in_room(room_id, origin).await?;
        self.check_server_matches_acl(origin, room_id).await?;
        let found = self.storage.get_event_id_for_timestamp(room_id, timestamp, direction).await?;
        let Some(event_id) = found else { return Err(nothing_found(timestamp, direction)) };
        let event = self.storage.get_event(&event_id).await?.ok_or_else(|| could_not_find(&event_id))?;
        Ok(json!({ "event_id": &*event_id, "origin_server_ts": event.origin_server_ts }))
    }

    /// `on_get_extremities_request` (MSC4370): the latest events of a room.
    pub async fn federation_extremities(&self, origin: &str, room_id: &str) -> Result<Value> {
        self.assert_host_in_room(room_id, origin).await?;
        self.check_server_matches_acl(origin, room_id).await?;
        let ids = self.storage.get_forward_extremities_for_room(room_id).await?;
        if ids.is_empty() {
            return Err(MatrixError::unknown(500, "Room has no forward extremities"));
        }
        Ok(json!({ "prev_events": ids }))
    }

    /// `RoomComplexityServlet`: how much work a room is, for those who think of joining it.
    pub async fn federation_room_complexity(&self, room_id: &str) -> Result<Value> {
        if !self.is_room_world_readable_or_publicly_joinable(room_id).await? {
            return Err(MatrixError::new(404, "M_INVALID_PARAM", "Room not found"));
        }
        let count = self.storage.get_current_state_event_counts(room_id).await?;
        let complexity = f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / COMPLEXITY_V1;
        Ok(json!({ "v1": (complexity * 100.0).round() / 100.0 }))
    }

    async fn is_room_world_readable_or_publicly_joinable(&self, room_id: &str) -> Result<bool> {
        if let Some(join_rules) = self.get_current_state_event(room_id, "m.room.join_rules", "").await?
            && join_rules.content_str("join_rule").as_deref() == Some("public")
        {
            return Ok(true);
        }
        let visibility = self.get_current_state_event(room_id, crate::visibility::HISTORY_VISIBILITY, "").await?;
        Ok(HistoryVisibility::of(visibility.as_ref()) == HistoryVisibility::WorldReadable)
    }

    /// `get_current_state_event`, of those that a room has one of.
    /// The server's turn to ask about the room; its name has no space.
    async fn federation_turn(&self, origin: &str, room_id: &str) -> OwnedMutexGuard<()> {
        self.federation_rooms.turns.queue(&format!("{origin} {room_id}")).await
    }

    /// `_transaction_dict_from_pdus`
    fn transaction(&self, events: &[Arc<Event>]) -> Vec<u8> {
        let now = now_ms();
        let server = Value::from(self.config.server.server_name.as_str());
        let mut out = Vec::with_capacity(room_for(events) + 100);
        out.extend_from_slice(format!(r#"{{"origin":{server},"origin_server_ts":{now},"pdus":"#).as_bytes());
        write_list(&mut out, events, Some(now));
        out.push(b'}');
        out
    }
}

fn could_not_find(event_id: &str) -> MatrixError {
    MatrixError::not_found(format!("Could not find event {event_id}"))
}

/// `get_event(check_room_id=…)`
async fn event_of_room(storage: &Storage, room_id: &str, event_id: &str) -> Result<Arc<Event>> {
    let event = storage.get_event(event_id).await?;
    event.filter(|event| *event.room_id == *room_id).ok_or_else(|| could_not_find(event_id))
}

/// `get_state_ids_for_pdu`: the state before an event.
async fn state_ids_before(storage: &Storage, room_id: &str, event_id: &str) -> Result<Vec<Arc<str>>> {
    let event = event_of_room(storage, room_id, event_id).await?;
    if event.is_outlier() {
        return Err(MatrixError::not_found(format!("State not known at event {event_id}")));
    }
    let state = storage.get_state_ids_for_event(event_id, &StateFilter::all()).await?;
    let Some(key) = event.state_map_key() else { return Ok(state.values().cloned().collect()) };
    if state.get(&key) != Some(&event.event_id) {
        return Err(MatrixError::internal(format!("the state after {event_id} is without it")));
    }
    let others = state.values().filter(|id| **id != event.event_id).cloned();
    Ok(others.chain(event.unsigned.replaces_state.clone()).collect())
}

async fn state_body(storage: Storage, room_id: String, event_id: String) -> Result<Bytes> {
    let ids = state_ids_before(&storage, &room_id, &event_id).await?;
    let events = storage.get_events_as_list(&ids, GetEvents::default()).await?;
    let known: Vec<Arc<str>> = events.iter().map(|event| Arc::clone(&event.event_id)).collect();
    let chain = storage.get_auth_chain_ids(&known, false).await?;
    let chain = storage.get_events_as_list(&chain, GetEvents::default()).await?;
    let mut out = Vec::with_capacity(room_for(&events) + room_for(&chain) + 100);
    out.extend_from_slice(br#"{"pdus":"#);
    write_list(&mut out, &events, None);
    out.extend_from_slice(br#","auth_chain":"#);
    write_list(&mut out, &chain, None);
    out.push(b'}');
    Ok(out.into())
}

async fn state_ids_body(storage: Storage, room_id: String, event_id: String) -> Result<Bytes> {
    let ids = state_ids_before(&storage, &room_id, &event_id).await?;
    let chain = storage.get_auth_chain_ids(&ids, false).await?;
    let body = serde_json::to_vec(&StateIds { pdu_ids: &ids, auth_chain_ids: &chain });
    // It is kept, and the room that was left for more would be too.
    Ok(body.map_err(MatrixError::internal)?.into_boxed_slice().into())
}

#[derive(serde::Serialize)]
struct StateIds<'a> {
    pdu_ids: &'a [Arc<str>],
    auth_chain_ids: &'a [Arc<str>],
}

/// Ids of rooms have no such character.
fn state_key(room_id: &str, event_id: &str) -> String {
    format!("{room_id}\n{event_id}")
}

fn room_for(events: &[Arc<Event>]) -> usize {
    events.iter().map(|event| pdu_len(event)).sum()
}

/// `{"key": [events]}`
fn object(key: &str, events: &[Arc<Event>], now: Option<i64>) -> Vec<u8> {
    let mut out = Vec::with_capacity(room_for(events) + 100);
    out.extend_from_slice(format!(r#"{{"{key}":"#).as_bytes());
    write_list(&mut out, events, now);
    out.push(b'}');
    out
}

/// `serialize_and_filter_pdus`
fn write_list(out: &mut Vec<u8>, events: &[Arc<Event>], now: Option<i64>) {
    out.push(b'[');
    let start = out.len();
    for event in events.iter().filter(|event| has_valid_depth(event)) {
        if out.len() > start {
            out.push(b',');
        }
        write_pdu_json(out, event, now);
    }
    out.push(b']');
}
