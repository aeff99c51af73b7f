//! A client that must get everything once: it syncs without end, asks again where it was when a request fails, and
//! counts what it is told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::Client;
use serde_json::Value;

/// Longer than any test waits: what comes late was not woken for.
const LONG_POLL_MS: u32 = 100_000;
/// Before a request that failed is sent again.
const PAUSE: Duration = Duration::from_millis(50);
/// More than anything says between two answers.
const FILTER: &str = "%7B%22room%22:%7B%22timeline%22:%7B%22limit%22:100%7D%7D%7D";
/// Whoever reads this has read everything.
const LAST: &str = "the last";

/// Runs until it has read `LAST` or is dropped: two of them would take each other's to-device messages.
pub struct Reader(Arc<Shared>);

struct Shared {
    workers: Vec<Client>,
    seen: Mutex<Seen>,
    changed: Condvar,
    dropped: AtomicBool,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.dropped.store(true, Ordering::SeqCst);
    }
}

/// What was read until now.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How often each thing was told: bodies of messages, labels of to-device messages and account data, events
    /// that receipts are for.
    pub counts: BTreeMap<String, usize>,
    /// Rooms and who types there.
    pub typing: BTreeMap<String, Vec<String>>,
    /// Requests that failed.
    pub failures: Vec<String>,
    /// Timelines with a gap.
    pub gaps: usize,
    pub since: String,
}

impl Reader {
    /// Starts from now. With several workers each request goes to the next one.
    pub fn start(ports: &[u16], token: &str) -> Result<Self> {
        let workers: Vec<Client> = ports.iter().map(|port| Client::new(*port).with_token(token)).collect();
        let first = workers.first().context("no worker")?.get("/_matrix/client/v3/sync")?;
        let since = first.json()?["next_batch"].as_str().context("no next_batch")?.to_owned();
        let seen = Mutex::new(Seen { since, ..Seen::default() });
        let shared = Arc::new(Shared { workers, seen, changed: Condvar::new(), dropped: AtomicBool::new(false) });
        let reading = Arc::clone(&shared);
        thread::spawn(move || reading.read());
        Ok(Self(shared))
    }

    /// Waits for what must have come by `limit`.
    pub fn wait_until(&self, what: &str, limit: Duration, holds: impl Fn(&Seen) -> bool) -> Result<Seen> {
        let deadline = Instant::now() + limit;
        let mut seen = self.0.seen();
        while !holds(&seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "{what} did not come within {} s; failures: {:?}", limit.as_secs(), seen.failures);
            seen = self.0.changed.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(seen.clone())
    }

    /// What to say at last, so that the reader ends.
    pub fn last_word() -> &'static str {
        LAST
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) {
        for worker in self.workers.iter().cycle() {
            let since = self.seen().since.clone();
            let path = format!("/_matrix/client/v3/sync?timeout={LONG_POLL_MS}&since={since}&filter={FILTER}");
            let answer = worker.get(&path).and_then(|answer| {
                ensure!(answer.status == 200, "{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
                ensure!(answer.is_native(), "the fallback answered");
                answer.json()
            });
            let mut seen = self.seen();
            match answer {
                Ok(answer) => seen.note(&answer),
                Err(error) => seen.failures.push(format!("{error:#}")),
            }
            let (failed, ended) = (seen.since == since, seen.counts.contains_key(LAST));
            drop(seen);
            self.changed.notify_all();
            if ended || self.dropped.load(Ordering::SeqCst) {
                return;
            }
            if failed {
                thread::sleep(PAUSE);
            }
        }
    }
}

impl Seen {
    /// Whether all of these have come.
    pub fn has(&self, labels: &[String]) -> bool {
        labels.iter().all(|label| self.counts.contains_key(label))
    }

    fn note(&mut self, answer: &Value) {
        let texts = |list: &Value, path: &str| -> Vec<String> {
            let list = list.as_array().into_iter().flatten();
            list.filter_map(|entry| Some(entry.pointer(path)?.as_str()?.to_owned())).collect()
        };
        let mut labels = texts(&answer["to_device"]["events"], "/content/label");
        labels.extend(texts(&answer["account_data"]["events"], "/content/label"));
        for (room_id, room) in answer["rooms"]["join"].as_object().into_iter().flatten() {
            labels.extend(texts(&room["timeline"]["events"], "/content/body"));
            self.gaps += usize::from(room["timeline"]["limited"] == true);
            for event in room["ephemeral"]["events"].as_array().into_iter().flatten() {
                let content = &event["content"];
                if event["type"] == "m.receipt" {
                    labels.extend(content.as_object().into_iter().flatten().map(|(event_id, _)| event_id.clone()));
                } else if let Some(user_ids) = content["user_ids"].as_array() {
                    let user_ids = user_ids.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                    self.typing.insert(room_id.clone(), user_ids);
                }
            }
        }
        for label in labels {
            *self.counts.entry(label).or_default() += 1;
        }
        if let Some(next_batch) = answer["next_batch"].as_str() {
            next_batch.clone_into(&mut self.since);
        }
    }
}
