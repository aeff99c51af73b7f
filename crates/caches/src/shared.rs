//! One text for equal ones: rooms, users, types and event ids recur in every cache.
//! Answers to `intern_string` in `synapse/util/caches/__init__.py`.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashSet;
use quick_cache::DefaultHashBuilder;

/// So that threads seldom wait for each other.
const SHARDS: usize = 16;
/// A shard looks for texts that nobody uses any more when it has twice as many as after the last look, and at least
/// so many.
const MIN_SWEEP: usize = 1_024;

/// Keeps a text for as long as somebody else does.
#[derive(Default)]
pub struct SharedTexts {
    shards: [Mutex<Shard>; SHARDS],
    hasher: DefaultHashBuilder,
}

#[derive(Default)]
struct Shard {
    texts: HashSet<Arc<str>, DefaultHashBuilder>,
    /// Texts that were in use at the last look.
    used: usize,
}

impl SharedTexts {
    pub fn share(&self, text: &str) -> Arc<str> {
        // The high bits choose the shard: the set itself uses the low ones.
        let shard = usize::try_from(self.hasher.hash_one(text) >> 56).unwrap_or_default() % SHARDS;
        let Some(shard) = self.shards.get(shard) else { return Arc::from(text) };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let Shard { texts, used } = &mut *shard;
        if let Some(known) = texts.get(text) {
            return Arc::clone(known);
        }
        if texts.len() >= MIN_SWEEP.max(2 * *used) {
            texts.retain(|text| Arc::strong_count(text) > 1);
            *used = texts.len();
            texts.shrink_to(MIN_SWEEP.max(2 * *used));
        }
        let text: Arc<str> = Arc::from(text);
        texts.insert(Arc::clone(&text));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_and_unused_ones_go() {
        let texts = SharedTexts::default();
        let kept = texts.share("a");
        for n in 0..100_000 {
            texts.share(&n.to_string());
        }
        assert!(Arc::ptr_eq(&kept, &texts.share("a")));
        let held: usize = texts.shards.iter().map(|shard| shard.lock().unwrap().texts.len()).sum();
        assert!(held <= SHARDS * MIN_SWEEP, "{held}");
    }
}
