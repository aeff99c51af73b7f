//! What is remembered about accounts, tokens and devices, and the function names that make it stale.

use std::sync::Arc;

use hashbrown::HashSet;
use myelin_caches::{Cache, Registry};

use crate::CacheSizes;
use crate::devices::Device;
use crate::registration::{TokenLookupResult, UserInfo};

/// (user id, device id)
type DeviceKey = (Arc<str>, Arc<str>);

pub(crate) struct AuthCaches {
    pub(crate) tokens: Arc<Cache<Arc<str>, Option<Arc<TokenLookupResult>>>>,
    pub(crate) users: Arc<Cache<Arc<str>, Option<Arc<UserInfo>>>>,
    /// Ids of tokens that are known to be marked.
    pub(crate) used_tokens: Cache<i64, ()>,
    pub(crate) devices: Arc<Cache<DeviceKey, Option<Arc<Device>>>>,
    pub(crate) expiration: Arc<Cache<Arc<str>, Option<i64>>>,
    pub(crate) features: Arc<Cache<Arc<str>, Arc<HashSet<String>>>>,
    pub(crate) last_active: Arc<Cache<Arc<str>, Option<i64>>>,
    pub(crate) active_count: Arc<Cache<(), i64>>,
    /// Events per second; 0 is no limit, none is the usual one.
    pub(crate) ratelimits: Arc<Cache<Arc<str>, Option<i64>>>,
    /// By user and number.
    pub(crate) filters: Cache<(Arc<str>, i64), Arc<str>>,
}

impl AuthCaches {
    pub(crate) fn new(sizes: &CacheSizes, registry: &Registry) -> Self {
        let caches = Self {
            tokens: Arc::new(Cache::new(sizes.bytes(16 << 20), |token, found| {
                token.len() + if found.is_some() { 300 } else { 100 }
            })),
            users: Arc::new(Cache::new(sizes.bytes(16 << 20), |id, _| id.len() + 250)),
            used_tokens: Cache::new(sizes.bytes(4 << 20), |_, ()| 64),
            devices: Arc::new(Cache::new(sizes.bytes(8 << 20), |(user, device), _| user.len() + device.len() + 200)),
            expiration: Arc::new(Cache::new(sizes.bytes(4 << 20), |id, _| id.len() + 64)),
            features: Arc::new(Cache::new(sizes.bytes(4 << 20), |id, features| id.len() + 64 + features.len() * 64)),
            last_active: Arc::new(Cache::new(sizes.bytes(4 << 20), |id, _| id.len() + 64)),
            active_count: Arc::new(Cache::new(1024, |(), _| 64)),
            ratelimits: Arc::new(Cache::new(sizes.bytes(4 << 20), |id, _| id.len() + 64)),
            filters: Cache::new(sizes.bytes(8 << 20), |(user, _), filter| user.len() + filter.len() + 100),
        };
        caches.register(registry);
        caches
    }

    fn register(&self, registry: &Registry) {
        by_first_key(registry, "get_user_by_access_token", &self.tokens);
        // One row of `users` stands for what Synapse remembers under each of these.
        for name in [
            "get_user_by_id",
            "get_user_deactivated_status",
            "get_user_locked_status",
            "get_user_suspended_status",
            "is_guest",
            "is_real_user",
            "is_server_admin",
            "is_support_user",
        ] {
            by_first_key(registry, name, &self.users);
        }
        by_first_key(registry, "get_expiration_ts_for_user", &self.expiration);
        by_first_key(registry, "is_feature_enabled", &self.features);
        by_first_key(registry, "list_enabled_features", &self.features);
        by_first_key(registry, "user_last_seen_monthly_active", &self.last_active);
        by_first_key(registry, "get_ratelimit_for_user", &self.ratelimits);
        let count = Arc::clone(&self.active_count);
        registry.register("get_monthly_active_count", move |_| count.clear());
        let devices = Arc::clone(&self.devices);
        registry.register("get_device", move |keys| match keys {
            None | Some([]) => devices.clear(),
            Some([user]) => devices.invalidate_where(|(known, _)| &**known == *user),
            Some([user, device, ..]) => devices.invalidate(&(Arc::from(*user), Arc::from(*device))),
        });
    }
}

fn by_first_key<V: Clone + Send + Sync + 'static>(
    registry: &Registry,
    name: &'static str,
    cache: &Arc<Cache<Arc<str>, V>>,
) {
    let cache = Arc::clone(cache);
    registry.register(name, move |keys| match keys.and_then(<[&str]>::first) {
        Some(key) => cache.invalidate(*key),
        None => cache.clear(),
    });
}
