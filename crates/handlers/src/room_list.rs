//! The list of public rooms. Answers to `synapse/handlers/room_list.py`, as far as it is this server's.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hashbrown::HashSet;
use myelin_model::MatrixError;
use myelin_storage::GetEvents;
pub use myelin_storage::room_stats::Network;
use myelin_storage::room_stats::{PublicRooms, PublicRoomsPage, RoomStats};
use serde::{Deserialize, Serialize};

use crate::{Handlers, Result};

/// `MAX_PUBLIC_ROOMS_IN_RESPONSE`
const MAX_ROOMS: i64 = 100;

/// Looked for beyond a page: one more for users, to see whether there are any; for servers as many as may be hidden.
const MORE_FOR_USERS: i64 = 1;
const MORE_FOR_SERVERS: i64 = 10;
const SERVER_ACL: &str = "m.room.server_acl";

/// What of the list is asked for.
#[derive(Clone, Debug)]
pub struct PublicRoomsRequest {
    pub network: Network,
    /// Nothing is as many as there may be.
    pub limit: Option<i64>,
    pub since: Option<RoomListNextBatch>,
    /// `filter.generic_search_term`
    pub search_term: Option<String>,
    /// `filter.room_types`; `None` in it stands for rooms without a type.
    pub room_types: Option<Vec<Option<String>>>,
}

/// A place in the list, after (or before) a room.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RoomListNextBatch {
    #[serde(rename = "m")]
    pub last_joined_members: i64,
    #[serde(rename = "r")]
    pub last_room_id: String,
    #[serde(rename = "d")]
    pub direction_is_forward: bool,
}

/// What every list of rooms shows of a room.
#[derive(Serialize)]
pub(crate) struct PublicRoom<'a> {
    room_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical_alias: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_joined_members: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<&'a str>,
    world_readable: bool,
    guest_can_join: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_type: Option<&'a str>,
}

