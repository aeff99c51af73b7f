//! Batched loading: what many callers miss at once becomes one statement.
//! Answers to `_BatchPersistQueue`'s reading twin, `_fetch_loop` in `storage/databases/main/events_worker.py`.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::cache::Cache;

/// A cache whose misses are loaded in batches. Keys that do not exist have no entry in the answer
/// and are asked for again the next time.
pub struct Loader<K, V> {
    cache: Cache<K, V>,
    /// Keys being loaded now.
    pending: Mutex<HashMap<K, Pending<V>>>,
}

struct Pending<V> {
    done: watch::Receiver<Outcome<V>>,
    /// Set by an invalidation: the value is delivered but not kept.
    stale: bool,
}

impl<V> Pending<V> {
    fn is_fed_by(&self, sender: &Sender<V>) -> bool {
        self.done.same_channel(&sender.subscribe())
    }
}

/// `None` while loading; then the value, its absence, or that the load failed.
type Outcome<V> = Option<Result<Option<V>, ()>>;
type Waiting<K, V> = Vec<(K, watch::Receiver<Outcome<V>>)>;
type Mine<K, V> = Vec<(K, Sender<V>)>;
type Sender<V> = watch::Sender<Outcome<V>>;

impl<K: Hash + Eq + Clone, V: Clone> Loader<K, V> {
    pub fn new(capacity: usize, weigh: fn(&K, &V) -> usize) -> Self {
        Self { cache: Cache::new(capacity, weigh), pending: Mutex::default() }
    }

    pub fn cache(&self) -> &Cache<K, V> {
        &self.cache
    }

    /// The values of `keys`: from the cache, from loads under way, and from one call of `load` for the rest.
    pub async fn get_many<E, F>(
        &self,
        keys: impl IntoIterator<Item = K>,
        load: impl Fn(Vec<K>) -> F,
    ) -> Result<HashMap<K, V>, E>
    where
        F: Future<Output = Result<HashMap<K, V>, E>>,
    {
        let mut found = HashMap::new();
        let mut missing = Vec::new();
        for key in keys {
            match self.cache.get(&key) {
                Some(value) => drop(found.insert(key, value)),
                None => missing.push(key),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let (mine, theirs) = self.claim(missing);
        if !mine.is_empty() {
            found.extend(self.load_mine(mine, &load).await?);
        }
        // Whoever we joined may have failed or been cancelled: then those keys are ours to load.
        let mut orphans = Vec::new();
        for (key, mut done) in theirs {
            let outcome = match done.wait_for(Option::is_some).await {
                Ok(value) => value.clone(),
                Err(_) => None,
            };
            match outcome {
                Some(Ok(Some(value))) => drop(found.insert(key, value)),
                Some(Ok(None)) => {}
                Some(Err(())) | None => orphans.push(key),
            }
        }
        if !orphans.is_empty() {
            found.extend(load(orphans).await?);
        }
        Ok(found)
    }

    async fn load_mine<E, F>(&self, mine: Mine<K, V>, load: impl Fn(Vec<K>) -> F) -> Result<HashMap<K, V>, E>
    where
        F: Future<Output = Result<HashMap<K, V>, E>>,
    {
        let claim = Claim { loader: self, mine };
        let result = load(claim.mine.iter().map(|(key, _)| key.clone()).collect()).await;
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, sender) in &claim.mine {
            let outcome = result.as_ref().map(|values| values.get(key).cloned()).map_err(|_| ());
            let fresh = pending.get(key).is_some_and(|entry| !entry.stale && entry.is_fed_by(sender));
            if let (true, Ok(Some(value))) = (fresh, &outcome) {
                self.cache.insert(key.clone(), value.clone());
            }
            sender.send_replace(Some(outcome));
        }
        drop(pending);
        result
    }

    fn claim(&self, keys: Vec<K>) -> (Mine<K, V>, Waiting<K, V>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut mine, mut theirs) = (Vec::new(), Vec::new());
        for key in keys {
            // A stale load may have read before the change: join only a fresh one.
            if let Some(entry) = pending.get(&key).filter(|entry| !entry.stale) {
                theirs.push((key, entry.done.clone()));
                continue;
            }
            let (sender, done) = watch::channel(None);
            pending.insert(key.clone(), Pending { done, stale: false });
            mine.push((key, sender));
        }
        (mine, theirs)
    }

    pub fn invalidate(&self, key: &K) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = pending.get_mut(key) {
            entry.stale = true;
        }
        self.cache.invalidate(key);
    }

    pub fn clear(&self) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.values_mut().for_each(|entry| entry.stale = true);
        self.cache.clear();
    }
}

/// The keys that one call loads; unregistered when it ends, also by cancellation.
struct Claim<'a, K: Hash + Eq + Clone, V: Clone> {
    loader: &'a Loader<K, V>,
    mine: Mine<K, V>,
}

impl<K: Hash + Eq + Clone, V: Clone> Drop for Claim<'_, K, V> {
    fn drop(&mut self) {
        let mut pending = self.loader.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, sender) in &self.mine {
            // After an invalidation somebody may have claimed the key anew: that entry stays.
            if pending.get(key).is_some_and(|entry| entry.is_fed_by(sender)) {
                pending.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn misses_of_concurrent_callers_are_loaded_once() {
        let loader: Loader<u32, u32> = Loader::new(1 << 16, |_, _| 8);
        let loaded = AtomicUsize::new(0);
        let load = |keys: Vec<u32>| {
            loaded.fetch_add(keys.len(), Ordering::SeqCst);
            async move {
                tokio::task::yield_now().await;
                Ok::<_, ()>(keys.into_iter().map(|k| (k, k * 2)).collect())
            }
        };
        let (a, b) = tokio::join!(loader.get_many([1, 2, 3], load), loader.get_many([2, 3, 4], load));
        assert_eq!(a.unwrap().len(), 3);
        assert_eq!(b.unwrap()[&3], 6);
        assert_eq!(loaded.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn a_stale_load_is_not_kept() {
        let loader: Loader<u32, u32> = Loader::new(1 << 16, |_, _| 8);
        let load = |keys: Vec<u32>| {
            loader.invalidate(&1);
            async move { Ok::<_, ()>(keys.into_iter().map(|k| (k, k)).collect()) }
        };
        assert_eq!(loader.get_many([1, 2], load).await.unwrap().len(), 2);
        assert_eq!((loader.cache().get(&1), loader.cache().get(&2)), (None, Some(2)));
    }
}
