//! The timeline of one room. Answers to `_load_filtered_recents` in `synapse/handlers/sync.py`.

use std::sync::Arc;

use hashbrown::HashSet;
use myelin_model::{Event, MultiWriterPosition, RoomToken, StreamToken};
use myelin_storage::stream::Page;

use super::builder::Sync;
use crate::relations::Bundles;
use crate::visibility::VisibleEvent;
use crate::{Handlers, Result};

/// How often a page is fetched before giving up on filling the timeline.
const MAX_PAGES: usize = 5;

#[derive(Debug)]
pub struct Timeline {
    pub events: Vec<VisibleEvent>,
    pub prev_batch: StreamToken,
    pub limited: bool,
    /// Empty for clients that see every event: they can aggregate relations by themselves.
    pub bundles: Bundles,
}

/// What the caller knows of the room's recent events.
pub struct Recents<'a> {
    pub room_id: &'a Arc<str>,
    /// Oldest first; `None`: not looked up.
    pub events: Option<Vec<Arc<Event>>>,
    pub since: Option<&'a StreamToken>,
    /// Where `events` begin, or the end of the timeline when there are none.
    pub upto: &'a StreamToken,
    pub newly_joined: bool,
}

impl Handlers {
    pub(super) async fn load_timeline(&self, sync: &Sync<'_>, recents: Recents<'_>) -> Result<Timeline> {
        let limit = sync.filter.timeline_limit();
        let now = sync.now.room.position();
        let mut potential = recents.events;
        let mut upto = recents.upto.clone();
        let mut limited = recents.newly_joined || potential.as_ref().is_none_or(|events| events.len() > limit);

        let since = recents.since.map(|since| since.room.position());
        let gap = self.storage.timeline_gap(recents.room_id, since.as_ref(), &now).await?;
        if gap.is_some() {
            (potential, limited, upto) = (None, true, sync.now.clone());
        }
        let mut events = match potential {
            Some(events) if !events.is_empty() => self.visible_in_timeline(sync, events).await?,
            _ => Vec::new(),
        };
        if !limited || sync.filter.blocks_all_room_timeline() {
            let first = events.first().map(|first| first.event.position.stream - 1);
            let prev_batch = first.map_or_else(|| upto.clone(), |stream| upto.with_room(live(stream)));
            return Ok(Timeline { events, prev_batch, limited: false, bundles: Bundles::new() });
        }

        let lower = since.and_then(|since| match gap.clone() {
            Some(gap) => Some(gap),
            None => (!recents.newly_joined).then_some(since),
        });
        // Synapse: `prev_batch` stays at the upper bound when the pages hold no more than the limit.
        let mut prev_batch = upto.room.clone();
        let mut page_end = upto.room.clone();
        let mut pages = 0;
        while limited && events.len() < limit && pages < MAX_PAGES {
            let page =
                self.recent_page(recents.room_id, lower.as_ref(), &page_end, limit.saturating_mul(2).max(10)).await?;
            (page_end, limited) = (page.next, page.limited);
            let ids: Vec<_> = page.events.into_iter().rev().map(|event| event.event_id).collect();
            let loaded = self.storage.get_events_with_prev_content(&ids).await?;
            let mut older = self.visible_in_timeline(sync, loaded).await?;
            older.append(&mut events);
            events = older;
            pages += 1;
        }
        if events.len() > limit {
            limited = true;
            // Synapse: a limit of 0 cuts nothing off.
            if limit > 0 {
                events.drain(..events.len() - limit);
            }
            if let Some(first) = events.first() {
                prev_batch = live(first.event.position.stream - 1);
            }
        }
        let bundles = if limited || recents.newly_joined {
            self.get_bundled_aggregations(&events, &sync.user_id).await?
        } else {
            Bundles::new()
        };
        Ok(Timeline {
            events,
            prev_batch: upto.with_room(prev_batch),
            limited: limited || recents.newly_joined || gap.is_some(),
            bundles,
        })
    }

    /// History is read by depth, news by arrival.
    async fn recent_page(
        &self,
        room_id: &Arc<str>,
        lower: Option<&MultiWriterPosition>,
        upper: &RoomToken,
        limit: usize,
    ) -> Result<Page> {
        Ok(match lower {
            None => self.storage.paginate_by_depth(room_id, upper, limit).await?,
            Some(lower) => self.storage.paginate_by_stream(room_id, lower, &upper.position(), limit).await?,
        })
    }

    /// Applies the client's filter, then what the user may see. Current state is always shown.
    async fn visible_in_timeline(&self, sync: &Sync<'_>, events: Vec<Arc<Event>>) -> Result<Vec<VisibleEvent>> {
        let events = self.filter_room_timeline(sync.filter, events).await?;
        let state: Vec<_> = events.iter().filter(|e| e.is_state()).map(|e| Arc::clone(&e.event_id)).collect();
        let always_include: HashSet<Arc<str>> = self.storage.events_in_current_state(&state).await?;
        self.filter_events_for_client(&sync.user_id, events, false, &always_include).await
    }
}

fn live(stream: i64) -> RoomToken {
    RoomToken::Live(stream.into())
}
