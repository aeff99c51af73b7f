//! What is remembered about users, and the function names that make it stale. Answers to the `@cached` functions
//! of `account_data.py`, `tags.py`, `push_rule.py`, `end_to_end_keys.py` and `presence.py`.

use std::hash::Hash;
use std::sync::Arc;

use hashbrown::HashMap;
use myelin_caches::{Cache, Registry};
use myelin_model::presence::PresenceState;

use crate::account_data::{AccountDatum, GlobalAccountData, RoomAccountData, Tags};
use crate::device_lists::{RoomChanges, RoomChangesKey};
use crate::e2e_device_keys::CrossSigningKeys;
use crate::end_to_end_keys::{FallbackKeyTypes, KeyCounts};
use crate::event_push_actions::UnreadRows;
use crate::push_rule::PushRuleRows;
use crate::receipts::ReceiptInRoom;
use crate::room_caches::{ById, by_first_key, by_id, by_key};
use crate::{CacheSizes, Groups, Loader};

/// By room and within it.
type ByRoom<K, V> = Arc<Groups<Arc<str>, K, V>>;

pub(crate) struct UserCaches {
    pub(crate) account_data: ById<GlobalAccountData>,
    pub(crate) room_account_data: ById<RoomAccountData>,
    pub(crate) tags: ById<Tags>,
    pub(crate) push_rules: ById<Arc<PushRuleRows>>,
    /// By user; each holds all devices.
    pub(crate) one_time_keys: ById<Arc<KeyCounts>>,
    pub(crate) fallback_keys: ById<Arc<FallbackKeyTypes>>,
    pub(crate) cross_signing_keys: Arc<Loader<Arc<str>, CrossSigningKeys>>,
    pub(crate) full_presence: ById<Option<i64>>,
    pub(crate) presence: Arc<Loader<Arc<str>, Option<Arc<PresenceState>>>>,
    /// By room and user.
    pub(crate) unread: ByRoom<Arc<str>, UnreadRows>,
    /// By room and lower bound.
    pub(crate) receipts: ByRoom<i64, Arc<[ReceiptInRoom]>>,
    pub(crate) device_changes: Arc<Loader<RoomChangesKey, RoomChanges>>,
    /// (user, device) to the position up to which its messages were deleted by this process.
    pub(crate) deleted_to_device: Cache<(Arc<str>, Arc<str>), i64>,
}

impl UserCaches {
    pub(crate) fn new(sizes: &CacheSizes, registry: &Registry) -> Self {
        let (small, large) = (sizes.bytes(8 << 20), sizes.bytes(32 << 20));
        let caches = Self {
            account_data: by_id(large, |_, data| 64 + weigh(data)),
            room_account_data: by_id(large, |_, rooms| 64 + weigh_rooms(rooms)),
            tags: by_id(small, |_, rooms| 64 + weigh_rooms(rooms)),
            push_rules: by_id(small, |_, rules| rules.weight()),
            one_time_keys: by_id(small, |_, devices| 64 + devices.len() * 200),
            fallback_keys: by_id(small, |_, devices| 64 + devices.len() * 100),
            cross_signing_keys: Arc::new(Loader::new(large, |id: &Arc<str>, keys: &CrossSigningKeys| {
                id.len() + 64 + keys.values().map(|key| key.json.get().len() + 150).sum::<usize>()
            })),
            full_presence: by_id(small, |id, _| id.len() + 64),
            presence: Arc::new(Loader::new(small, |id: &Arc<str>, state: &Option<Arc<PresenceState>>| {
                id.len() + 64 + state.as_ref().map_or(0, |_| 200)
            })),
            unread: Arc::new(Groups::new(large, |_, rows: &UnreadRows| 200 + rows.len() * 100)),
            receipts: Arc::new(Groups::new(large, |_, receipts: &Arc<[ReceiptInRoom]>| {
                200 + receipts.iter().map(ReceiptInRoom::weight).sum::<usize>()
            })),
            device_changes: Arc::new(Loader::new(small, |_, changes: &RoomChanges| {
                300 + changes.as_ref().map_or(0, |list| list.len() * 100)
            })),
            deleted_to_device: Cache::new(small, |(user, device), _| user.len() + device.len() + 64),
        };
        caches.register(registry);
        caches
    }

    fn register(&self, registry: &Registry) {
        by_first_key(registry, "get_global_account_data_for_user", &self.account_data);
        by_first_key(registry, "get_room_account_data_for_user", &self.room_account_data);
        by_first_key(registry, "get_tags_for_user", &self.tags);
        by_first_key(registry, "get_push_rules_for_user", &self.push_rules);
        by_first_key(registry, "count_e2e_one_time_keys", &self.one_time_keys);
        by_first_key(registry, "get_e2e_unused_fallback_key_types", &self.fallback_keys);
        by_key(registry, "_get_bare_e2e_cross_signing_keys", &self.cross_signing_keys);
        by_first_key(registry, "_get_full_presence_stream_token_for_user", &self.full_presence);
        by_key(registry, "_get_presence_for_user", &self.presence);
        by_room(registry, "_get_linearized_receipts_for_room", &self.receipts, |_| None);
        by_room(registry, "get_unread_event_push_actions_by_room_for_user", &self.unread, |user| Some(Arc::from(user)));
    }
}

/// `second`: what the second key stands for, or nothing if the whole room is then stale.
fn by_room<K, V>(registry: &Registry, name: &'static str, groups: &ByRoom<K, V>, second: fn(&str) -> Option<K>)
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    let (groups, watched) = (Arc::clone(groups), Arc::clone(groups));
    registry.watch(name, move || watched.stats());
    registry.register(name, move |keys| match keys {
        None | Some([]) => groups.clear(),
        Some([room_id, rest @ ..]) => match rest.first().and_then(|key| second(key)) {
            Some(key) => groups.invalidate(&Arc::from(*room_id), &key),
            None => groups.invalidate_group(&Arc::from(*room_id)),
        },
    });
}

fn weigh(data: &[AccountDatum]) -> usize {
    data.iter().map(|(kind, content)| kind.len() + content.len() + 64).sum()
}

fn weigh_rooms(rooms: &HashMap<Arc<str>, Vec<AccountDatum>>) -> usize {
    rooms.iter().map(|(room_id, data)| room_id.len() + 64 + weigh(data)).sum()
}
