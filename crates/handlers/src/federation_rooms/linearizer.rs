//! One at a time. Answers to `Linearizer` in `synapse/util/async_helpers.py`.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use hashbrown::HashMap;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Turns that nobody holds or waits for are looked for when there are twice as many as after the last look, and at
/// least so many.
const MIN_SWEEP: usize = 64;

type Turn = AsyncMutex<()>;

/// Turns by server and room, in the order of arrival. As many are kept as requests hold or wait for, about.
#[derive(Default)]
pub(super) struct Linearizer(Mutex<Turns>);

#[derive(Default)]
struct Turns {
    by_key: HashMap<(Box<str>, Box<str>), Weak<Turn>>,
    used: usize,
}

impl Linearizer {
    /// The turn lasts as long as the result lives.
    pub async fn queue(&self, server: &str, room_id: &str) -> OwnedMutexGuard<()> {
        let turn = self.turn(server, room_id);
        turn.lock_owned().await
    }

    fn turn(&self, server: &str, room_id: &str) -> Arc<Turn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.by_key.len() >= MIN_SWEEP.max(2 * turns.used) {
            turns.by_key.retain(|_, turn| turn.strong_count() > 0);
            turns.used = turns.by_key.len();
        }
        let turn = turns.by_key.entry((server.into(), room_id.into())).or_default();
        turn.upgrade().unwrap_or_else(|| {
            let new = Arc::default();
            *turn = Arc::downgrade(&new);
            new
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_server_asks_about_a_room_once_at_a_time() {
        let linearizer = Linearizer::default();
        let first = linearizer.queue("a", "!r").await;
        let mut second = Box::pin(linearizer.queue("a", "!r"));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        assert!(linearizer.queue("b", "!r").now_or_never().is_some());
        assert!(linearizer.queue("a", "!s").now_or_never().is_some());
        drop(first);
        drop(second.await);
        for n in 0..1_000 {
            drop(linearizer.queue("a", &n.to_string()).await);
        }
        assert!(linearizer.0.lock().unwrap().by_key.len() <= MIN_SWEEP);
    }
}
