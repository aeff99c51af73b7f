//! About how many bytes an answer to /sync takes while it is kept. Synapse counts such answers, not their bytes.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use myelin_model::Event;

use super::{ArchivedRoom, JoinedRoom, SyncResult};
use crate::sections::Item;

/// A table that is two thirds full, with a byte of control for each place.
fn table<K, V, S: BuildHasher>(map: &HashMap<K, V, S>) -> usize {
    map.capacity() * 8 / 7 * (size_of::<(K, V)>() + 1)
}

fn items(items: &[Item]) -> usize {
    items.iter().map(|item| size_of::<Item>() + item.json.len()).sum()
}

fn ids<S: BuildHasher>(ids: &HashSet<std::sync::Arc<str>, S>) -> usize {
    ids.iter().map(|id| 48 + id.len()).sum()
}

impl SyncResult {
    /// Events and ids are shared with the caches, and count there.
    pub(super) fn weight(&self) -> usize {
        let rooms = self.joined.iter().map(JoinedRoom::weight).chain(self.archived.iter().map(ArchivedRoom::weight));
        let sections = [&self.presence, &self.account_data, &self.to_device];
        size_of::<Self>()
            + rooms.sum::<usize>()
            + sections.into_iter().map(|section| items(section)).sum::<usize>()
            + ids(&self.device_lists.changed)
            + ids(&self.device_lists.left)
            + 16 * (self.invited.len() + self.knocked.len())
    }
}

impl JoinedRoom {
    fn weight(&self) -> usize {
        /// Of counts, and of a few heroes.
        const SUMMARY: usize = 800;
        let summary = if self.summary.as_object().is_some_and(|summary| !summary.is_empty()) { SUMMARY } else { 0 };
        let own = size_of::<Self>() - size_of::<ArchivedRoom>();
        own + summary + self.room.weight() + items(&self.ephemeral) + 64 * self.unread.threads.len()
    }
}

impl ArchivedRoom {
    fn weight(&self) -> usize {
        let timeline = &self.timeline;
        // An event with what it replaced is a copy for this answer.
        let copies = timeline.events.iter().filter(|visible| visible.event.replaced.is_some()).count();
        size_of::<Self>()
            + size_of_val(timeline.events.as_slice())
            + copies * size_of::<Event>()
            + table(&timeline.bundles)
            + table(&self.state)
            + items(&self.account_data)
    }
}
