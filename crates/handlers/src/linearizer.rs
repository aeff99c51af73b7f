//! One at a time per key, in this process. Answers to `Linearizer` in `synapse/util/async_helpers.py`.

use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;
use tokio::sync::OwnedMutexGuard;

/// Keys kept before those that nobody holds are forgotten.
const KEPT: usize = 1_000;

#[derive(Debug, Default)]
pub struct Linearizer(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Linearizer {
    /// Waits for its turn, which lasts until the result is dropped.
    pub async fn queue(&self, key: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if turns.len() >= KEPT {
                turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            }
            Arc::clone(turns.entry_ref(key).or_default())
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_after_the_other_by_key() {
        let linearizer = Linearizer::default();
        let first = linearizer.queue("a").await;
        linearizer.queue("b").await;
        let second = linearizer.queue("a");
        tokio::pin!(second);
        assert!(tokio::time::timeout(Duration::from_millis(10), &mut second).await.is_err());
        drop(first);
        second.await;
        for at in 0..2 * KEPT {
            linearizer.queue(&at.to_string()).await;
        }
        assert!(linearizer.0.lock().unwrap().len() <= KEPT);
    }
}
