//! Batched loading: what many callers miss at once becomes one statement.
//! Answers to `_fetch_loop` in `storage/databases/main/events_worker.py`, which does so for events.

use std::borrow::Borrow;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hashbrown::HashMap;
use tokio::sync::{Semaphore, watch};

use crate::cache::Cache;
use crate::usage;

/// Loads of one `Loader` that run at once. Whoever comes meanwhile shares the next load.
const LOADS_AT_ONCE: usize = 4;
/// Keys of one load.
const MAX_KEYS: usize = 5_000;

/// A cache whose misses are loaded in batches. Keys that do not exist have no entry in the answer
/// and are asked for again the next time.
///
/// No timer: a load starts as soon as a turn is free, with all keys that were missed until then. Loads run as
/// tasks of their own, so that nobody waits for a caller that went away or is not polled.
pub struct Loader<K, V, E> {
    cache: Cache<K, V>,
    misses: Mutex<Misses<K, V, E>>,
    turns: Semaphore,
    /// Whether values are kept, and shared with callers that come while they are being loaded.
    kept: bool,
}

struct Misses<K, V, E> {
    /// What the next load takes.
    queued: HashMap<K, Slot<V, E>>,
    /// A task is about to take `queued`.
    scheduled: bool,
    /// What is being loaded. An invalidated key is taken out: its value is delivered but not kept, and nobody
    /// joins it any more.
    loading: HashMap<K, Weak<watch::Sender<Outcome<V, E>>>>,
}

/// Where a value is delivered to everybody who waits for it.
type Slot<V, E> = Arc<watch::Sender<Outcome<V, E>>>;
/// `None` while waiting; then the value, its absence, or why the load failed.
type Outcome<V, E> = Option<Result<Option<V>, E>>;
type Slots<K, V, E> = Vec<(K, Slot<V, E>)>;
type Waiting<K, V, E> = Vec<(K, watch::Receiver<Outcome<V, E>>)>;

