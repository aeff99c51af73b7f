//! One bounded cache with single flight. Answers to `synapse/util/caches/descriptors.py`.

use std::borrow::Borrow;
use std::future::Future;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;
use quick_cache::DefaultHashBuilder;
use tokio::sync::OnceCell;

/// Entries are weighed in bytes; the least used go first.
///
/// Invariant: a value whose key was invalidated while it was being loaded reaches its waiters
/// but never the cache.
pub struct Cache<K, V> {
    entries: quick_cache::sync::Cache<K, V, Weigh<K, V>, DefaultHashBuilder, Evictions>,
    in_flight: Mutex<HashMap<K, Arc<Flight<V>>>>,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: Evictions,
}

/// What a cache did since the start, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub entries: usize,
    pub bytes: u64,
    pub max_bytes: u64,
    pub hits: u64,
    pub misses: u64,
    /// Entries that made room for others.
    pub evicted: u64,
}

/// Counts what had to make room.
#[derive(Clone, Debug, Default)]
struct Evictions(Arc<AtomicU64>);

impl<K, V> quick_cache::Lifecycle<K, V> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: K, _: V) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Flight<V> {
    cell: OnceCell<V>,
}

type WeighFn<K, V> = fn(&K, &V) -> usize;

struct Weigh<K, V>(WeighFn<K, V>);

impl<K, V> Clone for Weigh<K, V> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<K, V> quick_cache::Weighter<K, V> for Weigh<K, V> {
    fn weight(&self, key: &K, value: &V) -> u64 {
        // A weight of 0 would never be evicted.
        (self.0)(key, value).max(1) as u64
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    /// `capacity`: bytes in all; `weigh`: bytes of one entry.
    pub fn new(capacity: usize, weigh: WeighFn<K, V>) -> Self {
        let items = (capacity / 512).clamp(16, 1 << 20);
        let evictions = Evictions::default();
        let (bytes, hasher) = (capacity as u64, DefaultHashBuilder::default());
        Self {
            entries: quick_cache::sync::Cache::with(items, bytes, Weigh(weigh), hasher, evictions.clone()),
            in_flight: Mutex::default(),
            hits: AtomicU64::default(),
            misses: AtomicU64::default(),
            evictions,
        }
    }

    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let found = self.entries.get(key);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Puts in a value that is known to be current, for example one carried by its own stream.
    pub fn insert(&self, key: K, value: V) {
        self.entries.insert(key, value);
    }

    /// The cached value, or the one `load` gives; concurrent callers of one key share one `load`.
    pub async fn get_or_load<E, F>(&self, key: K, load: impl FnOnce() -> F) -> Result<V, E>
    where
        F: Future<Output = Result<V, E>>,
    {
        if let Some(value) = self.get(&key) {
            return Ok(value);
        }
        let flight = self.join_flight(&key);
        let result = flight.cell.get_or_try_init(load).await.cloned();
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        // Only the flight that is still registered may land: an invalidation unregisters it.
        if in_flight.get(&key).is_some_and(|current| Arc::ptr_eq(current, &flight)) {
            in_flight.remove(&key);
            if let Ok(value) = &result {
                self.entries.insert(key, value.clone());
            }
        }
        result
    }

    fn join_flight(&self, key: &K) -> Arc<Flight<V>> {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        // A cancelled load leaves its entry behind: the next caller of the key takes it over.
        let flight = in_flight.entry(key.clone()).or_insert_with(|| Arc::new(Flight { cell: OnceCell::new() }));
        Arc::clone(flight)
    }

    pub fn invalidate<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        in_flight.remove(key);
        self.entries.remove(key);
    }

    /// Drops each entry of which `stale` says so: prefix invalidation.
    pub fn invalidate_where(&self, stale: impl Fn(&K) -> bool) {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        in_flight.retain(|key, _| !stale(key));
        self.entries.retain(|key, _| !stale(key));
    }

    /// Drops each entry whose value is stale; what is being loaded is not kept, for its value is not known yet.
    pub fn invalidate_values(&self, stale: impl Fn(&V) -> bool) {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        in_flight.clear();
        self.entries.retain(|_, value| !stale(value));
    }

    pub fn clear(&self) {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        in_flight.clear();
        self.entries.clear();
    }

    pub fn stats(&self) -> Stats {
        Stats {
            entries: self.entries.len(),
            bytes: self.entries.weight(),
            max_bytes: self.entries.capacity(),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evicted: self.evictions.0.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::atomic::AtomicUsize;

    fn cache() -> Arc<Cache<String, u32>> {
        Arc::new(Cache::new(1 << 20, |key, _| key.len()))
    }

    #[tokio::test]
    async fn one_load_serves_all_callers() {
        let (cache, loads) = (cache(), Arc::new(AtomicUsize::new(0)));
        let call = || {
            let (cache, loads) = (Arc::clone(&cache), Arc::clone(&loads));
            async move {
                let load = || async {
                    loads.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Ok::<_, Infallible>(7)
                };
                cache.get_or_load("k".to_owned(), load).await
            }
        };
        let (a, b, c) = tokio::join!(call(), call(), call());
        assert_eq!((a, b, c), (Ok(7), Ok(7), Ok(7)));
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_value_invalidated_while_loading_is_not_kept() {
        let cache = cache();
        let inner = Arc::clone(&cache);
        let load = || async move {
            inner.invalidate("k");
            Ok::<_, Infallible>(1)
        };
        assert_eq!(cache.get_or_load("k".to_owned(), load).await, Ok(1));
        assert_eq!(cache.get("k"), None);
    }

    #[test]
    fn stats_count() {
        let cache: Cache<u32, ()> = Cache::new(1 << 10, |_, ()| 100);
        for key in 0..100 {
            assert_eq!(cache.get(&key), None);
            cache.insert(key, ());
        }
        cache.get(&99);
        let stats = cache.stats();
        assert_eq!((stats.hits + stats.misses, stats.max_bytes), (101, 1 << 10));
        assert!(stats.entries > 0 && stats.bytes <= 1 << 10, "{stats:?}");
        assert_eq!(stats.evicted, 100 - stats.entries as u64);
    }

    #[tokio::test]
    async fn errors_are_not_kept() {
        let cache = cache();
        assert_eq!(cache.get_or_load("k".to_owned(), || async { Err("no") }).await, Err("no"));
        assert_eq!(cache.get_or_load("k".to_owned(), || async { Ok::<_, &str>(2) }).await, Ok(2));
        assert_eq!(cache.get("k"), Some(2));
    }
}
