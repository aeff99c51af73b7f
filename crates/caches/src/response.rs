//! One computation for equal requests, and its result for a while after. Answers to
//! `synapse/util/caches/response_cache.py`.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hashbrown::HashMap;
use tokio::sync::Mutex as AsyncMutex;

/// Bytes of results that are kept at most; the oldest go first.
pub const MAX_BYTES: usize = 16 << 20;
/// Bytes of one result that is kept at most: one that is larger would drive out too many others.
pub const MAX_ENTRY_BYTES: usize = MAX_BYTES / 16;
/// What an entry takes besides its result and its key, which is there twice.
const BYTES_PER_ENTRY: usize = 160;

/// Requests are equal when their keys are.
pub struct ResponseCache<T: Clone> {
    entries: Mutex<Entries<T>>,
    keep_for: Duration,
    weigh: fn(&T) -> usize,
    asked: AtomicU64,
    hits: AtomicU64,
}

/// How often results were shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseStats {
    pub asked: u64,
    /// The result was there, or being computed.
    pub hits: u64,
    pub entries: usize,
    /// Results that were kept for their time, and those that went earlier, because others came.
    pub expired: u64,
    pub evicted: u64,
}

struct Entries<T: Clone> {
    by_key: HashMap<String, Entry<T>>,
    /// In the order in which they expire.
    kept: VecDeque<Kept>,
    /// Of all that is kept.
    bytes: usize,
    expired: u64,
    evicted: u64,
}

struct Kept {
    until: Instant,
    bytes: usize,
    key: String,
}

enum Entry<T: Clone> {
    /// Only the requests that wait for it keep it alive.
    Running(Weak<Work<T>>),
    Done(T),
}

/// One of the requests that wait holds the lock and does the work; if it goes away, the next one goes on with it.
///
/// Not a `Shared` future: that wakes at its end also whoever does the work, and another thread for nothing.
type Work<T> = AsyncMutex<Progress<T>>;

enum Progress<T> {
    Working(BoxFuture<'static, T>),
    Done(T),
}

async fn result<T: Clone>(work: Arc<Work<T>>) -> T {
    let mut progress = work.lock().await;
    match &mut *progress {
        Progress::Done(result) => result.clone(),
        Progress::Working(working) => {
            let result = working.await;
            *progress = Progress::Done(result.clone());
            result
        }
    }
}

impl<T: Clone> Entries<T> {
    /// Drops what is too old, and the oldest until `room` more bytes are allowed.
    fn expire(&mut self, now: Instant, room: usize) {
        while let Some(oldest) = self.kept.front() {
            let old = oldest.until <= now;
            if !old && self.bytes + room <= MAX_BYTES {
                return;
            }
            let Some(Kept { bytes, key, .. }) = self.kept.pop_front() else { return };
            self.bytes -= bytes;
            self.by_key.remove(&key);
            *(if old { &mut self.expired } else { &mut self.evicted }) += 1;
        }
    }

    fn running(&self, key: &str) -> Option<Arc<Work<T>>> {
        match self.by_key.get(key) {
            Some(Entry::Running(work)) => work.upgrade(),
            _ => None,
        }
    }
}

impl<T: Clone + Send + Sync + 'static> ResponseCache<T> {
    /// `weigh`: about how many bytes a result takes.
    pub fn new(keep_for: Duration, weigh: fn(&T) -> usize) -> Self {
        let entries = Entries { by_key: HashMap::new(), kept: VecDeque::new(), bytes: 0, expired: 0, evicted: 0 };
        Self { entries: Mutex::new(entries), keep_for, weigh, asked: AtomicU64::new(0), hits: AtomicU64::new(0) }
    }