impl<'a> PublicRoom<'a> {
    pub(crate) fn new(room: &'a RoomStats) -> Self {
        Self {
            room_id: &room.room_id,
            name: room.name.as_deref(),
            topic: room.topic.as_deref(),
            canonical_alias: room.canonical_alias.as_deref(),
            num_joined_members: room.joined_members,
            avatar_url: room.avatar.as_deref(),
            world_readable: room.history_visibility.as_deref() == Some("world_readable"),
            guest_can_join: room.guest_access.as_deref() == Some("can_join"),
            room_type: room.room_type.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    room: PublicRoom<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join_rule: Option<&'a str>,
}

#[derive(Default, Serialize)]
struct Answer<'a> {
    chunk: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    total_room_count_estimate: i64,
}

impl Handlers {
    /// `get_local_public_room_list`, as JSON. `origin`: the server that asks, if it is one.
    pub async fn get_local_public_room_list(
        &self,
        request: &PublicRoomsRequest,
        origin: Option<&str>,
    ) -> Result<Vec<u8>> {
        let mut answer = Answer::default();
        let rooms: Vec<RoomStats>;
        if self.config.directory.room_list_search {
            let limit = request.limit.map_or(MAX_ROOMS, |limit| limit.min(MAX_ROOMS));
            let pattern = request.search_term.as_deref().filter(|term| !term.is_empty());
            let pattern = pattern.map(|term| format!("%{}%", term.to_lowercase()));
            let room_types = request.room_types.as_deref().filter(|types| !types.is_empty());
            let list = PublicRooms { network: &request.network, pattern: pattern.as_deref(), room_types };
            let since = request.since.as_ref();
            let page = PublicRoomsPage {
                list,
                bounds: since.map(|since| (since.last_joined_members, since.last_room_id.as_str())),
                forwards: since.is_none_or(|since| since.direction_is_forward),
                limit: limit.saturating_add(if origin.is_some() { MORE_FOR_SERVERS } else { MORE_FOR_USERS }),
                federatable_only: origin.is_some(),
            };
            rooms = self.storage.get_largest_public_rooms(&page).await?;
            let banned = match origin {
                Some(origin) => self.rooms_that_ban(&rooms, origin).await?,
                None => HashSet::new(),
            };
            let (limit, asked_for) = (count(limit), count(page.limit));
            answer = page_of(&rooms, limit, rooms.len() == asked_for, since, |room| !banned.contains(&*room.room_id));
            // Not of those that were searched for.
            let all = PublicRooms { pattern: None, ..list };
            answer.total_room_count_estimate = self.storage.count_public_rooms(&all).await?;
        }
        serde_json::to_vec(&answer).map_err(MatrixError::internal)
    }
}

fn count(number: i64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

impl Handlers {
    /// `get_server_acl_for_room`, of many rooms. Synapse: the server's port is taken for a part of its name here.
    async fn rooms_that_ban(&self, rooms: &[RoomStats], origin: &str) -> Result<HashSet<Arc<str>>> {
        let room_ids: Vec<Arc<str>> = rooms.iter().map(|room| Arc::from(room.room_id.as_str())).collect();
        let states = self.storage.get_current_state_ids_of_rooms(&room_ids, &[], SERVER_ACL).await?;
        let key = (Arc::from(SERVER_ACL), Arc::from(""));
        let acls: Vec<_> = states.iter().filter_map(|(room_id, state)| Some((room_id, state.get(&key)?))).collect();
        let ids: Vec<Arc<str>> = acls.iter().map(|(_, event_id)| Arc::clone(event_id)).collect();
        let events = self.storage.get_events(&ids, GetEvents::default()).await?;
        let bans = |event_id: &Arc<str>| events.get(event_id).is_some_and(|event| !self.acl_allows(event, origin));
        Ok(acls.into_iter().filter(|(_, id)| bans(id)).map(|(room_id, _)| Arc::clone(room_id)).collect())
    }
}

/// `rooms`: the largest first, a few more than `limit` if there are; `is_full`: there may be more yet. Looked at until
/// `limit` are shown: the next page begins where that ends.
fn page_of<'a>(
    rooms: &'a [RoomStats],
    limit: usize,
    is_full: bool,
    since: Option<&RoomListNextBatch>,
    is_shown: impl Fn(&RoomStats) -> bool,
) -> Answer<'a> {
    let forwards = since.is_none_or(|since| since.direction_is_forward);
    let mut shown = Vec::new();
    let mut considered = 0;
    while shown.len() < limit && considered < rooms.len() {
        let at = if forwards { considered } else { rooms.len() - 1 - considered };
        shown.extend(rooms.get(at).filter(|room| is_shown(room)));
        considered += 1;
    }
    let more = is_full || considered < rooms.len();
    let considered = if forwards { rooms.get(..considered) } else { rooms.get(rooms.len() - considered..) };
    let considered = considered.unwrap_or_default();
    if !forwards {
        shown.reverse();
    }
    let token = |room: &RoomStats, direction_is_forward| RoomListNextBatch {
        last_joined_members: i64::from(room.joined_members.unwrap_or_default()),
        last_room_id: room.room_id.clone(),
        direction_is_forward,
    };
    let start = RoomListNextBatch { last_joined_members: 0, last_room_id: String::new(), direction_is_forward: false };
    let first = considered.first().map(|room| token(room, false));
    let last = considered.last().map(|room| token(room, true));
    let (prev, next) = if forwards {
        (since.is_some().then(|| first.unwrap_or(start)), last.filter(|_| more))
    } else {
        (first.filter(|_| more), last)
    };
    Answer {
        chunk: shown.into_iter().map(entry).collect(),
        prev_batch: prev.map(|token| token.to_token()),
        next_batch: next.map(|token| token.to_token()),
        total_room_count_estimate: 0,
    }
}

fn entry(room: &RoomStats) -> Entry<'_> {
    Entry { room: PublicRoom::new(room), join_rule: room.join_rules.as_deref() }
}

/// The token is this as a map of MessagePack, in base64.
impl RoomListNextBatch {
    fn to_token(&self) -> String {
        // Written to memory: there is nothing that could fail.
        STANDARD_NO_PAD.encode(rmp_serde::to_vec_named(self).unwrap_or_default())
    }

