//! The frame of one answer. Answers to `generate_sync_result`, `get_sync_result_builder` and
//! `calculate_user_changes` in `synapse/handlers/sync.py`.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use myelin_live::Changed;
use myelin_model::{Event, MatrixError, StreamToken};
use myelin_storage::GetEvents;
use myelin_storage::roommember::IdSet;
use myelin_storage::sticky_events::StickyEvents;

use super::lazy::DeviceKey;
use super::rooms::Rooms;
use super::{SyncConfig, SyncResult};
use crate::filter::FilterCollection;
use crate::sections::device_lists::{self, DeviceLists};
use crate::sections::profile_updates::ProfileUpdates;
use crate::{Handlers, Result, now_ms};

/// One look at a user's world, from `since` to `now`.
pub(super) struct Sync<'a> {
    pub config: &'a SyncConfig,
    pub user_id: Arc<str>,
    pub filter: &'a FilterCollection,
    pub since: Option<&'a StreamToken>,
    pub now: StreamToken,
    pub joined_room_ids: IdSet,
    pub excluded_room_ids: HashSet<Arc<str>>,
    /// Rooms whose state became complete meanwhile: earlier answers left them out.
    pub forced_newly_joined: HashSet<Arc<str>>,
    /// The user's own membership events within the bounds, oldest first.
    pub membership_changes: Vec<Arc<Event>>,
    /// New ones of the joined rooms.
    pub sticky: StickyEvents,
}

impl<'a> Sync<'a> {
    pub fn device_key(&self) -> DeviceKey {
        (Arc::clone(&self.user_id), self.config.requester.device_id.clone())
    }

    /// The lower bound of everything that is sent whole with `full_state`.
    pub fn since_unless_full(&self) -> Option<&'a StreamToken> {
        self.since.filter(|_| !self.config.full_state)
    }
}

impl Handlers {
    pub(super) async fn generate_sync_result(
        &self,
        config: &SyncConfig,
        since: Option<&StreamToken>,
    ) -> Result<SyncResult> {
        let user_id = &config.requester.user_id;
        if self.config.app_services.iter().any(|service| service.sender == **user_id) {
            // Synapse: application services cannot sync, and are told so by an exception.
            return Err(MatrixError::internal("an application service asked for /sync"));
        }
        let sync = self.sync_builder(config, since).await?;
        let (filter, now) = (sync.filter, &sync.now);

        let data = self.account_data_for_sync(user_id, sync.since_unless_full(), now).await?;
        let mut account_data = data.global;
        filter.filter_global_account_data(&mut account_data);

        let presence = &self.config.server.presence;
        // When presence was switched off, clients still have to learn that everybody is offline.
        let has_presence = presence.enabled || since.is_some_and(|since| since.presence < now.presence);
        let wants_presence = has_presence && !filter.blocks_all_presence();
        let rooms = if self.wants_no_rooms(config, since) {
            Rooms::default()
        } else {
            self.sync_rooms(&sync, data.rooms).await?
        };
        let (mut presence_items, mut device_lists) = (Vec::new(), DeviceLists::default());
        if wants_presence || since.is_some() {
            let changes = if since.is_some() { self.user_changes(&rooms).await? } else { UserChanges::default() };
            if wants_presence {
                let offline = presence.include_offline_users_on_sync || sync.since_unless_full().is_some();
                let (joined_rooms, joined_users) = (&rooms.newly_joined, &changes.joined);
                presence_items = self
                    .presence_for_sync(
                        &config.requester,
                        sync.since_unless_full(),
                        now,
                        (joined_rooms, joined_users),
                        offline,
                        now_ms(),
                    )
                    .await?;
                filter.filter_presence(&mut presence_items);
            }
            // Synapse: meant to leave out tokens without this field, but a position is never false.
            if let Some(since) = since {
                let changes = device_lists::Changes {
                    joined_rooms: &sync.joined_room_ids,
                    newly_joined_rooms: &rooms.newly_joined,
                    newly_left_rooms: &rooms.newly_left,
                    newly_joined_users: &changes.joined,
                    newly_left_users: &changes.left,
                };
                device_lists = self.device_lists_for_sync(user_id, since, now, changes).await?;
            }
        }
        let (to_device, to_device_position) = self.to_device_for_sync(&config.requester, since, now).await?;
        let one_time_keys = self.one_time_keys(config).await?;
        let profile_updates = self.profile_updates(&sync, &rooms).await?;
        Ok(SyncResult {
            next_batch: StreamToken {
                to_device: to_device_position,
                newer: since.and_then(|since| since.newer.clone()),
                ..sync.now
            },
            presence: presence_items,
            account_data,
            joined: rooms.joined,
            invited: rooms.invited,
            knocked: rooms.knocked,
            archived: rooms.archived,
            to_device,
            device_lists,
            one_time_keys,
            profile_updates,
        })
    }