    pub fn stats(&self) -> ResponseStats {
        let entries = self.entries();
        ResponseStats {
            asked: self.asked.load(Ordering::Relaxed),
            hits: self.hits.load(Ordering::Relaxed),
            entries: entries.by_key.len(),
            expired: entries.expired,
            evicted: entries.evicted,
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries<T>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The result of `work`, shared with every equal request meanwhile, and later if `worth_keeping`.
    pub async fn wrap(
        &self,
        key: String,
        work: impl Future<Output = T> + Send + 'static,
        worth_keeping: impl FnOnce(&T) -> bool,
    ) -> T {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let work = {
            let mut entries = self.entries();
            entries.expire(Instant::now(), 0);
            if let Some(Entry::Done(result)) = entries.by_key.get(&key) {
                self.hits.fetch_add(1, Ordering::Relaxed);
                return result.clone();
            }
            let running = entries.running(&key);
            self.hits.fetch_add(u64::from(running.is_some()), Ordering::Relaxed);
            running.unwrap_or_else(|| {
                let work = Arc::new(AsyncMutex::new(Progress::Working(work.boxed())));
                entries.by_key.insert(key.clone(), Entry::Running(Arc::downgrade(&work)));
                work
            })
        };
        let mine = Abandoned { cache: self, key: &key };
        let result = result(work).await;
        std::mem::forget(mine);
        self.finish(key, &result, worth_keeping(&result));
        result
    }

    /// The first of the waiting requests to come here decides.
    fn finish(&self, key: String, result: &T, keep: bool) {
        let mut entries = self.entries();
        if matches!(entries.by_key.get(&key), Some(Entry::Done(_))) {
            return;
        }
        if keep && !self.keep_for.is_zero() {
            let bytes = BYTES_PER_ENTRY + 2 * key.len() + (self.weigh)(result);
            if bytes <= MAX_ENTRY_BYTES {
                let now = Instant::now();
                entries.expire(now, bytes);
                entries.bytes += bytes;
                entries.kept.push_back(Kept { until: now + self.keep_for, bytes, key: key.clone() });
                entries.by_key.insert(key, Entry::Done(result.clone()));
                return;
            }
            entries.evicted += 1;
        }
        entries.by_key.remove(&key);
    }
}

/// A request that went away while it waited: the last one takes the entry along.
struct Abandoned<'a, T: Clone> {
    cache: &'a ResponseCache<T>,
    key: &'a str,
}

impl<T: Clone> Drop for Abandoned<'_, T> {
    fn drop(&mut self) {
        let mut entries = self.cache.entries.lock().unwrap_or_else(PoisonError::into_inner);
        // Ours is dropped first, so that the last one finds nobody.
        if matches!(entries.by_key.get(self.key), Some(Entry::Running(work)) if work.strong_count() == 0) {
            entries.by_key.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn equal_requests_share_one_computation() {
        let cache = ResponseCache::new(Duration::from_mins(1), |_| 1);
        let (runs, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let work = || {
            let (runs, go) = (Arc::clone(&runs), Arc::clone(&go));
            async move {
                go.notified().await;
                runs.fetch_add(1, Ordering::SeqCst)
            }
        };
        let (a, b, ()) = tokio::join!(
            cache.wrap("k".to_owned(), work(), |_| true),
            cache.wrap("k".to_owned(), work(), |_| true),
            async { go.notify_one() }
        );
        assert_eq!((a, b), (0, 0));
        assert_eq!(cache.stats(), ResponseStats { asked: 2, hits: 1, entries: 1, expired: 0, evicted: 0 });
        assert_eq!(cache.wrap("k".to_owned(), work(), |_| true).await, 0);
        go.notify_one();
        assert_eq!(cache.wrap("other".to_owned(), work(), |_| false).await, 1);
        go.notify_one();
        assert_eq!(cache.wrap("other".to_owned(), work(), |_| false).await, 2);
    }

    #[tokio::test]
    async fn the_next_one_goes_on_with_the_work() {
        let cache = ResponseCache::new(Duration::from_mins(1), |_| 1);
        let (runs, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let work = || {
            let (runs, go) = (Arc::clone(&runs), Arc::clone(&go));
            async move {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                go.notified().await;
                run
            }
        };
        let mut first = Box::pin(cache.wrap("k".to_owned(), work(), |_| false));
        let mut second = Box::pin(cache.wrap("k".to_owned(), work(), |_| false));
        assert!(futures_util::poll!(first.as_mut()).is_pending() && futures_util::poll!(second.as_mut()).is_pending());
        drop(first);
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        go.notify_one();
        assert_eq!((second.await, runs.load(Ordering::SeqCst)), (0, 1));
        assert!(cache.entries().by_key.is_empty());
    }

    #[tokio::test]
    async fn an_abandoned_computation_leaves_nothing() {
        let cache: ResponseCache<()> = ResponseCache::new(Duration::from_mins(1), |()| 1);
        let wait = cache.wrap("k".to_owned(), std::future::pending(), |()| true);
        assert!(wait.now_or_never().is_none());
        assert!(cache.entries().by_key.is_empty());
    }

    #[tokio::test]
    async fn the_oldest_make_room_and_what_is_too_large_is_not_kept() {
        let cache = ResponseCache::new(Duration::from_mins(1), |result: &usize| *result);
        let ask = async |key: String, result| cache.wrap(key, async move { result }, |_| true).await;
        let large = MAX_ENTRY_BYTES - 1_000;
        for n in 0..20 {
            assert_eq!(ask(n.to_string(), large).await, large);
            assert!(cache.entries().bytes <= MAX_BYTES);
        }
        let stats = cache.stats();
        assert_eq!((stats.entries, stats.evicted), (16, 4));
        assert_eq!(ask("19".to_owned(), 1).await, large);
        assert_eq!(ask("0".to_owned(), MAX_ENTRY_BYTES).await, MAX_ENTRY_BYTES);
        assert_eq!(ask("0".to_owned(), 2).await, 2);
    }

    #[tokio::test]
    async fn what_is_old_goes() {
        let cache = ResponseCache::new(Duration::from_mins(1), |_| 1);
        cache.wrap("k".to_owned(), async { 1 }, |_| true).await;
        let mut entries = cache.entries();
        entries.expire(Instant::now() + Duration::from_mins(1), 0);
        assert_eq!((entries.by_key.len(), entries.bytes, entries.expired), (0, 0, 1));
    }
}
