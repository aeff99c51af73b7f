//! `/relations` and `/threads`. Answers to `get_relations` and `get_threads` in `synapse/handlers/relations.py`.

use std::sync::Arc;

use hashbrown::HashSet;
use myelin_model::event::serialize::SerializeOptions;
use myelin_model::{Direction, Event, MatrixError, Requester, RoomToken, StreamToken};
use myelin_storage::GetEvents;
use myelin_storage::relation_pages::{Relation, RelationsPage};

use crate::auth_room::RoomAccess;
use crate::pagination::PaginationConfig;
use crate::relations::Bundles;
use crate::visibility::VisibleEvent;
use crate::{Handlers, Result};

/// `GET /rooms/{room_id}/relations/{parent_id}[/{relation_type}[/{event_type}]]`
#[derive(Clone, Copy, Debug)]
pub struct RelationsRequest<'a> {
    pub requester: &'a Requester,
    pub room_id: &'a str,
    pub parent_id: &'a str,
    pub relation_type: Option<&'a str>,
    pub event_type: Option<&'a str>,
    pub config: &'a PaginationConfig,
    pub recurse: bool,
    /// The parent comes along.
    pub include_original_event: bool,
}

/// `GET /rooms/{room_id}/threads`
#[derive(Clone, Copy, Debug)]
pub struct ThreadsRequest<'a> {
    pub requester: &'a Requester,
    pub room_id: &'a str,
    /// Only threads that the requester wrote in.
    pub participated: bool,
    pub limit: usize,
    /// `ThreadsNextBatch`: depth and stream ordering.
    pub from: Option<(i64, i64)>,
}

impl Handlers {
    /// `get_relations`
    pub async fn get_relations(&self, request: &RelationsRequest<'_>, now_ms: i64) -> Result<Vec<u8>> {
        let RelationsRequest { requester, room_id, parent_id, config, .. } = *request;
        let user_id = &*requester.user_id;
        let access = self.check_user_in_room_or_world_readable(room_id, requester, true).await?;
        let parent = self.get_event(user_id, Some(room_id), parent_id).await?;
        let parent = parent.ok_or_else(|| MatrixError::unknown(404, "Unknown parent event."))?;
        let (related, next) = self.relations_page(request, &parent.event).await?;
        let ids: Vec<Arc<str>> = related.into_iter().map(|relation| relation.event_id).collect();
        let events = self.storage.get_events_as_list(&ids, GetEvents::default()).await?;
        let is_peeking = access == RoomAccess::Peeking;
        let events = self.filter_events_for_client(user_id, events, is_peeking, &HashSet::new()).await?;
        let bundles = self.get_bundled_aggregations(&events, user_id).await?;

        let options = self.serialize_options(requester).await?;
        let mut out = self.chunk(&events, now_ms, &options, &bundles).await?;
        if request.recurse {
            out.extend_from_slice(br#","recursion_depth":3"#);
        }
        if request.include_original_event {
            // As it was before anything related to it.
            out.extend_from_slice(br#","original_event":"#);
            out.extend(self.serialize_event(parent.to_serialize(), now_ms, &options, &Bundles::new()).await?);
        }
        for (name, token) in [("next_batch", next.as_ref()), ("prev_batch", config.from.as_ref())] {
            if let Some(token) = token {
                out.extend(format!(r#","{name}":"{}""#, self.write_token(token).await?).bytes());
            }
        }
        out.push(b'}');
        Ok(out)
    }

    async fn relations_page(
        &self,
        request: &RelationsRequest<'_>,
        parent: &Event,
    ) -> Result<(Vec<Relation>, Option<StreamToken>)> {
        let config = request.config;
        let page = RelationsPage {
            room_id: request.room_id,
            event_id: request.parent_id,
            relation_type: request.relation_type,
            event_type: request.event_type,
            from: config.from.as_ref().map(|token| &token.room),
            to: config.to.as_ref().map(|token| &token.room),
            direction: config.direction,
            limit: one_more(config.limit),
            recurse: request.recurse,
        };
        let mut related = self.storage.get_relations_for_event(&page).await?;
        // Edits would tell what was redacted.
        if parent.redacted_by.is_some() || parent.internal.redacted {
            related.retain(|relation| relation.relation_type != "m.replace");
        }
        if related.len() <= config.limit {
            return Ok((related, None));
        }
        related.truncate(config.limit);
        // Synapse: a limit of 0 leaves nothing to make a token of.
        let last = related.last().ok_or_else(|| MatrixError::internal("relations: the limit is 0"))?;
        let stream = match config.direction {
            Direction::Backwards => last.stream - 1,
            Direction::Forwards => last.stream,
        };
        let next = config.from.clone().unwrap_or_else(StreamToken::start);
        let next = next.with_room(RoomToken::Topological { depth: last.depth, stream });
        Ok((related, Some(next)))
    }

    /// `get_threads`
    pub async fn get_threads(&self, request: &ThreadsRequest<'_>, now_ms: i64) -> Result<Vec<u8>> {
        let ThreadsRequest { requester, room_id, limit, .. } = *request;
        let user_id = &*requester.user_id;
        let access = self.check_user_in_room_or_world_readable(room_id, requester, true).await?;
        let mut threads = self.storage.get_threads(room_id, request.from, one_more(limit)).await?;
        let next = if threads.len() > limit {
            threads.truncate(limit);
            // Synapse: a limit of 0 leaves nothing to make a token of.
            Some(threads.last().ok_or_else(|| MatrixError::internal("threads: the limit is 0"))?)
        } else {
            None
        };
        let next = next.map(|last| format!("{}_{}", last.depth, last.stream));
        let ids: Vec<Arc<str>> = threads.into_iter().map(|thread| thread.root).collect();
        let mut events = self.storage.get_events_as_list(&ids, GetEvents::default()).await?;
        if request.participated {
            let others = events.iter().filter(|event| &*event.sender != user_id);
            let others: Vec<Arc<str>> = others.map(|event| Arc::clone(&event.event_id)).collect();
            let participated = self.storage.get_threads_participated(&others, user_id).await?;
            events.retain(|event| &*event.sender == user_id || participated.contains(&event.event_id));
        }
        let is_peeking = access == RoomAccess::Peeking;
        let events = self.filter_events_for_client(user_id, events, is_peeking, &HashSet::new()).await?;
        let bundles = self.get_bundled_aggregations(&events, user_id).await?;
        // Synapse: serialised for nobody in particular, so that no event tells its transaction.
        let mut out = self.chunk(&events, now_ms, &SerializeOptions::default(), &bundles).await?;
        if let Some(next) = next {
            out.extend(format!(r#","next_batch":"{next}""#).bytes());
        }
        out.push(b'}');
        Ok(out)
    }

    /// The beginning of an answer, up to the end of its chunk.
    async fn chunk(
        &self,
        events: &[VisibleEvent],
        now_ms: i64,
        options: &SerializeOptions<'_>,
        bundles: &Bundles,
    ) -> Result<Vec<u8>> {
        let events: Vec<_> = events.iter().map(VisibleEvent::to_serialize).collect();
        let mut out = br#"{"chunk":"#.to_vec();
        out.extend(self.serialize_events(&events, now_ms, options, bundles).await?);
        Ok(out)
    }
}

/// One row more tells whether there are more.
fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}
