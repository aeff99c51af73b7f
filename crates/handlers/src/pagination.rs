//! `/rooms/{id}/messages`. Answers to `synapse/handlers/pagination.py` and `synapse/streams/config.py`.

use std::sync::Arc;

use hashbrown::HashSet;
use myelin_model::event::serialize::{EventFormat, SerializeOptions};
use myelin_model::state_filter::{MEMBER, StateFilter};
use myelin_model::{Direction, Event, Requester, RoomToken, StreamToken};
use myelin_storage::GetEvents;
use myelin_storage::pagination::Pagination;

use crate::auth_room::RoomAccess;
use crate::filter::Filter;
use crate::visibility::VisibleEvent;
use crate::{Handlers, Result};

/// `NUMBER_OF_EVENTS_TO_BACKFILL`: so many events may one fetch reveal.
const NUMBER_OF_EVENTS_TO_BACKFILL: i64 = 100;

/// From where to where, and how much of it.
#[derive(Clone, Debug)]
pub struct PaginationConfig {
    pub from: Option<StreamToken>,
    pub to: Option<StreamToken>,
    pub direction: Direction,
    pub limit: usize,
}

/// `GET /rooms/{id}/messages`
#[derive(Clone, Copy, Debug)]
pub struct MessagesRequest<'a> {
    pub requester: &'a Requester,
    pub room_id: &'a str,
    pub config: &'a PaginationConfig,
    pub filter: Option<&'a Filter>,
    /// Events as servers see them.
    pub raw: bool,
}

/// `GetMessagesResult`
struct Messages {
    chunk: Vec<VisibleEvent>,
    state: Option<Vec<Arc<Event>>>,
    start: StreamToken,
    end: Option<StreamToken>,
}

impl Handlers {
    /// `get_messages`; nothing when part of the answer must first be fetched from other servers, or the room's
    /// history is being deleted.
    pub async fn get_messages(&self, request: &MessagesRequest<'_>, now_ms: i64) -> Result<Option<Vec<u8>>> {
        let requester = request.requester;
        let Some(messages) = self.messages(request, now_ms).await? else { return Ok(None) };
        let format = if request.raw { EventFormat::Raw } else { EventFormat::V1 };
        let options = SerializeOptions { format, ..self.serialize_options(requester).await? };
        let bundles = self.get_bundled_aggregations(&messages.chunk, &requester.user_id).await?;
        let chunk: Vec<_> = messages.chunk.iter().map(VisibleEvent::to_serialize).collect();
        let mut out = br#"{"chunk":"#.to_vec();
        out.extend(self.serialize_events(&chunk, now_ms, &options, &bundles).await?);
        for (name, token) in [("start", Some(&messages.start)), ("end", messages.end.as_ref())] {
            if let Some(token) = token {
                out.extend(format!(r#","{name}":"{}""#, self.write_token(token).await?).bytes());
            }
        }
        if let Some(state) = messages.state {
            let state: Vec<_> = state.iter().map(|event| (event, None)).collect();
            out.extend_from_slice(br#","state":"#);
            out.extend(self.serialize_events(&state, now_ms, &options, &crate::relations::Bundles::new()).await?);
        }
        out.push(b'}');
        Ok(Some(out))
    }

    async fn messages(&self, request: &MessagesRequest<'_>, now_ms: i64) -> Result<Option<Messages>> {
        let MessagesRequest { requester, room_id, config, filter, .. } = *request;
        let backwards = config.direction == Direction::Backwards;
        let access = self.check_user_in_room_or_world_readable(room_id, requester, true).await?;
        let history = self.storage.get_history(room_id).await?;
        let mut start = match (&config.from, backwards) {
            (Some(from), _) => from.clone(),
            (None, false) => StreamToken::start(),
            (None, true) => {
                let stream = self.live.current_token().room.stream();
                StreamToken::start().with_room(RoomToken::Topological { depth: history.max_depth, stream })
            }
        };
        if backwards {
            if history.is_being_purged {
                return Ok(None);
            }
            let left = match &access {
                RoomAccess::Departed(leave) => self.storage.get_event(leave).await?,
                RoomAccess::Joined(_) | RoomAccess::Peeking => None,
            };
            if history.has_backward_extremities || left.is_some() {
                let depth = self.depth_at(room_id, &start.room).await?;
                if history.has_backward_extremities && self.would_backfill(room_id, depth, config, now_ms).await? {
                    return Ok(None);
                }
                // Nothing after the user left is shown.
                if let Some(left) = left.filter(|left| left.depth < depth) {
                    start = start.with_room(RoomToken::at(&left));
                }
            }
        }
        let event_filter = filter.map(Filter::to_event_filter);
        let page = Pagination {
            from: &start.room,
            to: config.to.as_ref().map(|to| &to.room),
            direction: config.direction,
            limit: config.limit,
            filter: event_filter.as_ref(),
        };
        let page = self.storage.paginate_room_events(room_id, &page).await?;
        let end = start.with_room(page.next);
        let ids: Vec<Arc<str>> = page.events.into_iter().map(|event| event.event_id).collect();
        let events = self.storage.get_events_with_prev_content(&ids).await?;
        if events.is_empty() && !page.limited {
            return Ok(Some(Messages { chunk: Vec::new(), state: None, start, end: None }));
        }
        let events = match filter {
            Some(filter) => self.filter_events(filter, events).await?,
            None => events,
        };
        let is_peeking = access == RoomAccess::Peeking;
        let chunk = self.filter_events_for_client(&requester.user_id, events, is_peeking, &HashSet::new()).await?;
        let lazy = filter.is_some_and(Filter::lazy_load_members);
        let state = if lazy { self.senders_at_first(&chunk).await? } else { None };
        Ok(Some(Messages { chunk, state, start, end: Some(end) }))
    }

    /// The member events of a page's senders, in the state at its first event.
    async fn senders_at_first(&self, chunk: &[VisibleEvent]) -> Result<Option<Vec<Arc<Event>>>> {
        let Some(first) = chunk.first() else { return Ok(None) };
        let senders = chunk.iter().map(|visible| (Arc::from(MEMBER), Some(Arc::clone(&visible.event.sender))));
        let filter = StateFilter::from_types(senders);
        let ids = self.storage.get_state_ids_for_event(&first.event.event_id, &filter).await?;
        if ids.is_empty() {
            return Ok(None);
        }
        let ids: Vec<Arc<str>> = ids.values().cloned().collect();
        Ok(Some(self.storage.get_events_as_list(&ids, GetEvents::default()).await?))
    }

    async fn depth_at(&self, room_id: &str, token: &RoomToken) -> Result<i64> {
        Ok(match token {
            // Synapse: depth 0 counts as none.
            RoomToken::Topological { depth, .. } if *depth != 0 => *depth,
            token => self.storage.get_current_topological_token(room_id, token.stream()).await?,
        })
    }

    /// The first half of `_maybe_backfill_inner`: whether unknown events are so near that it would ask other servers.
    async fn would_backfill(&self, room_id: &str, depth: i64, config: &PaginationConfig, now_ms: i64) -> Result<bool> {
        let nearby = depth.saturating_add(NUMBER_OF_EVENTS_TO_BACKFILL);
        let points = self.storage.get_backfill_points_in_room(room_id, nearby, now_ms).await?;
        let nearest = points.into_iter().min_by_key(|point| (point.abs_diff(depth), *point > depth));
        let ahead = i64::try_from(config.limit).unwrap_or(i64::MAX).saturating_mul(2);
        Ok(nearest.is_some_and(|point| depth.saturating_sub(ahead) <= point))
    }
}
