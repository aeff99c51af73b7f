//! A loader whose keys belong to groups that become stale as one, such as users to a room.
//! Answers to the trees (`@cached(tree=True)`) of `synapse/util/caches/treecache.py`.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;

use crate::{Cache, Loader, Stats};

/// A name of a group and its generation, about.
const BYTES_PER_GROUP: usize = 150;

/// To forget a group costs the same whatever is in it: its entries are kept under the group's generation, and
/// those of an old generation are never found again and make room in time.
pub struct Groups<G, K, V, E> {
    generations: Cache<G, u64>,
    next: AtomicU64,
    entries: Arc<Loader<(u64, G, K), V, E>>,
}

impl<G, K, V, E> Groups<G, K, V, E>
where
    G: Hash + Eq + Clone + Send + Sync + 'static,
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    /// `capacity`: bytes in all; `weigh`: bytes of one entry.
    pub fn new(capacity: usize, weigh: fn(&(u64, G, K), &V) -> usize) -> Self {
        let names = capacity / 8;
        Self {
            generations: Cache::new(names, |_, _| BYTES_PER_GROUP),
            next: AtomicU64::default(),
            entries: Arc::new(Loader::new(capacity - names, weigh)),
        }
    }

    /// As `Loader::get_many`; a key is a group and what is meant within it.
    pub async fn get_many<S, F>(
        &self,
        keys: impl IntoIterator<Item = (G, K)>,
        source: &S,
        load: impl Fn(S, Vec<(G, K)>) -> F + Copy + Send + Sync + 'static,
    ) -> Result<HashMap<(G, K), V>, E>
    where
        S: Clone + Send + Sync + 'static,
        F: Future<Output = Result<HashMap<(G, K), V>, E>> + Send + 'static,
    {
        let keys: Vec<_> = keys.into_iter().map(|(group, key)| (self.generation(&group), group, key)).collect();
        let load = move |source: S, keys: Vec<(u64, G, K)>| {
            let loading = load(source, keys.iter().map(|(_, group, key)| (group.clone(), key.clone())).collect());
            async move {
                let loaded = loading.await?;
                let with_generation = |(generation, group, key)| {
                    let key = (group, key);
                    let value = loaded.get(&key)?.clone();
                    Some(((generation, key.0, key.1), value))
                };
                Ok(keys.into_iter().filter_map(with_generation).collect())
            }
        };
        let found = self.entries.get_many(keys, source, load).await?;
        Ok(found.into_iter().map(|((_, group, key), value)| ((group, key), value)).collect())
    }

    fn generation(&self, group: &G) -> u64 {
        self.generations.get(group).unwrap_or_else(|| {
            let generation = self.next.fetch_add(1, Ordering::Relaxed);
            self.generations.insert(group.clone(), generation);
            generation
        })
    }

    pub fn invalidate_group(&self, group: &G) {
        self.generations.invalidate(group);
    }

    pub fn invalidate(&self, group: &G, key: &K) {
        if let Some(generation) = self.generations.get(group) {
            self.entries.invalidate(&(generation, group.clone(), key.clone()));
        }
    }

    pub fn clear(&self) {
        self.generations.clear();
        self.entries.clear();
    }

    pub fn stats(&self) -> Stats {
        self.entries.cache().stats()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    type Keys = Vec<(u32, u32)>;
    type Loaded = Result<HashMap<(u32, u32), u32>, &'static str>;

    /// What was loaded, and which group becomes stale meanwhile.
    struct Source {
        groups: Groups<u32, u32, u32, &'static str>,
        loaded: Mutex<Keys>,
        stale: Mutex<Option<u32>>,
    }

    async fn sum(source: Arc<Source>, keys: Keys) -> Loaded {
        source.loaded.lock().unwrap().extend(&keys);
        if let Some(group) = source.stale.lock().unwrap().take() {
            source.groups.invalidate_group(&group);
        }
        Ok(keys.into_iter().map(|(group, key)| ((group, key), group + key)).collect())
    }

    impl Source {
        fn new() -> Arc<Self> {
            let groups = Groups::new(1 << 16, |_, _| 8);
            Arc::new(Self { groups, loaded: Mutex::default(), stale: Mutex::default() })
        }

        /// Which of `keys` had to be loaded.
        async fn ask(self: &Arc<Self>, keys: &[(u32, u32)]) -> Keys {
            let found = self.groups.get_many(keys.iter().copied(), self, sum).await.unwrap();
            assert!(keys.iter().all(|key| found[key] == key.0 + key.1));
            let mut loaded = std::mem::take(&mut *self.loaded.lock().unwrap());
            loaded.sort_unstable();
            loaded
        }
    }

    #[tokio::test]
    async fn a_group_is_forgotten_as_one() {
        let source = Source::new();
        let all = [(1, 1), (1, 2), (2, 1)];
        assert_eq!(source.ask(&all).await, all);
        assert_eq!(source.ask(&all).await, []);
        source.groups.invalidate_group(&1);
        assert_eq!(source.ask(&all).await, [(1, 1), (1, 2)]);
        source.groups.invalidate(&1, &2);
        assert_eq!(source.ask(&all).await, [(1, 2)]);
        source.groups.clear();
        assert_eq!(source.ask(&all).await, all);
    }

    #[tokio::test]
    async fn a_group_forgotten_while_loading_is_not_kept() {
        let source = Source::new();
        *source.stale.lock().unwrap() = Some(1);
        assert_eq!(source.ask(&[(1, 1), (2, 1)]).await, [(1, 1), (2, 1)]);
        assert_eq!(source.ask(&[(1, 1), (2, 1)]).await, [(1, 1)]);
    }
}
