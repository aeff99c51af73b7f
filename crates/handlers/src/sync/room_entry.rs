//! What one room has to say. Answers to `_generate_room_entry` in `synapse/handlers/sync.py`.

use std::sync::Arc;

use hashbrown::HashMap;
use serde_json::{Value, json};

use super::builder::Sync;
use super::rooms::RoomEntry;
use super::summary::wants_summary;
use super::timeline::Recents;
use super::{ArchivedRoom, JoinedRoom};
use crate::sections::Item;
use crate::sections::account_data::RoomAccountData;
use crate::sections::unread::RoomNotifCounts;
use crate::{Handlers, Result};

/// What is new in a room besides events.
#[derive(Default)]
pub(super) struct RoomData {
    pub ephemeral: Vec<Item>,
    /// Its tags, when they changed.
    pub account_data: RoomAccountData,
    /// Ids, oldest in their stream first.
    pub sticky: Vec<Arc<str>>,
}

pub(super) enum Entry {
    Joined(JoinedRoom),
    Archived(ArchivedRoom),
}

impl Handlers {
    /// Nothing, if there is nothing to say.
    pub(super) async fn room_entry(
        &self,
        sync: &Sync<'_>,
        mut entry: RoomEntry,
        data: RoomData,
    ) -> Result<Option<Entry>> {
        let RoomData { mut ephemeral, mut account_data, sticky } = data;
        let always_include = sync.config.full_state;
        let full_state = sync.since.is_none() || entry.newly_joined || always_include;
        let untold = account_data.items().next().is_none();
        let quiet = ephemeral.is_empty() && untold && sticky.is_empty() && !full_state;
        if quiet && entry.events.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let recents = Recents {
            room_id: &entry.room_id,
            events: entry.events.take(),
            since: entry.since.as_ref(),
            upto: &entry.upto,
            newly_joined: entry.newly_joined,
        };
        let timeline = self.load_timeline(sync, recents).await?;
        if full_state {
            account_data.tags = self.tags_for_room(&sync.user_id, &entry.room_id).await?;
        }
        let mut account_data = account_data.into_items();
        sync.filter.filter_room_account_data(&mut account_data);
        sync.filter.filter_room_ephemeral(&entry.room_id, &mut ephemeral);
        let quiet = ephemeral.is_empty() && account_data.is_empty() && sticky.is_empty() && !full_state;
        if quiet && timeline.events.is_empty() {
            return Ok(None);
        }
        let mut state = if entry.out_of_band {
            HashMap::new()
        } else {
            self.compute_state_delta(sync, &entry, &timeline, full_state).await?
        };
        let summary = if wants_summary(sync, &entry, &timeline, &state) {
            self.room_summary(sync, &entry.room_id, &timeline, &mut state).await?.unwrap_or(Value::Null)
        } else {
            json!({})
        };
        let room = ArchivedRoom { room_id: entry.room_id, timeline, state, account_data };
        if !entry.joined {
            return Ok((!room.is_empty() || always_include).then_some(Entry::Archived(room)));
        }
        let sticky = self.sticky_events_beside(&sync.user_id, sticky, &room.timeline).await?;
        let empty = room.is_empty() && ephemeral.is_empty() && sticky.is_empty();
        let joined = JoinedRoom { room, ephemeral, summary, unread: RoomNotifCounts::default(), sticky };
        Ok((!empty || always_include).then_some(Entry::Joined(joined)))
    }
}
