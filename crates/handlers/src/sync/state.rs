//! The state that goes with a timeline. Answers to `compute_state_delta` and `_calculate_state` in
//! `synapse/handlers/sync.py`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use myelin_model::state_filter::{MEMBER, StateFilter, StateKey, StateMap};
use myelin_model::{Event, StreamToken};
use myelin_storage::GetEvents;

use super::builder::Sync;
use super::rooms::RoomEntry;
use super::timeline::Timeline;
use crate::{Handlers, Result};

/// What the timeline needs and holds of the room's state.
struct Wanted {
    /// Senders whose membership the client needs, when it loads members lazily.
    members: Option<HashSet<Arc<str>>>,
    /// The last event of each state key in the timeline.
    timeline_state: StateMap,
}

impl Handlers {
    /// The state events to send, by (type, state_key).
    pub(super) async fn compute_state_delta(
        &self,
        sync: &Sync<'_>,
        entry: &RoomEntry,
        timeline: &Timeline,
        full_state: bool,
    ) -> Result<HashMap<StateKey, Arc<Event>>> {
        let lazy = sync.filter.lazy_load_members();
        let wanted = wanted(timeline, lazy, sync.config.use_state_after);
        let partial = lazy && self.storage.is_partial_state_room(&entry.room_id).await?;
        let (mut state_ids, changed) = match &entry.since {
            Some(since) if !full_state => self.incremental_state(sync, entry, timeline, since, &wanted).await?,
            _ => (self.full_state(sync, entry, timeline, &wanted).await?, HashSet::new()),
        };
        if let (true, Some(members)) = (partial, &wanted.members) {
            self.add_missing_partial_state_memberships(timeline, members, &mut state_ids).await?;
        }
        if lazy && !sync.filter.include_redundant_members() {
            let device = sync.device_key();
            // Python asks the cache for every key, but only members are ever marked as sent.
            state_ids.retain(|key, id| changed.contains(key) || !self.lazy_members.was_sent(&device, &key.1, id));
            let at = sync.now.room.position();
            for ((kind, user_id), event_id) in state_ids.iter().chain(&wanted.timeline_state) {
                if &**kind == MEMBER {
                    self.lazy_members.mark_sent(&device, user_id, event_id, &at);
                }
            }
        }
        let ids: Vec<_> = state_ids.into_values().collect();
        let events = self.storage.get_events(&ids, GetEvents::default()).await?.into_values().collect();
        let events = self.filter_room_state(sync.filter, events).await?;
        let keyed = events.into_iter().filter(|event| &*event.kind != "m.room.aliases");
        Ok(keyed.filter_map(|event| Some((event.state_map_key()?, event))).collect())
    }

    async fn full_state(
        &self,
        sync: &Sync<'_>,
        entry: &RoomEntry,
        timeline: &Timeline,
        wanted: &Wanted,
    ) -> Result<StateMap> {
        let filter = match &wanted.members {
            // Our own membership always: it tells the client that it is in the room.
            Some(members) => StateFilter::lazy_load(members.iter().chain([&sync.user_id]).cloned()),
            None => StateFilter::all(),
        };
        if sync.config.use_state_after {
            return if entry.joined {
                self.current_state_at(&entry.room_id, &entry.end, &filter).await
            } else {
                self.state_ids_at(&entry.room_id, &entry.end, &filter).await
            };
        }
        let end = self.state_ids_at(&entry.room_id, &entry.end, &filter).await?;
        let start = match timeline.events.first() {
            Some(first) => self.storage.get_state_ids_for_event(&first.event.event_id, &filter).await?,
            None => end.clone(),
        };
        Ok(calculate_state(&wanted.timeline_state, &start, &end, &StateMap::new(), wanted.members.is_some()))
    }

    /// Current state, with what changed after `end` rolled back.
    async fn current_state_at(&self, room_id: &str, end: &StreamToken, filter: &StateFilter) -> Result<StateMap> {
        let mut state = self.storage.get_filtered_current_state_ids(room_id, filter).await?;
        let now = self.live.current_token().room.position();
        let deltas = self.storage.current_state_deltas(room_id, &end.room.position(), &now).await?;
        // Backwards, so that of several changes of a key the earliest is undone last.
        for delta in deltas.iter().rev() {
            let key = (Arc::clone(&delta.kind), Arc::clone(&delta.state_key));
            match &delta.prev_event_id {
                Some(prev) => drop(state.insert(key, Arc::clone(prev))),
                None => drop(state.remove(&key)),
            }
        }
        Ok(state)
    }

