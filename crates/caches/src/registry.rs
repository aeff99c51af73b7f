//! Which caches a Python function name stands for. The `caches` replication stream and the
//! stream rows name caches so; equal names make invalidation a look-up.

use std::sync::RwLock;

use hashbrown::HashMap;

use crate::Stats;

type Invalidate = Box<dyn Fn(Option<&[&str]>) + Send + Sync>;
type Watch = Box<dyn Fn() -> Stats + Send + Sync>;

/// Filled while the stores are built, then only read.
#[derive(Default)]
pub struct Registry {
    by_name: RwLock<HashMap<&'static str, Vec<Invalidate>>>,
    watched: RwLock<Vec<(&'static str, Watch)>>,
}

impl Registry {
    /// `invalidate` gets the function's leading arguments as text, or `None` for "everything".
    /// Fewer arguments than the function has mean every entry that starts with them.
    pub fn register(&self, name: &'static str, invalidate: impl Fn(Option<&[&str]>) + Send + Sync + 'static) {
        let mut by_name = self.by_name.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        by_name.entry(name).or_default().push(Box::new(invalidate));
    }

    /// A cache whose numbers are shown under this name.
    pub fn watch(&self, name: &'static str, stats: impl Fn() -> Stats + Send + Sync + 'static) {
        let mut watched = self.watched.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        watched.push((name, Box::new(stats)));
    }

    pub fn stats(&self) -> Vec<(&'static str, Stats)> {
        let watched = self.watched.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        watched.iter().map(|(name, stats)| (*name, stats())).collect()
    }

    /// Whether any cache of ours goes by this name.
    pub fn invalidate(&self, name: &str, keys: Option<&[&str]>) -> bool {
        let by_name = self.by_name.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(caches) = by_name.get(name) else { return false };
        for invalidate in caches {
            invalidate(keys);
        }
        true
    }

    /// Empties every cache: the answer to an invalidation that we do not understand.
    pub fn clear(&self) {
        let by_name = self.by_name.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        for invalidate in by_name.values().flatten() {
            invalidate(None);
        }
    }
}