    async fn sync_builder<'a>(&self, config: &'a SyncConfig, since: Option<&'a StreamToken>) -> Result<Sync<'a>> {
        let user_id = Arc::clone(&config.requester.user_id);
        // The rooms are read before "now" is taken: a room joined in between is seen as a change.
        let before = self.live.current_token();
        // Mostly the cache's own: there may be very many, and every copy counts its holders anew.
        let mut joined = self.storage.get_rooms_for_user(&user_id).await?;
        let now = StreamToken::clone(&*self.live.current_token());
        let mut excluded: HashSet<Arc<str>> =
            self.config.server.exclude_rooms_from_sync.iter().map(|room_id| Arc::from(&**room_id)).collect();
        let mut changes = match since {
            Some(since) => self.membership_changes(&user_id, since, &now).await?,
            None => Vec::new(),
        };
        let last: HashMap<&Arc<str>, &Arc<Event>> = changes.iter().map(|event| (&event.room_id, event)).collect();
        for (room_id, event) in last {
            if event.position.stream < before.room.position().base {
                continue;
            }
            if event.membership() != Some("join") {
                Arc::make_mut(&mut joined).remove(room_id);
            } else if self.storage.get_users_in_room(room_id).await?.contains(&user_id) {
                Arc::make_mut(&mut joined).insert(Arc::clone(room_id));
            }
        }
        let mut forced_newly_joined = HashSet::new();
        if !config.filter.lazy_load_members() {
            // Whoever does not load members lazily must not see a room before its state is complete.
            let partial = self.storage.partial_state_rooms().await?;
            excluded.extend(joined.iter().filter(|room_id| partial.contains(*room_id)).cloned());
            changes.retain(|event| !partial.contains(&event.room_id));
            if let Some(since) = since {
                let (lower, upper) = (since.un_partial_stated_rooms, now.un_partial_stated_rooms);
                let completed = self.storage.un_partial_stated_rooms_between(lower, upper, &joined).await?;
                forced_newly_joined.extend(completed.into_iter().filter(|room_id| !partial.contains(room_id)));
            }
        }
        if !joined.is_disjoint(&excluded) {
            Arc::make_mut(&mut joined).retain(|room_id| !excluded.contains(room_id));
        }
        let nothing = IdSet::default();
        let sticky_in = if self.wants_no_rooms(config, since) { &nothing } else { &joined };
        let (sticky_events, sticky) = self.sticky_events_by_room(sticky_in, since, &now).await?;
        Ok(Sync {
            config,
            user_id,
            filter: &config.filter,
            since,
            now: StreamToken { sticky_events, ..now },
            joined_room_ids: joined,
            excluded_room_ids: excluded,
            forced_newly_joined,
            membership_changes: changes,
            sticky,
        })
    }

    /// Rooms are also looked at for whose presence and devices are of interest.
    fn wants_no_rooms(&self, config: &SyncConfig, since: Option<&StreamToken>) -> bool {
        let has_presence = self.config.server.presence.enabled && !config.filter.blocks_all_presence();
        since.is_none() && config.filter.blocks_all_rooms() && !has_presence
    }

