//! What is remembered about rooms and their members, and the function names that make it stale.
//! Answers to `_invalidate_state_caches` in `synapse/storage/_base.py`.

use std::hash::Hash;
use std::sync::Arc;

use hashbrown::HashSet;
use myelin_caches::{Cache, Registry};
use myelin_model::state_filter::{StateKey, StateMap};

use crate::relations::{References, ThreadSummary};
use crate::roommember::{IdSet, RoomSummary, RoomsForUser};
use crate::state_groups::StateGroups;
use crate::{CacheSizes, Groups, Loader};

pub(crate) type ById<V> = Arc<Cache<Arc<str>, V>>;
pub(crate) type AuthEdges = Loader<Arc<str>, Arc<[Arc<str>]>>;
/// Ids by id.
pub(crate) type Ids = Arc<Loader<Arc<str>, IdSet>>;

pub(crate) struct RoomCaches {
    pub(crate) state_groups: Arc<StateGroups>,
    /// Event id to state group; changes only when partial state is completed.
    pub(crate) state_group_of: Arc<Loader<Arc<str>, i64>>,
    pub(crate) current_state: ById<Arc<StateMap>>,
    pub(crate) room_summary: ById<Arc<RoomSummary>>,
    /// By room the event ids of single keys of its current state.
    pub(crate) current_state_event: Arc<Groups<Arc<str>, StateKey, Option<Arc<str>>>>,
    /// Whether anybody of a server is in a room.
    pub(crate) hosts_joined: Arc<Groups<Arc<str>, Arc<str>, bool>>,
    /// The events of the room's graph that entitled an event.
    pub(crate) event_auth: Arc<AuthEdges>,
    pub(crate) joined_users: Ids,
    pub(crate) profiles: ById<Arc<[u8]>>,
    pub(crate) memberships_of: ById<Arc<Vec<RoomsForUser>>>,
    pub(crate) rooms_of: Ids,
    pub(crate) forgotten_by: ById<Arc<HashSet<Arc<str>>>>,
    pub(crate) ignored_by: ById<Arc<HashSet<Arc<str>>>>,
    pub(crate) blocked: ById<bool>,
    pub(crate) erased: Arc<Loader<Arc<str>, bool>>,
    /// All of them: they are few.
    pub(crate) partial_state: Arc<Cache<(), Arc<HashSet<Arc<str>>>>>,
    /// `max_lifetime` of a room's `m.room.retention`.
    pub(crate) max_lifetime: Arc<Loader<Arc<str>, Option<i64>>>,
    pub(crate) references: Arc<Loader<Arc<str>, References>>,
    pub(crate) edits: Arc<Loader<Arc<str>, Option<Arc<str>>>>,
    pub(crate) threads: Arc<Loader<Arc<str>, Option<ThreadSummary>>>,
    pub(crate) thread_writers: Ids,
}

impl RoomCaches {
    pub(crate) fn new(sizes: &CacheSizes, registry: &Registry) -> Self {
        let ids = sizes.bytes(16 << 20);
        let caches = Self {
            state_groups: StateGroups::new(sizes, registry),
            state_group_of: Arc::new(Loader::new(ids, |id: &Arc<str>, _| id.len() + 64)),
            current_state: by_id(sizes.bytes(64 << 20), |_, state| 64 + state.len() * 150),
            room_summary: by_id(ids, |_, _| 1024),
            current_state_event: Arc::new(Groups::new(ids, |_, _| 300)),
            hosts_joined: Arc::new(Groups::new(ids, |(_, room_id, host), _| room_id.len() + host.len() + 100)),
            event_auth: Arc::new(Loader::new(sizes.bytes(64 << 20), |id: &Arc<str>, auth: &Arc<[Arc<str>]>| {
                id.len() + auth.len() * 64 + 100
            })),
            joined_users: Arc::new(Loader::new(sizes.bytes(32 << 20), |_, users: &IdSet| 64 + users.len() * 64)),
            profiles: by_id(sizes.bytes(32 << 20), |_, json| 64 + json.len()),
            memberships_of: by_id(sizes.bytes(32 << 20), |_, rooms| 64 + rooms.len() * 250),
            rooms_of: Arc::new(Loader::new(ids, |_, rooms: &IdSet| 64 + rooms.len() * 64)),
            forgotten_by: by_id(ids, |_, rooms| 64 + rooms.len() * 64),
            ignored_by: by_id(ids, |_, users| 64 + users.len() * 64),
            blocked: by_id(ids, |id, _| id.len() + 64),
            erased: Arc::new(Loader::new(ids, |id: &Arc<str>, _| id.len() + 64)),
            partial_state: Arc::new(Cache::new(ids, |(), rooms| 64 + rooms.len() * 64)),
            max_lifetime: Arc::new(Loader::new(ids, |id: &Arc<str>, _| id.len() + 64)),
            references: Arc::new(Loader::new(ids, |_, list: &References| 100 + list.len() * 150)),
            edits: Arc::new(Loader::new(ids, |_, _| 200)),
            threads: Arc::new(Loader::new(ids, |_, _| 200)),
            thread_writers: Arc::new(Loader::new(ids, |_, users| 200 + users.len() * 64)),
        };
        caches.register(registry);
        caches
    }

