//! Which rooms an answer has something to say about. Answers to `_generate_sync_entry_for_rooms`,
//! `_get_room_changes_for_incremental_sync` and `_get_room_changes_for_initial_sync` in `synapse/handlers/sync.py`.

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use hashbrown::{HashMap, HashSet};
use myelin_live::Changed;
use myelin_model::room_version::RoomVersion;
use myelin_model::state_filter::{MEMBER, StateFilter};
use myelin_model::{Event, RoomToken, StreamToken};

use super::builder::Sync;
use super::room_entry::{Entry, RoomData};
use super::{ArchivedRoom, JoinedRoom};
use crate::invite_rules::UnwantedInvites;
use crate::sections::account_data::RoomAccountData;
use crate::{Handlers, Result};

/// Rooms of one answer that are worked on at once: what they ask of the database becomes shared statements.
const ROOMS_AT_ONCE: usize = 1_000;
const MEMBERSHIPS: [&str; 5] = ["invite", "join", "knock", "leave", "ban"];

/// The rooms of an answer.
#[derive(Default)]
pub(super) struct Rooms {
    pub joined: Vec<JoinedRoom>,
    pub archived: Vec<ArchivedRoom>,
    pub invited: Vec<Arc<Event>>,
    pub knocked: Vec<Arc<Event>>,
    pub newly_joined: HashSet<Arc<str>>,
    pub newly_left: HashSet<Arc<str>>,
}

/// A room that may have something to say.
pub(super) struct RoomEntry {
    pub room_id: Arc<str>,
    /// Or left.
    pub joined: bool,
    /// Oldest first; `None`: not looked up.
    pub events: Option<Vec<Arc<Event>>>,
    pub newly_joined: bool,
    pub since: Option<StreamToken>,
    /// Where `events` begin, or the end of the timeline when there are none.
    pub upto: StreamToken,
    /// Nothing after this is shown: "now", or just after the user left.
    pub end: StreamToken,
    /// A membership of a room that the server is not in, such as a rejected invite.
    pub out_of_band: bool,
}

#[derive(Default)]
struct RoomChanges {
    entries: Vec<RoomEntry>,
    invited: Vec<Arc<Event>>,
    knocked: Vec<Arc<Event>>,
    newly_joined: HashSet<Arc<str>>,
    newly_left: HashSet<Arc<str>>,
}

impl Handlers {
    pub(super) async fn sync_rooms(
        &self,
        sync: &Sync<'_>,
        mut account_data: HashMap<Arc<str>, RoomAccountData>,
    ) -> Result<Rooms> {
        let filter = sync.filter;
        if filter.lazy_load_members() {
            let since = sync.since.map(|since| since.room.position());
            self.lazy_members.start_request(&sync.device_key(), since.as_ref());
        }
        if filter.blocks_all_rooms() || filter.blocks_all_room_account_data() {
            account_data.clear();
        }
        let mut ephemeral = if filter.blocks_all_rooms() || filter.blocks_all_room_ephemeral() {
            HashMap::new()
        } else {
            self.ephemeral_by_room(&sync.user_id, &sync.joined_room_ids, sync.since, &sync.now).await?
        };
        let idle = ephemeral.is_empty() && account_data.is_empty() && sync.sticky.is_empty();
        if idle && !sync.config.full_state && sync.since.is_some_and(|since| !self.may_rooms_have_changed(sync, since))
        {
            return Ok(Rooms::default());
        }
        let changes = match sync.since {
            Some(since) => self.incremental_changes(sync, since).await?,
            None => self.initial_changes(sync).await?,
        };
        let mut sticky = sync.sticky.clone();
        sticky.extend(self.sticky_events_for_newly_joined_rooms(&changes.newly_joined, &sync.now).await?);
        let work = changes.entries.into_iter().map(|entry| {
            let data = RoomData {
                ephemeral: ephemeral.remove(&entry.room_id).unwrap_or_default(),
                account_data: account_data.remove(&entry.room_id).unwrap_or_default(),
                sticky: sticky.remove(&entry.room_id).unwrap_or_default(),
            };
            self.room_entry(sync, entry, data).boxed()
        });
        // A list of boxes, because a lazy iterator of nameless futures cannot be sent between threads.
        let work: Vec<_> = work.collect();
        let entries: Vec<Option<Entry>> = stream::iter(work).buffered(ROOMS_AT_ONCE).try_collect().await?;
        let mut rooms = Rooms {
            invited: changes.invited,
            knocked: changes.knocked,
            newly_joined: changes.newly_joined,
            newly_left: changes.newly_left,
            ..Rooms::default()
        };
        for entry in entries.into_iter().flatten() {
            match entry {
                Entry::Joined(room) => rooms.joined.push(room),
                Entry::Archived(room) => rooms.archived.push(room),
            }
        }
        let ids: Vec<Arc<str>> = rooms.joined.iter().map(|joined| Arc::clone(&joined.room.room_id)).collect();
        let mut unread = self.unread_counts(&sync.user_id, &ids).await?;
        for joined in &mut rooms.joined {
            joined.unread = unread.remove(&joined.room.room_id).unwrap_or_default();
        }
        Ok(rooms)
    }

