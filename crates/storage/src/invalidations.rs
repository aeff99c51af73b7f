//! What writes of this process made stale elsewhere: a row for each, written together with the change, and told to the
//! others in order. Answers to `_send_invalidation_to_replication` in `synapse/storage/databases/main/cache.py`.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::{Mutex, MutexGuard, mpsc};

use crate::{Storage, StorageError};

/// Rows on their way to Redis; beyond, whoever writes waits.
const QUEUE: usize = 1_000;

/// A row of the `caches` stream that this process wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidation {
    pub position: i64,
    pub function: &'static str,
    pub keys: Vec<String>,
    /// Milliseconds since the epoch.
    pub ts: i64,
}

pub(crate) struct Invalidations {
    instance: String,
    /// Held from where a position is taken to where it is told: who heard of a later one skips the earlier.
    turn: Mutex<mpsc::Sender<Invalidation>>,
    told: std::sync::Mutex<Option<mpsc::Receiver<Invalidation>>>,
    last: AtomicI64,
}

/// The right to write such rows. Dropped when they are told.
pub(crate) struct Turn<'a> {
    storage: &'a Storage,
    queue: MutexGuard<'a, mpsc::Sender<Invalidation>>,
    function: &'static str,
    ts: i64,
}

impl Invalidations {
    pub fn new(instance: &str) -> Self {
        let (queue, told) = mpsc::channel(QUEUE);
        Self {
            instance: instance.to_owned(),
            turn: Mutex::new(queue),
            told: std::sync::Mutex::new(Some(told)),
            last: AtomicI64::new(0),
        }
    }
}

impl Storage {
    /// What is to be told to the others. Once.
    pub fn take_invalidations(&self) -> Option<mpsc::Receiver<Invalidation>> {
        self.0.invalidations.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    /// Where this process stands as a writer of the `caches` stream; 0: it has written nothing.
    pub fn last_invalidation(&self) -> i64 {
        self.0.invalidations.last.load(Ordering::Acquire)
    }

    /// `instance_name` of what this process writes.
    pub(crate) fn instance_name(&self) -> &str {
        &self.0.invalidations.instance
    }

    /// For one statement that makes results of `function` stale.
    pub(crate) async fn invalidating(&self, function: &'static str, ts: i64) -> Turn<'_> {
        Turn { storage: self, queue: self.0.invalidations.turn.lock().await, function, ts }
    }
}

impl Turn<'_> {
    /// `instance_name`
    pub fn instance(&self) -> &str {
        self.storage.instance_name()
    }

    /// The rows are committed: forgets what they name, and tells the others.
    pub async fn done(self, rows: impl IntoIterator<Item = (i64, Vec<String>)>) {
        let function = self.function;
        let rows: Vec<_> = rows.into_iter().map(|(position, keys)| (position, function, keys)).collect();
        self.done_of(rows).await;
    }

    /// As `done`, of several functions.
    pub async fn done_of(self, mut rows: Vec<(i64, &'static str, Vec<String>)>) {
        rows.sort_unstable();
        rows.dedup();
        for (position, function, keys) in rows {
            let texts: Vec<&str> = keys.iter().map(String::as_str).collect();
            self.storage.registry().invalidate(function, Some(&texts));
            self.storage.0.invalidations.last.fetch_max(position, Ordering::AcqRel);
            let row = Invalidation { position, function, keys, ts: self.ts };
            // Nobody tells any more: the process ends.
            let _ = self.queue.send(row).await;
        }
    }
}

impl Storage {
    /// `send_invalidation_to_replication`: of something that was changed by another statement.
    pub(crate) async fn invalidate_and_tell(
        &self,
        function: &'static str,
        keys: &[&str],
        ts: i64,
    ) -> Result<(), StorageError> {
        let turn = self.invalidating(function, ts).await;
        let (position,): (i64,) = sqlx::query_as(
            "INSERT INTO cache_invalidation_stream_by_instance
                 (stream_id, instance_name, cache_func, keys, invalidation_ts)
             VALUES (nextval('cache_invalidation_stream_seq'), $1, $2, $3, $4) RETURNING stream_id",
        )
        .bind(turn.instance())
        .bind(function)
        .bind(keys)
        .bind(ts)
        .fetch_one(self.pool())
        .await?;
        turn.done([(position, keys.iter().map(|key| (*key).to_owned()).collect())]).await;
        Ok(())
    }
}
