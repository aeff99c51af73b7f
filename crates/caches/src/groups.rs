//! A loader whose keys belong to groups that become stale as one, such as users to a room.
//! Answers to the trees (`@cached(tree=True)`) of `synapse/util/caches/treecache.py`.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Cache, Loader, Stats};

/// To forget a group costs the same whatever is in it: its entries are kept under the group's generation, and
/// those of an old generation are never found again and make room in time.
pub struct Groups<G, K, V> {
    generations: Cache<G, u64>,
    next: AtomicU64,
    entries: Loader<(u64, G, K), V>,
}

impl<G: Hash + Eq + Clone, K: Hash + Eq + Clone, V: Clone> Groups<G, K, V> {
    /// `capacity`: bytes in all; `weigh`: bytes of one entry; `weigh_group`: bytes of a group's name.
    pub fn new(capacity: usize, weigh_group: fn(&G, &u64) -> usize, weigh: fn(&(u64, G, K), &V) -> usize) -> Self {
        let names = capacity / 8;
        Self {
            generations: Cache::new(names, weigh_group),
            next: AtomicU64::default(),
            entries: Loader::new(capacity - names, weigh),
        }
    }

    /// As `Loader::get_many`; a key is its group and its name there.
    pub async fn get_many<E, F>(
        &self,
        keys: impl IntoIterator<Item = (G, K)>,
        load: impl Fn(Vec<(G, K)>) -> F,
    ) -> Result<HashMap<(G, K), V>, E>
    where
        F: Future<Output = Result<HashMap<(G, K), V>, E>>,
    {
        let keys: Vec<_> = keys.into_iter().map(|(group, key)| (self.generation(&group), group, key)).collect();
        let load = |keys: Vec<(u64, G, K)>| {
            let loaded = load(keys.iter().map(|(_, group, key)| (group.clone(), key.clone())).collect());
            async move {
                let loaded = loaded.await?;
                let with_generation = |(generation, group, key)| {
                    let key = (group, key);
                    let value = loaded.get(&key)?.clone();
                    Some(((generation, key.0, key.1), value))
                };
                Ok(keys.into_iter().filter_map(with_generation).collect())
            }
        };
        let found = self.entries.get_many(keys, load).await?;
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
    use std::convert::Infallible;
    use std::sync::Mutex;

    type Keys = Vec<(u32, u32)>;

    struct Fixture {
        groups: Groups<u32, u32, u32>,
        loaded: Mutex<Keys>,
    }

    impl Fixture {
        fn new() -> Self {
            Self { groups: Groups::new(1 << 16, |_, _| 8, |_, _| 8), loaded: Mutex::default() }
        }

        /// Which of `keys` had to be loaded.
        async fn ask(&self, keys: &[(u32, u32)]) -> Keys {
            let load = |keys: Keys| {
                self.loaded.lock().unwrap().extend(&keys);
                async {
                    Ok::<_, Infallible>(keys.into_iter().map(|(group, key)| ((group, key), group + key)).collect())
                }
            };
            let found = self.groups.get_many(keys.iter().copied(), load).await.unwrap();
            assert!(keys.iter().all(|key| found[key] == key.0 + key.1));
            std::mem::take(&mut self.loaded.lock().unwrap())
        }
    }

    #[tokio::test]
    async fn a_group_is_forgotten_as_one() {
        let fixture = Fixture::new();
        let all = [(1, 1), (1, 2), (2, 1)];
        assert_eq!(fixture.ask(&all).await, all);
        assert_eq!(fixture.ask(&all).await, []);
        fixture.groups.invalidate_group(&1);
        assert_eq!(fixture.ask(&all).await, [(1, 1), (1, 2)]);
        fixture.groups.invalidate(&1, &2);
        assert_eq!(fixture.ask(&all).await, [(1, 2)]);
        fixture.groups.clear();
        assert_eq!(fixture.ask(&all).await, all);
    }

    #[tokio::test]
    async fn a_group_forgotten_while_loading_is_not_kept() {
        let fixture = Fixture::new();
        let load = |keys: Keys| {
            fixture.groups.invalidate_group(&1);
            async { Ok::<_, Infallible>(keys.into_iter().map(|key| (key, 0)).collect()) }
        };
        let found = fixture.groups.get_many([(1, 1)], load).await.unwrap();
        assert_eq!(found[&(1, 1)], 0);
        assert_eq!(fixture.ask(&[(1, 1)]).await, [(1, 1)]);
    }
}
