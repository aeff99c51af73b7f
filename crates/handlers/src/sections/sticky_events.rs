//! Events that stick (MSC4354). Answers to `sticky_events_by_room`, `sticky_events_for_newly_joined_rooms` and their
//! part of `_generate_room_entry` in `synapse/handlers/sync.py`.

use std::collections::HashSet;
use std::sync::Arc;

use myelin_model::{MultiWriterPosition, StreamToken};
use myelin_storage::GetEvents;
use myelin_storage::sticky_events::StickyEvents;

use crate::sync::Timeline;
use crate::visibility::VisibleEvent;
use crate::{Handlers, Result, now_ms};

/// `MAX_EVENTS_IN_SYNC`: the rest comes with the next answer.
const MOST: usize = 100;

impl Handlers {
    /// What is new in the joined rooms, and how far it was read.
    pub(crate) async fn sticky_events_by_room(
        &self,
        room_ids: &HashSet<Arc<str>>,
        since: Option<&StreamToken>,
        now: &StreamToken,
    ) -> Result<(MultiWriterPosition, StickyEvents)> {
        if !self.config.server.experimental.msc4354 {
            return Ok((now.sticky_events.clone(), StickyEvents::new()));
        }
        let room_ids: Vec<Arc<str>> = room_ids.iter().cloned().collect();
        let lower = since.map(|since| since.sticky_events.clone()).unwrap_or_default();
        Ok(self.storage.get_sticky_events_in_rooms(&room_ids, &lower, &now.sticky_events, now_ms(), Some(MOST)).await?)
    }

    /// Whoever joins a room gets all that stick there.
    pub(crate) async fn sticky_events_for_newly_joined_rooms(
        &self,
        room_ids: &HashSet<Arc<str>>,
        now: &StreamToken,
    ) -> Result<StickyEvents> {
        if !self.config.server.experimental.msc4354 || room_ids.is_empty() {
            return Ok(StickyEvents::new());
        }
        let room_ids: Vec<Arc<str>> = room_ids.iter().cloned().collect();
        let start = MultiWriterPosition::default();
        let (_, events) =
            self.storage.get_sticky_events_in_rooms(&room_ids, &start, &now.sticky_events, now_ms(), None).await?;
        Ok(events)
    }

    /// Those that the timeline does not show already. Every member may see them, whatever the history visibility.
    pub(crate) async fn sticky_events_beside(
        &self,
        user_id: &str,
        mut event_ids: Vec<Arc<str>>,
        timeline: &Timeline,
    ) -> Result<Vec<VisibleEvent>> {
        event_ids.retain(|event_id| !timeline.events.iter().any(|shown| shown.event.event_id == *event_id));
        if event_ids.is_empty() {
            return Ok(Vec::new());
        }
        let events = self.storage.get_events_as_list(&event_ids, GetEvents::default()).await?;
        self.filter_events_for_client(user_id, events, false, &event_ids.into_iter().collect()).await
    }
}
