//! Invalidation of every key that begins with the same part. Answers to `TreeCache` in
//! `synapse/util/caches/treecache.py`.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::Cache;

/// Numbers for first parts, to be made part of keys: once a part is invalidated it gets a new number, and what is
/// cached under the old one is never found again and ages out.
pub struct Epochs<K> {
    current: Cache<K, u64>,
    next: AtomicU64,
}

impl<K: Hash + Eq + Clone> Epochs<K> {
    /// `capacity`: parts remembered. A part that was forgotten gets a new number.
    pub fn new(capacity: usize) -> Self {
        Self { current: Cache::new(capacity, |_, _| 1), next: AtomicU64::default() }
    }

    pub fn of(&self, part: &K) -> u64 {
        self.current.get(part).unwrap_or_else(|| {
            let new = self.next.fetch_add(1, Ordering::Relaxed);
            self.current.insert(part.clone(), new);
            new
        })
    }

    pub fn invalidate(&self, part: &K) {
        self.current.invalidate(part);
    }

    pub fn clear(&self) {
        self.current.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalidated_part_gets_a_new_number() {
        let epochs = Epochs::new(100);
        let (a, b) = (epochs.of(&"a"), epochs.of(&"b"));
        assert_eq!((epochs.of(&"a"), epochs.of(&"b")), (a, b));
        epochs.invalidate(&"a");
        assert_ne!(epochs.of(&"a"), a);
        assert_eq!(epochs.of(&"b"), b);
        epochs.clear();
        assert_ne!(epochs.of(&"b"), b);
    }
}