    /// "No" is certain.
    fn may_rooms_have_changed(&self, sync: &Sync<'_>, since: &StreamToken) -> bool {
        let since = since.room.position().base;
        !sync.membership_changes.is_empty()
            || !sync.forced_newly_joined.is_empty()
            || !self.live.may_have_changed_of(Changed::RoomEvents, &*sync.joined_room_ids, since).is_empty()
    }

    async fn incremental_changes(&self, sync: &Sync<'_>, since: &StreamToken) -> Result<RoomChanges> {
        let mut changes = RoomChanges { newly_joined: sync.forced_newly_joined.clone(), ..RoomChanges::default() };
        let unwanted = self.unwanted_invites(&sync.user_id).await?;
        let mut by_room: Vec<(Arc<str>, Vec<Arc<Event>>)> = Vec::new();
        for event in &sync.membership_changes {
            match by_room.iter_mut().find(|(room_id, _)| *room_id == event.room_id) {
                Some((_, events)) => events.push(Arc::clone(event)),
                None => by_room.push((Arc::clone(&event.room_id), vec![Arc::clone(event)])),
            }
        }
        for (room_id, events) in by_room {
            self.membership_change(sync, since, &room_id, &events, &unwanted, &mut changes).await?;
        }
        self.joined_changes(sync, since, &mut changes).await?;
        Ok(changes)
    }

    /// Sorts one room into the lists by the user's membership events in it; it may be in several.
    async fn membership_change(
        &self,
        sync: &Sync<'_>,
        since: &StreamToken,
        room_id: &Arc<str>,
        events: &[Arc<Event>],
        unwanted: &UnwantedInvites,
        changes: &mut RoomChanges,
    ) -> Result<()> {
        fn membership(event: &Event) -> &str {
            event.membership().unwrap_or_default()
        }
        let non_joins: Vec<&Arc<Event>> = events.iter().filter(|event| membership(event) != "join").collect();
        let has_join = non_joins.len() != events.len();
        let joined = sync.joined_room_ids.contains(room_id);
        if joined && !non_joins.is_empty() {
            // Not joined for a while in between.
            changes.newly_joined.insert(Arc::clone(room_id));
            return Ok(());
        }
        let was_joined = self.was_joined_at(&sync.user_id, room_id, since).await?;
        if (joined || has_join) && !was_joined {
            changes.newly_joined.insert(Arc::clone(room_id));
        }
        let (false, Some(last_non_join), Some(last)) = (joined, non_joins.last(), events.last()) else {
            return Ok(());
        };
        if membership(last) != "join" && (has_join || was_joined) {
            changes.newly_left.insert(Arc::clone(room_id));
        }
        match membership(last_non_join) {
            "invite" if !unwanted.are_from(&last_non_join.sender) => changes.invited.push(Arc::clone(last_non_join)),
            "knock" => changes.knocked.push(Arc::clone(last_non_join)),
            _ => {}
        }
        let left = non_joins.iter().rev().find(|event| matches!(membership(event), "leave" | "ban"));
        let Some(left) = left.filter(|left| !left.position.is_at_most(&since.room.position())) else {
            return Ok(());
        };
        let end = since.with_room(RoomToken::Live(left.position.stream.into()));
        let out_of_band = left.internal.out_of_band_membership;
        changes.entries.push(RoomEntry {
            room_id: Arc::clone(room_id),
            joined: false,
            events: out_of_band.then(|| vec![Arc::clone(left)]),
            newly_joined: changes.newly_joined.contains(room_id),
            since: Some(since.clone()),
            upto: end.clone(),
            end,
            out_of_band,
        });
        Ok(())
    }

