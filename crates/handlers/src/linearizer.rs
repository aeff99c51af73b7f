//! One at a time per key, in this process. Answers to `Linearizer` in `synapse/util/async_helpers.py`.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use hashbrown::HashMap;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Turns that nobody holds or waits for are looked for when there are twice as many as after the last look, and at
/// least so many.
const MIN_SWEEP: usize = 64;

type Turn = AsyncMutex<()>;

/// Turns by key, in the order of arrival. As many are kept as requests hold or wait for, about.
#[derive(Debug, Default)]
pub struct Linearizer(Mutex<Turns>);

#[derive(Debug, Default)]
struct Turns {
    by_key: HashMap<String, Weak<Turn>>,
    used: usize,
}

impl Linearizer {
    /// Waits for its turn, which lasts until the result is dropped.
    pub async fn queue(&self, key: &str) -> OwnedMutexGuard<()> {
        let turn = self.turn(key);
        turn.lock_owned().await
    }

    fn turn(&self, key: &str) -> Arc<Turn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.by_key.len() >= MIN_SWEEP.max(2 * turns.used) {
            turns.by_key.retain(|_, turn| turn.strong_count() > 0);
            turns.used = turns.by_key.len();
        }
        let turn = turns.by_key.entry_ref(key).or_default();
        turn.upgrade().unwrap_or_else(|| {
            let new = Arc::default();
            *turn = Arc::downgrade(&new);
            new
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_after_the_other_by_key() {
        let linearizer = Linearizer::default();
        let first = linearizer.queue("a").await;
        assert!(linearizer.queue("b").now_or_never().is_some());
        let second = linearizer.queue("a");
        tokio::pin!(second);
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        assert!(tokio::time::timeout(Duration::from_millis(10), &mut second).await.is_err());
        drop(first);
        drop(second.await);
        for at in 0..2_000 {
            drop(linearizer.queue(&at.to_string()).await);
        }
        assert!(linearizer.0.lock().unwrap().by_key.len() <= MIN_SWEEP);
    }
}