    fn register(&self, registry: &Registry) {
        by_first_key(registry, "get_partial_current_state_ids", &self.current_state);
        by_first_key(registry, "get_room_summary", &self.room_summary);
        by_group(registry, "_get_current_state_event_id", &self.current_state_event);
        by_group(registry, "is_host_joined", &self.hosts_joined);
        let event_auth = Arc::clone(&self.event_auth);
        registry.watch("*Event auth cache*", move || event_auth.cache().stats());
        by_key(registry, "get_users_in_room", &self.joined_users);
        by_first_key(registry, "get_users_in_room_with_profiles", &self.profiles);
        by_first_key(registry, "_get_rooms_for_local_user_where_membership_is_inner", &self.memberships_of);
        by_key(registry, "get_rooms_for_user", &self.rooms_of);
        by_first_key(registry, "get_forgotten_rooms_for_user", &self.forgotten_by);
        by_first_key(registry, "ignored_users", &self.ignored_by);
        let (partial_state, watched) = (Arc::clone(&self.partial_state), Arc::clone(&self.partial_state));
        registry.watch("is_partial_state_room", move || watched.stats());
        registry.register("is_partial_state_room", move |_| partial_state.clear());
        by_key(registry, "_get_state_group_for_event", &self.state_group_of);
        by_first_key(registry, "is_room_blocked", &self.blocked);
        by_key(registry, "is_user_erased", &self.erased);
        by_key(registry, "get_retention_policy_for_room", &self.max_lifetime);
        by_key(registry, "get_references_for_event", &self.references);
        by_key(registry, "get_applicable_edit", &self.edits);
        by_key(registry, "get_thread_summary", &self.threads);
        by_key(registry, "get_thread_participated", &self.thread_writers);
    }
}

pub(crate) fn by_id<V: Clone>(bytes: usize, weigh: fn(&Arc<str>, &V) -> usize) -> ById<V> {
    Arc::new(Cache::new(bytes, weigh))
}

pub(crate) fn by_first_key<V: Clone + Send + Sync + 'static>(registry: &Registry, name: &'static str, cache: &ById<V>) {
    let (cache, watched) = (Arc::clone(cache), Arc::clone(cache));
    registry.watch(name, move || watched.stats());
    registry.register(name, move |keys| match keys.and_then(<[&str]>::first) {
        Some(key) => cache.invalidate(*key),
        None => cache.clear(),
    });
}

pub(crate) fn by_key<V: Clone + Send + Sync + 'static>(
    registry: &Registry,
    name: &'static str,
    cache: &Arc<Loader<Arc<str>, V>>,
) {
    let (cache, watched) = (Arc::clone(cache), Arc::clone(cache));
    registry.watch(name, move || watched.cache().stats());
    registry.register(name, move |keys| match keys.and_then(<[&str]>::first) {
        Some(key) => cache.invalidate(&Arc::from(*key)),
        None => cache.clear(),
    });
}

/// Everything of the function's first argument: what else it depends on is the key within the group.
fn by_group<K, V>(registry: &Registry, name: &'static str, groups: &Arc<Groups<Arc<str>, K, V>>)
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    let (groups, watched) = (Arc::clone(groups), Arc::clone(groups));
    registry.watch(name, move || watched.stats());
    registry.register(name, move |keys| match keys.and_then(<[&str]>::first) {
        Some(key) => groups.invalidate_group(&Arc::from(*key)),
        None => groups.clear(),
    });
}
