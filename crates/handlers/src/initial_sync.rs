//! Everything at once, as clients asked for it before /sync. Answers to `synapse/handlers/initial_sync.py`.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use hashbrown::{HashMap, HashSet};
use myelin_model::event::serialize::{EventFormat, SerializeOptions};
use myelin_model::state_filter::{MEMBER, StateFilter};
use myelin_model::{Event, MatrixError, Requester, RoomToken, StreamToken};
use myelin_storage::GetEvents;
use myelin_storage::roommember::RoomsForUser;
use serde_json::{Value, json};

use crate::auth_room::RoomAccess;
use crate::event_stream::of_room;
use crate::relations::Bundles;
use crate::sections::Item;
use crate::sections::account_data::{AccountData, RoomAccountData};
use crate::visibility::VisibleEvent;
use crate::{Handlers, Result};

/// Rooms that are gathered at once.
const CONCURRENT_ROOMS: usize = 10;

/// `GET /initialSync`
#[derive(Clone, Copy, Debug)]
pub struct InitialSyncRequest<'a> {
    pub requester: &'a Requester,
    /// Events of each room.
    pub limit: usize,
    /// Rooms that the user left, too.
    pub include_archived: bool,
    /// Events as servers see them.
    pub raw: bool,
}

/// What all rooms of an answer have in common.
struct Snapshot<'a> {
    user_id: &'a str,
    limit: usize,
    now: StreamToken,
    now_ms: i64,
    options: SerializeOptions<'a>,
    public: HashSet<String>,
    account_data: HashMap<Arc<str>, RoomAccountData>,
}

/// The last events of a room and its state, as JSON: `"messages":{…},"state":[…]`.
struct Recent<'a> {
    room_id: &'a str,
    limit: usize,
    /// Up to where.
    end: RoomToken,
    /// The tokens of the answer but for the room.
    around: &'a StreamToken,
    is_peeking: bool,
}

impl Handlers {
    /// `snapshot_all_rooms`; nothing while the state of one of the rooms is not complete.
    pub async fn initial_sync(&self, request: &InitialSyncRequest<'_>, now_ms: i64) -> Result<Option<Vec<u8>>> {
        let _turn = self.whole_syncs.acquire().await;
        let user_id = &request.requester.user_id;
        let wanted: &[&str] = if request.include_archived { &["invite", "join", "leave"] } else { &["invite", "join"] };
        let rooms = self.storage.get_rooms_for_local_user_where_membership_is(user_id, wanted).await?;
        let partial = self.storage.partial_state_rooms().await?;
        if rooms.iter().any(|room| partial.contains(&room.room_id)) {
            return Ok(None);
        }
        let now = StreamToken::clone(&*self.live.current_token());
        let presence = if self.config.server.presence.enabled {
            self.presence_for_initial_sync(user_id, now_ms).await?
        } else {
            Vec::new()
        };
        let joined: Vec<Arc<str>> =
            rooms.iter().filter(|room| &*room.membership == "join").map(|room| Arc::clone(&room.room_id)).collect();
        let receipts = self.room_receipts(user_id, &joined, &now).await?;
        let AccountData { global, rooms: account_data } = self.stored_account_data(user_id).await?;
        let ids: Vec<&str> = rooms.iter().map(|room| &*room.room_id).collect();
        let format = if request.raw { EventFormat::Raw } else { EventFormat::V1 };
        let sticky_ttl = self.config.server.experimental.msc4354;
        let snapshot = Snapshot {
            user_id,
            limit: request.limit,
            public: self.storage.public_rooms_of(&ids).await?,
            options: SerializeOptions { format, sticky_ttl, ..SerializeOptions::default() },
            account_data,
            now,
            now_ms,
        };
        let rooms: Vec<Result<Vec<u8>>> =
            stream::iter(rooms).map(|room| self.snapshot(&snapshot, room)).buffered(CONCURRENT_ROOMS).collect().await;
        let mut out = br#"{"rooms":["#.to_vec();
        for (index, room) in rooms.into_iter().enumerate() {
            out.extend_from_slice(if index > 0 { b"," } else { b"" });
            out.extend(room?);
        }
        let end = self.write_token(&snapshot.now).await?;
        let rest = format!(
            r#"],"presence":{},"account_data":[{}],"receipts":[{receipts}],"end":"{end}"}}"#,
            Value::from(presence),
            texts(&global),
        );
        out.extend(rest.bytes());
        Ok(Some(out))
    }

