//! A space and the rooms in it, page by page. Answers to `get_room_hierarchy` in `synapse/handlers/room_summary.py`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use myelin_caches::ResponseCache;
use myelin_model::{MatrixError, Requester};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::room_summary::{ChildState, LocalRoom, RoomSummary};
use crate::{Handlers, Result, now_ms};

/// Rooms of a page.
const MAX_ROOMS: usize = 50;
/// Servers of a child that are asked.
const MAX_SERVERS_PER_SPACE: usize = 3;
/// How long the next page can be asked for, in milliseconds.
const SESSION_VALIDITY: i64 = 5 * 60 * 1000;
/// Pages per second, and burst.
pub(crate) const RATE: (f64, i64) = (5.0, 10);
/// Letters of the token of a page.
const TOKEN_LENGTH: usize = 24;

/// `GET /rooms/{room_id}/hierarchy`
#[derive(Clone, Debug, Serialize)]
pub struct HierarchyRequest {
    pub room_id: String,
    pub suggested_only: bool,
    pub max_depth: Option<i64>,
    pub limit: Option<i64>,
    pub from: Option<String>,
}

/// `_pagination_response_cache`: only what is asked at once is shared.
pub(crate) type Hierarchies = ResponseCache<Result<Option<Bytes>>>;

pub(crate) fn hierarchies() -> Hierarchies {
    Hierarchies::new(Duration::ZERO, |_| 0)
}

/// A page that was begun, as Synapse's workers store it for each other.
#[derive(Deserialize, Serialize)]
struct Session {
    requester: String,
    room_id: String,
    suggested_only: bool,
    max_depth: Option<i64>,
    omit_remote_room_hierarchy: bool,
    admin_skip_room_visibility_check: bool,
    /// The next one is the last.
    room_queue: Vec<Entry>,
    processed_rooms: HashSet<Arc<str>>,
}

/// `_RoomQueueEntry`: room id, servers, depth, and what another server told of the room.
#[derive(Deserialize, Serialize)]
struct Entry(Arc<str>, Vec<String>, i64, Option<Value>);

#[derive(Serialize)]
struct Answer<'a> {
    rooms: Vec<RoomSummary<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

impl Session {
    fn new(requester: &str, request: &HierarchyRequest) -> Self {
        Self {
            requester: requester.to_owned(),
            room_id: request.room_id.clone(),
            suggested_only: request.suggested_only,
            max_depth: request.max_depth,
            omit_remote_room_hierarchy: false,
            admin_skip_room_visibility_check: false,
            room_queue: vec![Entry(Arc::from(&*request.room_id), Vec::new(), 0, None)],
            processed_rooms: HashSet::new(),
        }
    }

    /// Whether it belongs to the same question.
    fn is_of(&self, other: &Self) -> bool {
        self.requester == other.requester
            && self.room_id == other.room_id
            && self.suggested_only == other.suggested_only
            && self.max_depth == other.max_depth
            && !self.omit_remote_room_hierarchy
            && !self.admin_skip_room_visibility_check
    }
}

impl Handlers {
    /// `get_room_hierarchy`, as JSON; nothing when another server must be asked, or state is not complete yet.
    pub async fn get_room_hierarchy(
        self: &Arc<Self>,
        requester: &Requester,
        request: HierarchyRequest,
    ) -> Result<Option<Bytes>> {
        self.ratelimit(&self.room_summaries, Some(requester), "").await?;
        let user_id = Arc::clone(&requester.user_id);
        let key = serde_json::to_string(&(&*user_id, &request)).map_err(MatrixError::internal)?;
        let handlers = Arc::clone(self);
        let work = async move { handlers.hierarchy(&user_id, &request).await };
        self.hierarchies.wrap(key, work, |_| false).await
    }

