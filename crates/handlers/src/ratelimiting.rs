//! How often somebody may do something. Answers to `synapse/api/ratelimiting.py`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use myelin_model::{MatrixError, Requester};

use crate::{Handlers, Result, elapsed_ms};

/// Users and addresses remembered by one limiter; beyond, it forgets all of them.
const REMEMBERED: usize = 100_000;
/// A refused client waits this long for its answer, lest it ask in a tight loop.
const PAUSE: Duration = Duration::from_millis(500);

/// A bucket per user or address: it holds `burst` actions, and leaks `per_second`.
pub struct Ratelimiter {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<Arc<str>, Bucket>>,
}

/// Actions since the bucket was last empty.
struct Bucket {
    actions: f64,
    since_ms: i64,
}

impl Ratelimiter {
    #[expect(clippy::cast_precision_loss, reason = "a burst is small")]
    pub fn new((per_second, burst): (f64, i64)) -> Self {
        Self { per_second, burst: burst as f64, buckets: Mutex::default() }
    }

    /// `can_do_action` at a time in milliseconds. It counts unless it is refused: then it says in how many milliseconds
    /// there is room again.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "milliseconds of a process' life")]
    pub fn can_do_action(&self, key: &str, now: i64) -> std::result::Result<(), i64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED && !buckets.contains_key(key) {
            buckets.clear();
        }
        let bucket = buckets.entry(Arc::from(key)).or_insert(Bucket { actions: 0.0, since_ms: now });
        let leaked = (now - bucket.since_ms) as f64 / 1000.0 * self.per_second;
        if bucket.actions - leaked < 0.0 {
            *bucket = Bucket { actions: 0.0, since_ms: now };
        }
        let level = (bucket.actions - leaked).max(0.0);
        if level <= self.burst - 1.0 {
            bucket.actions += 1.0;
            return Ok(());
        }
        let room_at = bucket.since_ms as f64 + (bucket.actions - self.burst + 1.0) / self.per_second * 1000.0;
        Err((room_at as i64 - now).max(0))
    }
}

impl Handlers {
    /// `ratelimit`: 429 when there was too much of it. `key`: who counts when nobody is known to ask.
    pub async fn ratelimit(&self, limiter: &Ratelimiter, requester: Option<&Requester>, key: &str) -> Result<()> {
        let key = requester.map_or(key, |requester| &requester.user_id);
        let Err(retry_after_ms) = limiter.can_do_action(key, elapsed_ms()) else { return Ok(()) };
        if let Some(requester) = requester
            && self.is_unlimited(requester).await?
        {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
        Err(limit_exceeded(retry_after_ms))
    }
}

/// `LimitExceededError`
pub(crate) fn limit_exceeded(retry_after_ms: i64) -> MatrixError {
    let mut error = MatrixError::new(429, "M_LIMIT_EXCEEDED", "Too Many Requests");
    error.headers.push(("Retry-After", (retry_after_ms.saturating_add(999) / 1000).to_string()));
    error.with("retry_after_ms", retry_after_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_leak_out() {
        let limiter = Ratelimiter::new((0.1, 1));
        assert_eq!(limiter.can_do_action("@a:t", 0), Ok(()));
        assert_eq!(limiter.can_do_action("@a:t", 5_000), Err(5_000));
        assert_eq!(limiter.can_do_action("@b:t", 5_000), Ok(()));
        assert_eq!(limiter.can_do_action("@a:t", 10_000), Ok(()));
        assert_eq!(limiter.can_do_action("@a:t", 10_001), Err(9_999));
        assert_eq!(limiter.can_do_action("@a:t", 100_000), Ok(()));
    }
}
