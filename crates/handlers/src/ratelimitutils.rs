//! Turns of requests that come too fast: they are slowed down before they are refused. Answers to
//! `FederationRateLimiter` in `synapse/util/ratelimitutils.py`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ratelimiting::limit_exceeded;
use crate::{Result, elapsed_ms};

/// Hosts remembered by one limiter; beyond, those that ask nothing are forgotten.
const REMEMBERED: usize = 10_000;

/// `FederationRatelimitSettings`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RatelimitSettings {
    /// Milliseconds.
    pub window_size: i64,
    /// Requests within the window that are not slowed down.
    pub sleep_limit: usize,
    pub sleep_delay: Duration,
    /// Requests that may wait.
    pub reject_limit: usize,
    /// Requests that are answered at once.
    pub concurrent: usize,
}

pub struct FederationRateLimiter {
    settings: RatelimitSettings,
    hosts: Mutex<HashMap<Arc<str>, Arc<PerHost>>>,
}

struct PerHost {
    recent: Mutex<Recent>,
    turns: Arc<Semaphore>,
}

#[derive(Default)]
struct Recent {
    /// When requests came.
    times: VecDeque<i64>,
    /// They sleep, or queue for a turn.
    waiting: usize,
}

impl PerHost {
    fn recent<T>(&self, act: impl FnOnce(&mut Recent) -> T) -> T {
        act(&mut self.recent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request that waits; it does not any more when this is dropped.
struct Waiting<'a>(&'a PerHost);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.recent(|recent| recent.waiting = recent.waiting.saturating_sub(1));
    }
}

/// The request's turn lasts as long as this.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl FederationRateLimiter {
    pub fn new(settings: RatelimitSettings) -> Self {
        Self { settings, hosts: Mutex::default() }
    }

    fn host(&self, host: &str) -> Arc<PerHost> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= REMEMBERED && !hosts.contains_key(host) {
            hosts.retain(|_, host| Arc::strong_count(host) > 1);
        }
        let new = || {
            let turns = Arc::new(Semaphore::new(self.settings.concurrent.max(1)));
            Arc::new(PerHost { recent: Mutex::default(), turns })
        };
        Arc::clone(hosts.entry(Arc::from(host)).or_insert_with(new))
    }

    /// `ratelimit`: waits for a turn; 429 when too many of this host wait already.
    pub async fn ratelimit(&self, host: &str) -> Result<Turn> {
        let host = self.host(host);
        let RatelimitSettings { window_size, sleep_limit, sleep_delay, reject_limit, .. } = self.settings;
        let now = elapsed_ms();
        let must_sleep = host.recent(|recent| {
            while recent.times.front().is_some_and(|time| now - time >= window_size) {
                recent.times.pop_front();
            }
            if recent.waiting > reject_limit {
                return None;
            }
            recent.times.push_back(now);
            recent.waiting += 1;
            Some(recent.times.len() > sleep_limit)
        });
        let Some(must_sleep) = must_sleep else {
            let limit = i64::try_from(sleep_limit.max(1)).unwrap_or(i64::MAX);
            return Err(limit_exceeded(window_size / limit));
        };
        let waiting = Waiting(&host);
        if must_sleep {
            tokio::time::sleep(sleep_delay).await;
        }
        let permit = Arc::clone(&host.turns).acquire_owned().await.map_err(myelin_model::MatrixError::internal)?;
        drop(waiting);
        Ok(Turn { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_too_fast_waits_and_who_waits_too_often_is_refused() {
        let settings = RatelimitSettings {
            window_size: 2_000,
            sleep_limit: 1,
            sleep_delay: Duration::from_millis(1),
            reject_limit: 1,
            concurrent: 1,
        };
        let limiter = FederationRateLimiter::new(settings);
        let turn = limiter.ratelimit("a").await.unwrap();
        // Two sleep, and then queue behind the first; the third is one too many.
        let (second, third) = (limiter.ratelimit("a"), limiter.ratelimit("a"));
        tokio::pin!(second, third);
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        assert!(futures_util::poll!(third.as_mut()).is_pending());
        let refused = limiter.ratelimit("a").await.unwrap_err();
        assert_eq!((refused.status, refused.body()["retry_after_ms"].as_i64()), (429, Some(2_000)));
        limiter.ratelimit("b").await.unwrap();
        drop(turn);
        drop(second.await.unwrap());
        third.await.unwrap();
        assert_eq!(limiter.host("a").recent(|recent| recent.waiting), 0);
    }
}