    /// Nothing for a token that no worker makes.
    pub fn from_token(token: &str) -> Option<Self> {
        let bytes = STANDARD_NO_PAD.decode(token.replace('-', "+").replace('_', "/")).ok()?;
        let mut rest = bytes.as_slice();
        let token = rmp_serde::from_read(&mut rest).ok()?;
        rest.is_empty().then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_round_and_are_pythons() {
        for (members, room_id) in
            [(0, ""), (127, "!a:b"), (128, "!abcdefghijklmnopqrstuvwxyz0123456789:b"), (70_000, "!é:b")]
        {
            for direction_is_forward in [true, false] {
                let token = RoomListNextBatch {
                    last_joined_members: members,
                    last_room_id: room_id.to_owned(),
                    direction_is_forward,
                };
                assert_eq!(RoomListNextBatch::from_token(&token.to_token()), Some(token));
            }
        }
        // msgpack.dumps({"m": 300, "r": "!a:b", "d": True})
        let token = RoomListNextBatch::from_token("g6FtzQEsoXKkIWE6YqFkww").unwrap();
        assert_eq!((token.last_joined_members, token.last_room_id.as_str()), (300, "!a:b"));
        for bad in ["", "x", "g6Ft", "g6FtzQEsoXKkIWE6YqFkwA"] {
            assert_eq!(RoomListNextBatch::from_token(bad), None, "{bad}");
        }
    }

    fn room(name: &str, members: i32) -> RoomStats {
        RoomStats {
            room_id: name.to_owned(),
            room_version: None,
            name: None,
            topic: None,
            canonical_alias: None,
            joined_members: Some(members),
            avatar: None,
            join_rules: None,
            history_visibility: None,
            guest_access: None,
            room_type: None,
            encryption: None,
        }
    }

    #[test]
    fn pages() {
        let rooms = [room("!a", 9), room("!b", 8), room("!c", 7)];
        let shown =
            |answer: &Answer<'_>| answer.chunk.iter().map(|entry| entry.room.room_id.to_owned()).collect::<String>();
        let at =
            |token: &Option<String>| token.as_deref().and_then(RoomListNextBatch::from_token).map(|t| t.last_room_id);
        let first = page_of(&rooms, 2, true, None, |_| true);
        assert_eq!(
            (shown(&first), at(&first.prev_batch), at(&first.next_batch)),
            ("!a!b".into(), None, Some("!b".into()))
        );
        let back = RoomListNextBatch { last_joined_members: 1, last_room_id: "!z".into(), direction_is_forward: false };
        let page = page_of(&rooms, 2, true, Some(&back), |_| true);
        assert_eq!(
            (shown(&page), at(&page.prev_batch), at(&page.next_batch)),
            ("!b!c".into(), Some("!b".into()), Some("!c".into()))
        );
        let on = RoomListNextBatch { direction_is_forward: true, ..back };
        let page = page_of(&[], 2, false, Some(&on), |_| true);
        assert_eq!((shown(&page), at(&page.prev_batch), page.next_batch), (String::new(), Some(String::new()), None));
    }

    /// The next page begins after the last room that was looked at, shown or not.
    #[test]
    fn hidden_rooms_are_passed_over() {
        let rooms = [room("!a", 9), room("!b", 8), room("!c", 7)];
        let at =
            |token: Option<String>| token.as_deref().and_then(RoomListNextBatch::from_token).map(|t| t.last_room_id);
        for (hidden, limit, is_full, shown, next) in [
            ("!a", 1, false, "!b", Some("!b")),
            ("!b", 2, false, "!a!c", None),
            ("!b", 2, true, "!a!c", Some("!c")),
            ("!c", 2, false, "!a!b", Some("!b")),
        ] {
            let page = page_of(&rooms, limit, is_full, None, |room| room.room_id != hidden);
            let found: String = page.chunk.iter().map(|entry| entry.room.room_id.to_owned()).collect();
            assert_eq!((found.as_str(), at(page.next_batch).as_deref()), (shown, next), "{hidden}");
        }
    }
}