impl<K, V, E> Loader<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    /// `capacity`: bytes in all; `weigh`: bytes of one entry.
    pub fn new(capacity: usize, weigh: fn(&K, &V) -> usize) -> Self {
        let misses = Misses { queued: HashMap::new(), scheduled: false, loading: HashMap::new() };
        Self {
            cache: Cache::new(capacity, weigh),
            misses: Mutex::new(misses),
            turns: Semaphore::new(LOADS_AT_ONCE),
            kept: true,
        }
    }

    /// For values that nothing invalidates: callers share loads that have not begun, and nothing is kept.
    pub fn uncached() -> Self {
        Self { kept: false, ..Self::new(0, |_, _| 1) }
    }

    pub fn cache(&self) -> &Cache<K, V> {
        &self.cache
    }

    /// The value of one key, as `get_many` gives it.
    pub async fn get<Q, S, F>(
        self: &Arc<Self>,
        key: &Q,
        source: &S,
        load: impl Fn(S, Vec<K>) -> F + Copy + Send + Sync + 'static,
    ) -> Result<Option<V>, E>
    where
        K: Borrow<Q> + for<'a> From<&'a Q>,
        Q: Hash + Eq + Sync + ?Sized,
        S: Clone + Send + Sync + 'static,
        F: Future<Output = Result<HashMap<K, V>, E>> + Send + 'static,
    {
        if let Some(value) = self.kept.then(|| self.cache.get(key)).flatten() {
            return Ok(Some(value));
        }
        let mut found = self.get_many([K::from(key)], source, load).await?;
        Ok(found.remove(key))
    }

    /// The values of `keys`: from the cache, or from calls of `load` that are shared with other callers. `load`
    /// must not depend on who calls it; `source` is what it loads from.
    pub async fn get_many<S, F>(
        self: &Arc<Self>,
        keys: impl IntoIterator<Item = K>,
        source: &S,
        load: impl Fn(S, Vec<K>) -> F + Copy + Send + Sync + 'static,
    ) -> Result<HashMap<K, V>, E>
    where
        S: Clone + Send + Sync + 'static,
        F: Future<Output = Result<HashMap<K, V>, E>> + Send + 'static,
    {
        let mut found = HashMap::new();
        let mut missing = Vec::new();
        for key in keys {
            match self.kept.then(|| self.cache.get(&key)).flatten() {
                Some(value) => drop(found.insert(key, value)),
                None => missing.push(key),
            }
        }
        self.load_missing(missing, &mut found, source, load).await?;
        Ok(found)
    }

    /// The same for long lists that are mostly cached: in their order, without a map.
    pub async fn get_list<S, F>(
        self: &Arc<Self>,
        keys: &[K],
        source: &S,
        load: impl Fn(S, Vec<K>) -> F + Copy + Send + Sync + 'static,
    ) -> Result<Vec<Option<V>>, E>
    where
        S: Clone + Send + Sync + 'static,
        F: Future<Output = Result<HashMap<K, V>, E>> + Send + 'static,
    {
        let mut list: Vec<Option<V>> = keys.iter().map(|key| self.cache.get(key)).collect();
        let missing: Vec<K> =
            keys.iter().zip(&list).filter(|(_, value)| value.is_none()).map(|(key, _)| key.clone()).collect();
        if !missing.is_empty() {
            let mut found = HashMap::with_capacity(missing.len());
            self.load_missing(missing, &mut found, source, load).await?;
            for (key, value) in keys.iter().zip(&mut list).filter(|(_, value)| value.is_none()) {
                *value = found.get(key).cloned();
            }
        }
        Ok(list)
    }

    async fn load_missing<S, F>(
        self: &Arc<Self>,
        mut missing: Vec<K>,
        found: &mut HashMap<K, V>,
        source: &S,
        load: impl Fn(S, Vec<K>) -> F + Copy + Send + Sync + 'static,
    ) -> Result<(), E>
    where
        S: Clone + Send + Sync + 'static,
        F: Future<Output = Result<HashMap<K, V>, E>> + Send + 'static,
    {
        while !missing.is_empty() {
            let (waiting, unscheduled) = self.enqueue(missing);
            if unscheduled {
                tokio::spawn(usage::carry(usage::current(), Arc::clone(self).load_queued(source.clone(), load)));
            }
            missing = collect(waiting, found).await?;
        }
        Ok(())
    }

    fn misses(&self) -> MutexGuard<'_, Misses<K, V, E>> {
        self.misses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Also whether a task is needed that takes what is queued.
    fn enqueue(&self, keys: Vec<K>) -> (Waiting<K, V, E>, bool) {
        let mut misses = self.misses();
        let Misses { queued, scheduled, loading } = &mut *misses;
        let subscribe = |key: K| {
            if let Some(slot) = loading.get(&key).and_then(Weak::upgrade) {
                return (key, slot.subscribe());
            }
            let slot = queued.entry(key.clone()).or_insert_with(|| Arc::new(watch::Sender::new(None)));
            (key, slot.subscribe())
        };
        let waiting = keys.into_iter().map(subscribe).collect();
        let unscheduled = !queued.is_empty() && !*scheduled;
        *scheduled |= unscheduled;
        (waiting, unscheduled)
    }

    async fn load_queued<S, F>(self: Arc<Self>, source: S, load: impl Fn(S, Vec<K>) -> F)
    where
        S: Clone,
        F: Future<Output = Result<HashMap<K, V>, E>>,
    {
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        // Let those come along who are about to ask.
        tokio::task::yield_now().await;
        let mut slots = self.take_queued();
        while !slots.is_empty() {
            let rest = slots.split_off(slots.len().min(MAX_KEYS));
            let result = load(source.clone(), slots.iter().map(|(key, _)| key.clone()).collect()).await;
            self.deliver(slots, &result);
            slots = rest;
        }
    }

    fn take_queued(&self) -> Slots<K, V, E> {
        let mut misses = self.misses();
        let Misses { queued, scheduled, loading } = &mut *misses;
        *scheduled = false;
        // Who queued them may have gone away.
        let slots: Slots<K, V, E> = queued.drain().filter(|(_, slot)| slot.receiver_count() > 0).collect();
        if self.kept {
            loading.extend(slots.iter().map(|(key, slot)| (key.clone(), Arc::downgrade(slot))));
        }
        slots
    }

    fn deliver(&self, slots: Slots<K, V, E>, result: &Result<HashMap<K, V>, E>) {
        let mut misses = self.misses();
        for (key, slot) in slots {
            let outcome = match result {
                Ok(values) => Ok(values.get(&key).cloned()),
                Err(error) => Err(error.clone()),
            };
            // After an invalidation somebody may be loading the key anew: that entry stays.
            if misses.loading.get(&key).is_some_and(|current| current.as_ptr() == Arc::as_ptr(&slot)) {
                misses.loading.remove(&key);
                if let Ok(Some(value)) = &outcome {
                    self.cache.insert(key, value.clone());
                }
            }
            slot.send_replace(Some(outcome));
        }
    }

    pub fn invalidate(&self, key: &K) {
        self.misses().loading.remove(key);
        self.cache.invalidate(key);
    }

    /// Drops each entry of which `stale` says so.
    pub fn invalidate_where(&self, stale: impl Fn(&K) -> bool) {
        self.misses().loading.retain(|key, _| !stale(key));
        self.cache.invalidate_where(stale);
    }

    /// Drops each entry whose value is stale; what is being loaded is not kept, for its value is not known yet.
    pub fn invalidate_values(&self, stale: impl Fn(&V) -> bool) {
        self.misses().loading.clear();
        self.cache.invalidate_values(stale);
    }

    pub fn clear(&self) {
        self.misses().loading.clear();
        self.cache.clear();
    }
}

