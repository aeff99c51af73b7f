//! How much one server may ask. Answers to `synapse/util/ratelimitutils.py` (`rc_federation`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use myelin_config::FederationRate;
use myelin_model::MatrixError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Result, elapsed_ms};

/// Servers remembered; when there are more, those that ask nothing at the moment are forgotten.
const REMEMBERED: usize = 10_000;

pub struct FederationRatelimiter {
    rate: FederationRate,
    servers: Mutex<HashMap<Arc<str>, Arc<Server>>>,
}

/// `_PerHostRatelimiter`
struct Server {
    /// When the latest requests came; no more than decide whether the next must wait.
    times: Mutex<VecDeque<i64>>,
    /// Requests that sleep, or wait for their turn.
    waiting: AtomicUsize,
    turns: Arc<Semaphore>,
}

/// As long as it lives, one of the server's requests is worked on.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// Counts a request as waiting, also when its client goes away.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl FederationRatelimiter {
    pub fn new(rate: FederationRate) -> Self {
        Self { rate, servers: Mutex::default() }
    }

    /// Waits for the server's turn, or says that too many of its requests wait already.
    pub async fn turn(&self, server: &Arc<str>) -> Result<Turn> {
        let known = self.server(server);
        let sleeps = self.enter(&known, elapsed_ms())?;
        if sleeps {
            let _waiting = Waiting::new(&known.waiting);
            tokio::time::sleep(Duration::from_millis(self.rate.sleep_delay)).await;
        }
        let turns = Arc::clone(&known.turns);
        if let Ok(permit) = Arc::clone(&turns).try_acquire_owned() {
            return Ok(Turn { _permit: permit });
        }
        let _waiting = Waiting::new(&known.waiting);
        let permit = turns.acquire_owned().await.map_err(MatrixError::internal)?;
        Ok(Turn { _permit: permit })
    }

    fn server(&self, name: &Arc<str>) -> Arc<Server> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if servers.len() >= REMEMBERED && !servers.contains_key(name) {
            // Whoever is here holds a second reference.
            servers.retain(|_, server| Arc::strong_count(server) > 1 || Arc::strong_count(&server.turns) > 1);
        }
        let new = || {
            let turns = Arc::new(Semaphore::new(self.rate.concurrent.clamp(1, Semaphore::MAX_PERMITS)));
            Arc::new(Server { times: Mutex::default(), waiting: AtomicUsize::new(0), turns })
        };
        Arc::clone(servers.entry(Arc::clone(name)).or_insert_with(new))
    }

    /// Whether the request must sleep first, by a clock in milliseconds.
    fn enter(&self, server: &Server, now: i64) -> Result<bool> {
        let rate = self.rate;
        if server.waiting.load(Ordering::Relaxed) > rate.reject_limit {
            let window = usize::try_from(rate.window_size).unwrap_or_default();
            let retry_after_ms = window.checked_div(rate.sleep_limit).unwrap_or(window);
            let mut error = MatrixError::new(429, "M_LIMIT_EXCEEDED", "Too Many Requests");
            error.headers.push(("Retry-After", retry_after_ms.div_ceil(1000).to_string()));
            return Err(error.with("retry_after_ms", retry_after_ms));
        }
        let mut times = server.times.lock().unwrap_or_else(PoisonError::into_inner);
        while times.front().is_some_and(|time| now - time >= rate.window_size) {
            times.pop_front();
        }
        if times.len() > rate.sleep_limit {
            times.pop_front();
        }
        times.push_back(now);
        Ok(times.len() > rate.sleep_limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: FederationRate =
        FederationRate { window_size: 1000, sleep_limit: 2, sleep_delay: 500, reject_limit: 1, concurrent: 1 };

    fn limiter() -> (FederationRatelimiter, Arc<str>) {
        (FederationRatelimiter::new(RATE), Arc::from("a.test"))
    }

    #[test]
    fn whoever_asks_much_sleeps() {
        let (limiter, name) = limiter();
        let server = limiter.server(&name);
        let sleeps = |now| limiter.enter(&server, now).unwrap();
        assert_eq!([sleeps(0), sleeps(1), sleeps(2), sleeps(999)], [false, false, true, true]);
        assert_eq!([sleeps(2000), sleeps(2000), sleeps(2500)], [false, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn turns_and_refusals() {
        let (limiter, name) = limiter();
        let limiter = Arc::new(limiter);
        let turn = || {
            let (limiter, name) = (Arc::clone(&limiter), Arc::clone(&name));
            async move { limiter.turn(&name).await }
        };
        let first = turn().await.unwrap();
        // The second waits for the first, the third sleeps, the fourth is one too many.
        let (second, third) = (tokio::spawn(turn()), tokio::spawn(turn()));
        while limiter.server(&name).waiting.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(turn().await.unwrap_err().status, 429);
        drop(first);
        drop(second.await.unwrap().unwrap());
        assert!(third.await.unwrap().is_ok());
        assert_eq!(limiter.server(&name).waiting.load(Ordering::Relaxed), 0);
    }
}