    async fn was_joined_at(&self, user_id: &Arc<str>, room_id: &str, at: &StreamToken) -> Result<bool> {
        let key = (Arc::from(MEMBER), Arc::clone(user_id));
        let filter = StateFilter::from_types([(Arc::clone(&key.0), Some(Arc::clone(&key.1)))]);
        let state = self.state_ids_at(room_id, at, &filter).await?;
        let Some(event_id) = state.get(&key) else { return Ok(false) };
        let event = self.storage.get_event(event_id).await?;
        Ok(event.is_some_and(|event| event.membership() == Some("join")))
    }

    /// Every joined room: there may be other news than events.
    async fn joined_changes(&self, sync: &Sync<'_>, since: &StreamToken, changes: &mut RoomChanges) -> Result<()> {
        let (lower, upper) = (since.room.position(), sync.now.room.position());
        let changed = self.live.may_have_changed_of(Changed::RoomEvents, &*sync.joined_room_ids, lower.base);
        let limit = sync.filter.timeline_limit().saturating_add(1);
        let mut pages = self.storage.room_events_by_stream(&changed, &lower, &upper, limit).await?;
        let ids: Vec<Arc<str>> =
            pages.values().flat_map(|page| &page.events).map(|event| Arc::clone(&event.event_id)).collect();
        let events = self.storage.get_events_with_prev_content(&ids).await?;
        let events: HashMap<Arc<str>, Arc<Event>> =
            events.into_iter().map(|event| (Arc::clone(&event.event_id), event)).collect();
        for room_id in &*sync.joined_room_ids {
            let newly_joined = changes.newly_joined.contains(room_id);
            let page = pages.remove(room_id);
            let upto = page.as_ref().map_or_else(|| since.clone(), |page| sync.now.with_room(page.next.clone()));
            // A room without events keeps its lower bound: there is nothing before it to leave out.
            let since = (page.is_none() || !newly_joined).then(|| since.clone());
            let page = page.map(|page| page.events).unwrap_or_default();
            changes.entries.push(RoomEntry {
                room_id: Arc::clone(room_id),
                joined: true,
                events: Some(page.iter().rev().filter_map(|row| events.get(&row.event_id).cloned()).collect()),
                newly_joined,
                since,
                upto,
                end: sync.now.clone(),
                out_of_band: false,
            });
        }
        Ok(())
    }

    async fn initial_changes(&self, sync: &Sync<'_>) -> Result<RoomChanges> {
        let unwanted = self.unwanted_invites(&sync.user_id).await?;
        let rooms = self.storage.get_rooms_for_local_user_where_membership_is(&sync.user_id, &MEMBERSHIPS).await?;
        let mut changes = RoomChanges::default();
        let (mut invites, mut knocks) = (Vec::new(), Vec::new());
        for room in rooms {
            let known = room.room_version.as_deref().is_some_and(|version| RoomVersion::find(version).is_some());
            if !known || sync.excluded_room_ids.contains(&room.room_id) {
                continue;
            }
            let own_leave = &*room.membership == "leave" && room.sender == sync.user_id;
            let (joined, end) = match &*room.membership {
                "join" => (true, sync.now.clone()),
                "invite" if unwanted.are_from(&room.sender) => continue,
                "invite" => {
                    invites.push(room.event_id);
                    continue;
                }
                "knock" => {
                    knocks.push(room.event_id);
                    continue;
                }
                // That one was thrown out is always told.
                "leave" | "ban" if sync.filter.include_leave || !own_leave => {
                    (false, sync.now.with_room(RoomToken::Live(room.event_pos.stream.into())))
                }
                _ => continue,
            };
            changes.entries.push(RoomEntry {
                room_id: room.room_id,
                joined,
                events: None,
                newly_joined: false,
                since: None,
                upto: end.clone(),
                end,
                out_of_band: false,
            });
        }
        changes.invited = self.storage.get_events_as_list(&invites, myelin_storage::GetEvents::default()).await?;
        changes.knocked = self.storage.get_events_as_list(&knocks, myelin_storage::GetEvents::default()).await?;
        Ok(changes)
    }
}