    async fn hierarchy(&self, user_id: &str, request: &HierarchyRequest) -> Result<Option<Bytes>> {
        let root: Arc<str> = Arc::from(&*request.room_id);
        let mut rooms = self.local_rooms(std::slice::from_ref(&root), Some(user_id)).await?;
        if self.storage.is_partial_state_room(&root).await? {
            return Ok(None);
        }
        // Nobody names servers that could be asked for a room in which no user of ours is.
        let accessible = match rooms.get(&root) {
            Some(room) => self.is_local_room_accessible(room, Some(user_id)).await?,
            None => false,
        };
        if !accessible {
            let error = format!("User {user_id} not in room {root}, and room previews are disabled");
            return Err(MatrixError::forbidden(error));
        }
        let Some(mut session) = self.session(user_id, request).await? else { return Ok(None) };
        let limit = request.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_ROOMS).min(MAX_ROOMS);
        let mut shown: Vec<Arc<str>> = Vec::new();
        while shown.len() < limit
            && let Some(Entry(room_id, via, depth, remote)) = session.room_queue.pop()
        {
            if session.processed_rooms.contains(&room_id) {
                continue;
            }
            if !rooms.contains_key(&room_id) {
                // Whatever else waits comes along: one look at the database for each depth of the tree.
                let waiting = session.room_queue.iter().rev().take(limit).map(|entry| &entry.0);
                let missing: Vec<Arc<str>> = std::iter::once(&room_id).chain(waiting).cloned().collect();
                rooms.extend(self.local_rooms(&missing, Some(user_id)).await?);
            }
            let accessible = match rooms.get(&room_id) {
                Some(_) if self.storage.is_partial_state_room(&room_id).await? => return Ok(None),
                Some(room) => self.is_local_room_accessible(room, Some(user_id)).await?,
                None if remote.is_some() || self.is_known_elsewhere(&via) => return Ok(None),
                None => false,
            };
            session.processed_rooms.insert(Arc::clone(&room_id));
            if !accessible {
                continue;
            }
            if request.max_depth.is_none_or(|max| depth < max)
                && let Some(room) = rooms.get(&room_id)
            {
                let children = room.children(request.suggested_only);
                let entry =
                    |child: &ChildState<'_>| Entry(Arc::from(child.state_key), child.via.clone(), depth + 1, None);
                session.room_queue.extend(children.iter().rev().map(entry));
            }
            shown.push(room_id);
        }
        let page = self.hierarchy_page(&rooms, &shown, request, &session).await?;
        Ok(Some(page.into()))
    }

    /// Where the answer begins; nothing when another worker began it in a way that is not ours.
    async fn session(&self, user_id: &str, request: &HierarchyRequest) -> Result<Option<Session>> {
        let new = Session::new(user_id, request);
        let Some(token) = request.from.as_deref().filter(|token| !token.is_empty()) else { return Ok(Some(new)) };
        let unknown = || MatrixError::invalid_param("Unknown pagination token");
        let stored = self.storage.get_hierarchy_session(token, now_ms()).await?.ok_or_else(unknown)?;
        match serde_json::from_str::<Session>(&stored) {
            Ok(session) if session.is_of(&new) => Ok(Some(session)),
            Ok(_) => Err(unknown()),
            Err(_) => Ok(None),
        }
    }

    async fn hierarchy_page(
        &self,
        rooms: &HashMap<Arc<str>, LocalRoom>,
        shown: &[Arc<str>],
        request: &HierarchyRequest,
        session: &Session,
    ) -> Result<Vec<u8>> {
        let summary = |room_id: &Arc<str>| {
            let room = rooms.get(room_id)?;
            let mut summary = room.summary();
            summary.children_state = Some(room.children(request.suggested_only));
            Some(summary)
        };
        let next_batch = if session.room_queue.is_empty() {
            None
        } else {
            let token: String = (0..TOKEN_LENGTH).map(|_| letter()).collect();
            let value = serde_json::to_string(session).map_err(MatrixError::internal)?;
            self.storage.create_hierarchy_session(&token, &value, now_ms() + SESSION_VALIDITY).await?;
            Some(token)
        };
        let answer = Answer { rooms: shown.iter().filter_map(summary).collect(), next_batch };
        serde_json::to_vec(&answer).map_err(MatrixError::internal)
    }

    /// Whether Synapse would ask another server for a room that nobody of ours is in.
    fn is_known_elsewhere(&self, via: &[String]) -> bool {
        via.iter().take(MAX_SERVERS_PER_SPACE).any(|server| *server != self.config.server.server_name)
    }
}

fn letter() -> char {
    let letter = char::from(rand::random_range(b'a'..=b'z'));
    if rand::random() { letter.to_ascii_uppercase() } else { letter }
}
