//! `/rooms/{id}/context/{id}`. Answers to `RoomContextHandler` in `synapse/handlers/room.py`.

use std::sync::Arc;

use hashbrown::HashSet;
use myelin_model::state_filter::StateFilter;
use myelin_model::{Direction, Event, MatrixError, Requester, RoomToken, StreamToken};
use myelin_storage::GetEvents;
use myelin_storage::pagination::Pagination;
use myelin_storage::stream::Page;

use crate::filter::Filter;
use crate::relations::Bundles;
use crate::visibility::VisibleEvent;
use crate::{Handlers, Result};

/// `GET /rooms/{room_id}/context/{event_id}`
#[derive(Clone, Copy, Debug)]
pub struct ContextRequest<'a> {
    pub requester: &'a Requester,
    pub room_id: &'a str,
    pub event_id: &'a str,
    /// Events on both sides together.
    pub limit: usize,
    pub filter: Option<&'a Filter>,
}

/// One side of the event: what is visible, and the token behind it.
type Side = (Vec<VisibleEvent>, RoomToken);

impl Handlers {
    /// `get_event_context`
    pub async fn get_event_context(&self, request: &ContextRequest<'_>, now_ms: i64) -> Result<Vec<u8>> {
        let ContextRequest { requester, room_id, event_id, limit, filter } = *request;
        let user_id = &*requester.user_id;
        let membership = self.storage.get_local_current_membership_for_user_in_room(user_id, room_id).await?;
        let is_peeking = membership.is_none_or(|(membership, _)| membership != "join");
        let found = self.storage.get_events_with_prev_content(&[Arc::from(event_id)]).await?.into_iter().next();
        let found = found.ok_or_else(|| MatrixError::not_found("Event not found."))?;
        let at = RoomToken::at(&found);
        // Synapse: events as deep as this one that came before it are skipped.
        let before = RoomToken::Topological { depth: found.depth - 1, stream: found.position.stream };
        let is_elsewhere = &*found.room_id != room_id;
        let visible = self.filter_events_for_client(user_id, vec![found], is_peeking, &HashSet::new()).await?;
        let Some(visible) = visible.into_iter().next() else {
            return Err(MatrixError::forbidden("You don't have permission to access that event."));
        };
        if is_elsewhere {
            return Err(MatrixError::unknown(404, "No row found (events)"));
        }
        let older = (&before, Direction::Backwards, limit / 2);
        let newer = (&at, Direction::Forwards, limit - limit / 2);
        let (before, start) = self.context_side(request, older, is_peeking).await?;
        let (after, end) = self.context_side(request, newer, is_peeking).await?;

        let events: Vec<VisibleEvent> = before.iter().chain([&visible]).chain(&after).cloned().collect();
        let bundles = self.get_bundled_aggregations(&events, user_id).await?;
        let state = self.context_state(&events, filter).await?;

        let options = self.serialize_options(requester).await?;
        let (before, after): (Vec<_>, Vec<_>) = (
            before.iter().map(VisibleEvent::to_serialize).collect(),
            after.iter().map(VisibleEvent::to_serialize).collect(),
        );
        let state: Vec<_> = state.iter().map(|event| (event, None)).collect();
        let mut out = br#"{"events_before":"#.to_vec();
        out.extend(self.serialize_events(&before, now_ms, &options, &bundles).await?);
        out.extend_from_slice(br#","event":"#);
        out.extend(self.serialize_event(visible.to_serialize(), now_ms, &options, &bundles).await?);
        out.extend_from_slice(br#","events_after":"#);
        out.extend(self.serialize_events(&after, now_ms, &options, &bundles).await?);
        out.extend_from_slice(br#","state":"#);
        out.extend(self.serialize_events(&state, now_ms, &options, &Bundles::new()).await?);
        for (name, token) in [("start", start), ("end", end)] {
            let token = self.write_token(&StreamToken::start().with_room(token)).await?;
            out.extend(format!(r#","{name}":"{token}""#).bytes());
        }
        out.push(b'}');
        Ok(out)
    }

    /// One half of `get_events_around`, filtered.
    async fn context_side(
        &self,
        request: &ContextRequest<'_>,
        (from, direction, limit): (&RoomToken, Direction, usize),
        is_peeking: bool,
    ) -> Result<Side> {
        let event_filter = request.filter.map(Filter::to_event_filter);
        let page = Pagination { from, to: None, direction, limit, filter: event_filter.as_ref() };
        let Page { events, next, .. } = self.storage.paginate_room_events(request.room_id, &page).await?;
        let ids: Vec<Arc<str>> = events.into_iter().map(|event| event.event_id).collect();
        let mut events = self.storage.get_events_with_prev_content(&ids).await?;
        if let Some(filter) = request.filter {
            events = self.filter_events(filter, events).await?;
        }
        let user_id = &request.requester.user_id;
        Ok((self.filter_events_for_client(user_id, events, is_peeking, &HashSet::new()).await?, next))
    }

    /// The state after the last of `events`; with lazy loading of members only that of their senders.
    async fn context_state(&self, events: &[VisibleEvent], filter: Option<&Filter>) -> Result<Vec<Arc<Event>>> {
        let Some(last) = events.last() else { return Ok(Vec::new()) };
        let wanted = if filter.is_some_and(Filter::lazy_load_members) {
            StateFilter::lazy_load(events.iter().map(|visible| Arc::clone(&visible.event.sender)))
        } else {
            StateFilter::all()
        };
        let ids = self.storage.get_state_ids_for_event(&last.event.event_id, &wanted).await?;
        let ids: Vec<Arc<str>> = ids.values().cloned().collect();
        let state = self.storage.get_events_as_list(&ids, GetEvents::default()).await?;
        match filter {
            Some(filter) => self.filter_events(filter, state).await,
            None => Ok(state),
        }
    }
}