    /// The state ids to send, and which of their keys changed since `since`.
    async fn incremental_state(
        &self,
        sync: &Sync<'_>,
        entry: &RoomEntry,
        timeline: &Timeline,
        since: &StreamToken,
        wanted: &Wanted,
    ) -> Result<(StateMap, HashSet<StateKey>)> {
        if sync.config.use_state_after {
            return self.incremental_state_after(entry, since, wanted).await;
        }
        let lazy = wanted.members.is_some();
        let room_id = &entry.room_id;
        let first = timeline.events.first().map(|first| &first.event.event_id);
        if !timeline.limited && self.is_linear(room_id, timeline, since).await? {
            let members = wanted.members.as_ref().filter(|members| !members.is_empty());
            return Ok(match (members, first) {
                (Some(members), Some(first)) => {
                    let filter = members_only(members);
                    (self.storage.get_state_ids_for_event(first, &filter).await?, HashSet::new())
                }
                _ => Default::default(),
            });
        }
        let filter =
            wanted.members.as_ref().map_or_else(StateFilter::all, |m| StateFilter::lazy_load(m.iter().cloned()));
        let start = match first {
            Some(first) => self.storage.get_state_ids_for_event(first, &filter).await?,
            None => self.state_ids_at(room_id, &entry.end, &filter).await?,
        };
        // A gap may hide membership changes: no lazy loading across one.
        let filter = if timeline.limited { StateFilter::all() } else { filter };
        let previous = self.state_ids_at(room_id, since, &filter).await?;
        let end = self.state_ids_at(room_id, &entry.end, &filter).await?;
        let state = calculate_state(&wanted.timeline_state, &start, &end, &previous, lazy);
        let changed = state.iter().filter(|(key, id)| previous.get(*key) != Some(*id)).map(|(key, _)| key.clone());
        let changed = changed.collect();
        Ok((state, changed))
    }

    async fn incremental_state_after(
        &self,
        entry: &RoomEntry,
        since: &StreamToken,
        wanted: &Wanted,
    ) -> Result<(StateMap, HashSet<StateKey>)> {
        let mut state = match wanted.members.as_ref().filter(|members| !members.is_empty()) {
            Some(members) if entry.joined => {
                self.storage.get_filtered_current_state_ids(&entry.room_id, &members_only(members)).await?
            }
            Some(members) => self.state_ids_at(&entry.room_id, &entry.end, &members_only(members)).await?,
            None => StateMap::new(),
        };
        let (lower, upper) = (since.room.position(), entry.end.room.position());
        let mut changed = HashSet::new();
        for delta in &*self.storage.current_state_deltas(&entry.room_id, &lower, &upper).await? {
            // A key that vanished in a state reset cannot be told to the client.
            let Some(event_id) = &delta.event_id else { continue };
            let key = (Arc::clone(&delta.kind), Arc::clone(&delta.state_key));
            changed.insert(key.clone());
            state.insert(key, Arc::clone(event_id));
        }
        Ok((state, changed))
    }

    /// Whether each event's only predecessor is the one before it, back to the previous sync.
    async fn is_linear(&self, room_id: &str, timeline: &Timeline, since: &StreamToken) -> Result<bool> {
        if timeline.events.is_empty() {
            return Ok(true);
        }
        let mut previous = self.storage.last_event_in_room_before(room_id, &since.room.position()).await?;
        for visible in &timeline.events {
            let linear = match (visible.event.prev_event_ids().as_slice(), &previous) {
                ([only], Some(previous)) => only == previous,
                _ => false,
            };
            if !linear {
                return Ok(false);
            }
            previous = Some(Arc::clone(&visible.event.event_id));
        }
        Ok(true)
    }

    /// `get_state_ids_at`: the state after the last event at or before `at`.
    pub(super) async fn state_ids_at(&self, room_id: &str, at: &StreamToken, filter: &StateFilter) -> Result<StateMap> {
        let Some(last) = self.storage.last_event_in_room_before(room_id, &at.room.position()).await? else {
            return Ok(StateMap::new());
        };
        let mut state = self.storage.get_state_ids_for_event(&last, filter).await?;
        // Synapse: `get_state_after_event` adds the event itself, whatever the filter says.
        if let Some(key) = self.storage.get_event(&last).await?.and_then(|event| event.state_map_key()) {
            state.insert(key, last);
        }
        Ok(state)
    }

