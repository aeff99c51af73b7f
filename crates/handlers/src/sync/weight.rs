//! About how many bytes an answer to /sync takes while it is kept. Synapse counts such answers, not their bytes.

use std::hash::BuildHasher;

use hashbrown::{HashMap, HashSet};
use myelin_model::Event;

use super::{ArchivedRoom, JoinedRoom, SyncResult};
use crate::sections::Item;

/// A table that is two thirds full, with a byte of control for each place.
fn table<K, V, S: BuildHasher>(map: &HashMap<K, V, S>) -> usize {
    map.capacity() * 8 / 7 * (size_of::<(K, V)>() + 1)
}

/// With the places that nothing is in: an answer is built by pushing.
fn list<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>()
}

fn items(items: &Vec<Item>) -> usize {
    list(items) + items.iter().map(|item| item.json.capacity()).sum::<usize>()
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
            + list(&self.joined)
            + list(&self.archived)
            + rooms.sum::<usize>()
            + sections.into_iter().map(items).sum::<usize>()
            + ids(&self.device_lists.changed)
            + ids(&self.device_lists.left)
            + list(&self.invited)
            + list(&self.knocked)
    }
}

impl JoinedRoom {
    fn weight(&self) -> usize {
        /// Of counts, and of a few heroes.
        const SUMMARY: usize = 800;
        /// A tree has room for eleven at first.
        const THREADS: usize = 500;
        let summary = if self.summary.as_object().is_some_and(|summary| !summary.is_empty()) { SUMMARY } else { 0 };
        let threads = self.unread.threads.len().div_ceil(11) * THREADS;
        summary + self.room.weight() + items(&self.ephemeral) + list(&self.sticky) + threads
    }
}

impl ArchivedRoom {
    fn weight(&self) -> usize {
        let timeline = &self.timeline;
        // An event with what it replaced is a copy for this answer.
        let copies = timeline.events.iter().filter(|visible| visible.event.replaced.is_some()).count();
        list(&timeline.events)
            + copies * size_of::<Event>()
            + table(&timeline.bundles)
            + table(&self.state)
            + items(&self.account_data)
    }
}