/// Waits for every value. The answer: keys whose load broke off without an outcome.
async fn collect<K: Hash + Eq, V: Clone, E: Clone>(
    waiting: Waiting<K, V, E>,
    found: &mut HashMap<K, V>,
) -> Result<Vec<K>, E> {
    let mut abandoned = Vec::new();
    for (key, mut receiver) in waiting {
        let outcome = match receiver.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        match outcome {
            Some(Ok(Some(value))) => drop(found.insert(key, value)),
            Some(Ok(None)) => {}
            Some(Err(error)) => return Err(error),
            None => abandoned.push(key),
        }
    }
    Ok(abandoned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use tokio::sync::Notify;

    type Numbers = Loader<u32, u32, &'static str>;

    /// What was asked of the source, load by load, and a gate that small numbers wait at.
    #[derive(Default)]
    struct Source {
        loads: Mutex<Vec<Vec<u32>>>,
        gate: Notify,
    }

    async fn double(source: Arc<Source>, mut keys: Vec<u32>) -> Result<HashMap<u32, u32>, &'static str> {
        keys.sort_unstable();
        source.loads.lock().unwrap().push(keys.clone());
        if keys[0] < 10 {
            source.gate.notified().await;
        }
        Ok(keys.into_iter().map(|key| (key, key * 2)).collect())
    }

    fn loader() -> (Arc<Numbers>, Arc<Source>) {
        (Arc::new(Numbers::new(1 << 16, |_, _| 8)), Arc::default())
    }

    #[tokio::test]
    async fn misses_of_concurrent_callers_become_one_load() {
        let (loader, source) = loader();
        let (a, b) =
            tokio::join!(loader.get_many([11, 12], &source, double), loader.get_many([12, 13], &source, double));
        assert_eq!((a.unwrap().len(), b.unwrap()[&13]), (2, 26));
        assert_eq!(loader.get_many([11, 13], &source, double).await.unwrap()[&11], 22);
        assert_eq!(*source.loads.lock().unwrap(), [[11, 12, 13]]);
        let list = loader.get_list(&[15, 11, 15], &source, double).await;
        assert_eq!(list, Ok(vec![Some(30), Some(22), Some(30)]));
        loader.invalidate_values(|value| *value == 30);
        assert_eq!((loader.cache().get(&15), loader.cache().get(&11)), (None, Some(22)));
    }

    #[tokio::test]
    async fn who_comes_while_all_turns_are_taken_shares_the_next_load() {
        let (loader, source) = loader();
        let mut first = Vec::new();
        for key in 0..4 {
            let (loader, source) = (Arc::clone(&loader), Arc::clone(&source));
            let asked = Arc::clone(&source);
            first.push(tokio::spawn(async move { loader.get_many([key], &source, double).await }));
            while asked.loads.lock().unwrap().len() <= key as usize {
                tokio::task::yield_now().await;
            }
        }
        let later = join_all((100..200).map(|key| loader.get_many([key], &source, double)));
        let (later, ()) = tokio::join!(later, async { source.gate.notify_waiters() });
        assert!(later.into_iter().all(|values| values.unwrap().len() == 1));
        assert_eq!(join_all(first).await.len(), 4);
        assert_eq!(source.loads.lock().unwrap().len(), 5);
    }

    #[tokio::test]
    async fn a_stale_load_is_not_kept() {
        let (loader, source) = loader();
        let asked = loader.get_many([1, 12], &source, double);
        let change = async {
            while source.loads.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            loader.invalidate(&1);
            source.gate.notify_one();
        };
        assert_eq!(tokio::join!(asked, change).0.unwrap().len(), 2);
        assert_eq!((loader.cache().get(&1), loader.cache().get(&12)), (None, Some(24)));
    }

    #[tokio::test]
    async fn a_failure_reaches_all_and_is_not_kept() {
        let (loader, source) = loader();
        let fail = |_, _| async { Err("down") };
        let (a, b) = tokio::join!(loader.get_many([11], &source, fail), loader.get_many([11, 12], &source, fail));
        assert_eq!((a, b), (Err("down"), Err("down")));
        assert!(loader.get_many([11], &source, double).await.is_ok());
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_takes_nothing_along() {
        let (loader, source) = loader();
        let mut first = Box::pin(loader.get_many([1], &source, double));
        while source.loads.lock().unwrap().is_empty() {
            assert!(futures_util::poll!(first.as_mut()).is_pending());
            tokio::task::yield_now().await;
        }
        drop(first);
        source.gate.notify_one();
        assert_eq!(loader.get_many([1], &source, double).await.unwrap()[&1], 2);
        assert_eq!(source.loads.lock().unwrap().len(), 1);
        let misses = loader.misses();
        assert!(misses.loading.is_empty() && misses.queued.is_empty());
    }

    #[tokio::test]
    async fn without_a_cache_nothing_is_kept() {
        let (loader, source) = (Arc::new(Numbers::uncached()), Arc::default());
        for _ in 0..2 {
            assert_eq!(loader.get_many([11], &source, double).await.unwrap()[&11], 22);
        }
        assert_eq!(source.loads.lock().unwrap().len(), 2);
    }
}