    /// With the senders of a client that loads members lazily.
    async fn profile_updates(&self, sync: &Sync<'_>, rooms: &Rooms) -> Result<ProfileUpdates> {
        let mut senders = HashSet::new();
        if sync.filter.lazy_load_members() {
            let shown = rooms.joined.iter().map(|joined| &joined.room).chain(&rooms.archived);
            let events = shown.flat_map(|room| &room.timeline.events).map(|visible| &visible.event);
            let all = events.chain(&rooms.invited).chain(&rooms.knocked).map(|event| &event.sender);
            senders.extend(all.filter(|sender| self.is_mine(sender)).cloned());
        }
        let bounds = (sync.since.map(|since| since.profile_updates), sync.now.profile_updates);
        self.profile_updates_for_sync(&sync.device_key(), &sync.filter.profile_fields, &senders, bounds).await
    }

    async fn membership_changes(
        &self,
        user_id: &str,
        since: &StreamToken,
        now: &StreamToken,
    ) -> Result<Vec<Arc<Event>>> {
        let (lower, upper) = (since.room.position(), now.room.position());
        if !self.live.may_have_changed(Changed::UserMembership, user_id, lower.base) {
            return Ok(Vec::new());
        }
        let excluded = &self.config.server.exclude_rooms_from_sync;
        let ids = self.storage.membership_changes_for_user(user_id, &lower, &upper, excluded).await?;
        Ok(self.storage.get_events_as_list(&ids, GetEvents::default()).await?)
    }

    /// Synapse: whether somebody was there before is read off `prev_content`, which an event of the state has only if
    /// some earlier request put it there. Here it is always known.
    async fn user_changes(&self, rooms: &Rooms) -> Result<UserChanges> {
        let events: Vec<&Arc<Event>> = rooms
            .joined
            .iter()
            .map(|joined| &joined.room)
            .flat_map(|room| room.state.values().chain(room.timeline.events.iter().map(|visible| &visible.event)))
            .collect();
        let gone = events.iter().filter(|event| matches!(event.membership(), Some("leave" | "ban")));
        let ids: Vec<Arc<str>> = gone.filter_map(|event| replaces(event)).map(Arc::from).collect();
        let prev = self.storage.get_events(&ids, GetEvents::default()).await?;
        // Synapse: the last event of all rooms counts, in whatever order they were finished. Who joined one room and
        // left another is new here, so that no device is missed.
        let mut changes = UserChanges::default();
        for room in events.chunk_by(|a, b| a.room_id == b.room_id) {
            let mut here = UserChanges::default();
            for event in room {
                here.note(event, &prev);
            }
            changes.joined.extend(here.joined);
            changes.left.extend(here.left);
        }
        changes.left.retain(|user_id| !changes.joined.contains(user_id));
        Ok(changes)
    }
}

/// The event that this one took the place of.
fn replaces(event: &Event) -> Option<&str> {
    event.unsigned.replaces_state.as_deref()
}

/// Whose membership of the joined rooms changed.
#[derive(Default)]
struct UserChanges {
    /// Joined, invited or knocked.
    joined: HashSet<Arc<str>>,
    left: HashSet<Arc<str>>,
}

impl UserChanges {
    /// The later of two changes counts. `prev` knows events that were replaced.
    fn note(&mut self, event: &Event, prev: &HashMap<Arc<str>, Arc<Event>>) {
        let (Some(membership), Some(user_id)) = (event.membership(), &event.state_key) else { return };
        if matches!(membership, "join" | "invite" | "knock") {
            self.joined.insert(Arc::clone(user_id));
            self.left.remove(user_id);
        } else {
            let before = replaces(event).and_then(|event_id| prev.get(event_id)).and_then(|event| event.membership());
            if before == Some("join") {
                self.left.insert(Arc::clone(user_id));
            }
            self.joined.remove(user_id);
        }
    }
}