    /// `handle_room`: a JSON object. Of a room that cannot be read its name is told, and the reason in the log.
    async fn snapshot(&self, snapshot: &Snapshot<'_>, room: RoomsForUser) -> Result<Vec<u8>> {
        let visibility = if snapshot.public.contains(&*room.room_id) { "public" } else { "private" };
        let mut frame = json!({"room_id": &*room.room_id, "membership": &*room.membership, "visibility": visibility});
        let is_left = &*room.membership == "leave";
        if &*room.membership == "invite" {
            frame["inviter"] = (*room.sender).into();
            let invite = self.storage.get_event(&room.event_id).await?;
            let invite = invite.ok_or_else(|| MatrixError::not_found("Could not find event"))?;
            let invite =
                self.serialize_event((&invite, None), snapshot.now_ms, &snapshot.options, &Bundles::new()).await?;
            frame["invite"] = serde_json::from_slice(&invite).map_err(MatrixError::internal)?;
            return Ok(frame.to_string().into_bytes());
        }
        let end = if is_left { RoomToken::Live(room.event_pos.stream.into()) } else { snapshot.now.room.clone() };
        let (room_id, limit) = (&*room.room_id, snapshot.limit);
        let recent = Recent { room_id, limit, end, around: &snapshot.now, is_peeking: false };
        let left = is_left.then_some(&*room.event_id);
        let mut out = frame.to_string().into_bytes();
        match self.recent(&recent, left, snapshot.user_id, (&snapshot.options, snapshot.now_ms)).await {
            Ok((json, _)) => {
                out.pop();
                out.push(b',');
                out.extend(json);
                let data = snapshot.account_data.get(room_id).into_iter().flat_map(RoomAccountData::items);
                out.extend(format!(r#","account_data":[{}]}}"#, texts(data)).bytes());
            }
            Err(error) => tracing::error!("{room_id} is left out of an initial sync: {error}"),
        }
        Ok(out)
    }

    /// `room_initial_sync`: a JSON object. The caller has made sure that the room's state is complete.
    pub async fn room_initial_sync(
        &self,
        requester: &Requester,
        room_id: &str,
        limit: usize,
        now_ms: i64,
    ) -> Result<Vec<u8>> {
        if self.storage.is_room_blocked(room_id).await? {
            return Err(MatrixError::unknown(403, "This room has been blocked on this server"));
        }
        let user_id = &requester.user_id;
        let access = self.check_user_in_room_or_world_readable(room_id, requester, true).await?;
        let options = self.serialize_options(requester).await?;
        let is_peeking = access == RoomAccess::Peeking;
        let (mut frame, json) = if let RoomAccess::Departed(leave) = &access {
            let event = self.storage.get_event(leave).await?;
            let event = event.ok_or_else(|| MatrixError::not_found(format!("Could not find event {leave}")))?;
            let end = RoomToken::Live(event.position.stream.into());
            let around = &StreamToken::start();
            let recent = Recent { room_id, limit, end, around, is_peeking };
            let (json, _) = self.recent(&recent, Some(leave), user_id, (&options, now_ms)).await?;
            (json!({"membership": "leave", "presence": [], "receipts": []}), json)
        } else {
            let now = StreamToken::clone(&*self.live.current_token());
            let recent = Recent { room_id, limit, end: now.room.clone(), around: &now, is_peeking };
            let (json, state) = self.recent(&recent, None, user_id, (&options, now_ms)).await?;
            let presence = if self.config.server.presence.enabled {
                let is_joined = |event: &&Arc<Event>| &*event.kind == MEMBER && event.membership() == Some("join");
                let members = state.iter().filter(is_joined).map(|event| Arc::clone(&event.sender)).collect();
                self.presence_events(members, now_ms).await?
            } else {
                Vec::new()
            };
            let receipts = self.room_receipts(user_id, &[Arc::from(room_id)], &now).await?;
            let receipts: Value = serde_json::from_str(&format!("[{receipts}]")).map_err(MatrixError::internal)?;
            let mut frame = json!({"presence": presence, "receipts": receipts});
            if !is_peeking {
                frame["membership"] = "join".into();
            }
            (frame, json)
        };
        frame["room_id"] = room_id.into();
        let data = self.stored_account_data(user_id).await?;
        let data = data.rooms.get(room_id).into_iter().flat_map(RoomAccountData::items);
        let mut out = frame.to_string().into_bytes();
        out.pop();
        out.push(b',');
        out.extend(json);
        out.extend(format!(r#","account_data":[{}]}}"#, texts(data)).bytes());
        Ok(out)
    }

    /// `get_recent_events_for_room` and the state: of now, or after the member event with which the user left.
    async fn recent(
        &self,
        recent: &Recent<'_>,
        left: Option<&str>,
        user_id: &str,
        (options, now_ms): (&SerializeOptions<'_>, i64),
    ) -> Result<(Vec<u8>, Vec<Arc<Event>>)> {
        let Recent { room_id, limit, end, around, is_peeking } = recent;
        let (mut ids, start): (Vec<Arc<str>>, _) = if *limit == 0 {
            (Vec::new(), end.clone())
        } else {
            let page = self.storage.paginate_by_depth(room_id, end, *limit).await?;
            (page.events.into_iter().map(|event| event.event_id).collect(), page.next)
        };
        ids.reverse();
        let events = self.storage.get_events_with_prev_content(&ids).await?;
        let events = self.filter_events_for_client(user_id, events, *is_peeking, &HashSet::new()).await?;
        let state_ids: Vec<Arc<str>> = match left {
            Some(leave) => {
                self.storage.get_state_ids_for_event(leave, &StateFilter::all()).await?.values().cloned().collect()
            }
            None => self.storage.get_current_state_event_ids(room_id, &StateFilter::all()).await?,
        };
        let state = self.storage.get_events_as_list(&state_ids, GetEvents::default()).await?;
        let events: Vec<_> = events.iter().map(VisibleEvent::to_serialize).collect();
        let of_state: Vec<_> = state.iter().map(|event| (event, None)).collect();
        // No aggregations: these routes are older than they are.
        let mut out = br#""messages":{"chunk":"#.to_vec();
        out.extend(self.serialize_events(&events, now_ms, options, &Bundles::new()).await?);
        for (name, token) in [("start", start), ("end", end.clone())] {
            let token = self.write_token(&StreamToken::clone(around).with_room(token)).await?;
            out.extend(format!(r#","{name}":"{token}""#).bytes());
        }
        out.extend_from_slice(br#"},"state":"#);
        out.extend(self.serialize_events(&of_state, now_ms, options, &Bundles::new()).await?);
        Ok((out, state))
    }

    /// The receipts of rooms, as JSON with commas between.
    async fn room_receipts(&self, user_id: &str, rooms: &[Arc<str>], now: &StreamToken) -> Result<String> {
        let receipts = self.receipts_of_rooms(user_id, rooms, None, &now.receipt).await?.into_iter();
        Ok(receipts.map(|(room_id, item)| of_room(&room_id, &item.json)).collect::<Vec<_>>().join(","))
    }
}

fn texts<'a>(items: impl IntoIterator<Item = &'a Item>) -> String {
    items.into_iter().map(|item| item.json.as_str()).collect::<Vec<_>>().join(",")
}