    /// While a room's state is incomplete, a sender's membership is found among the auth events.
    async fn add_missing_partial_state_memberships(
        &self,
        timeline: &Timeline,
        members: &HashSet<Arc<str>>,
        state: &mut StateMap,
    ) -> Result<()> {
        let missing = |user: &Arc<str>| !state.contains_key(&(Arc::from(MEMBER), Arc::clone(user)));
        let users: Vec<_> = members.iter().filter(|user| missing(user)).cloned().collect();
        let first_by = |user: &Arc<str>| timeline.events.iter().map(|v| &v.event).find(|e| e.sender == *user);
        let auth_ids: Vec<_> = users.iter().filter_map(first_by).flat_map(|e| e.auth_event_ids()).collect();
        let auth = self.storage.get_events(&auth_ids, GetEvents::default()).await?;
        for user in users {
            let Some(event) = first_by(&user) else { continue };
            let membership = event
                .auth_event_ids()
                .iter()
                .filter_map(|id| auth.get(id))
                .find(|candidate| &*candidate.kind == MEMBER && candidate.state_key.as_deref() == Some(&*user));
            if let Some(membership) = membership {
                state.insert((Arc::from(MEMBER), user), Arc::clone(&membership.event_id));
            }
        }
        Ok(())
    }
}

fn members_only(members: &HashSet<Arc<str>>) -> StateFilter {
    StateFilter::from_types(members.iter().map(|user| (Arc::from(MEMBER), Some(Arc::clone(user)))))
}

fn wanted(timeline: &Timeline, lazy: bool, use_state_after: bool) -> Wanted {
    let mut wanted = Wanted { members: lazy.then(HashSet::new), timeline_state: StateMap::new() };
    for visible in &timeline.events {
        let event = &visible.event;
        if let Some(members) = &mut wanted.members {
            // With `state` the client replays the timeline, so a membership in it need not be sent.
            let in_timeline = wanted.timeline_state.contains_key(&(Arc::from(MEMBER), Arc::clone(&event.sender)));
            if use_state_after || !in_timeline {
                members.insert(Arc::clone(&event.sender));
            }
        }
        if let Some(key) = event.state_map_key() {
            wanted.timeline_state.insert(key, Arc::clone(&event.event_id));
        }
    }
    wanted
}

/// What to send so that the client, which has `previous` and will replay the timeline, ends at `end`.
///
/// State at the end of the timeline is taken too, because a fork of the event graph can bring in
/// state that is neither in the timeline nor at its start. Where start and end differ in a key,
/// the newer is sent: Python keeps either, by the order of a set.
fn calculate_state(
    timeline: &StateMap,
    start: &StateMap,
    end: &StateMap,
    previous: &StateMap,
    lazy_load_members: bool,
) -> StateMap {
    let in_timeline: HashSet<_> = timeline.values().collect();
    let mut known: HashSet<_> = previous.values().collect();
    if lazy_load_members {
        for (_, event_id) in start.iter().filter(|((kind, _), _)| &**kind == MEMBER) {
            known.remove(event_id);
        }
    }
    let news = |(_, event_id): &(&StateKey, &Arc<str>)| !known.contains(event_id) && !in_timeline.contains(event_id);
    let both = start.iter().chain(end);
    both.filter(news).map(|(key, event_id)| (key.clone(), Arc::clone(event_id))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str, &str)]) -> StateMap {
        entries.iter().map(|(kind, key, id)| ((Arc::from(*kind), Arc::from(*key)), Arc::from(*id))).collect()
    }

    #[test]
    fn state_known_or_in_the_timeline_is_not_sent() {
        let previous = map(&[("n", "", "$1"), ("t", "", "$2")]);
        let end = map(&[("n", "", "$3"), ("t", "", "$4"), ("x", "", "$5")]);
        let sent = calculate_state(&map(&[("n", "", "$3")]), &map(&[("n", "", "$1")]), &end, &previous, false);
        assert_eq!(sent, map(&[("t", "", "$4"), ("x", "", "$5")]));
    }

    #[test]
    fn lazily_loaded_senders_are_sent_again() {
        let start = map(&[(MEMBER, "@a:t", "$1")]);
        let sent = calculate_state(&StateMap::new(), &start, &start, &start, true);
        assert_eq!(sent, start);
        assert_eq!(calculate_state(&StateMap::new(), &start, &start, &start, false), StateMap::new());
    }
}
