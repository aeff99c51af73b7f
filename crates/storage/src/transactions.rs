//! Which servers did not answer lately, and that they are back. Answers to `synapse/storage/databases/main/transactions.py`.

use std::sync::Arc;

use hashbrown::HashMap;
use myelin_caches::Registry;

use crate::room_caches::by_key;
use crate::{CacheSizes, Loader, Storage, StorageError};

/// `DestinationRetryTimings`: milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryTimings {
    /// When it first failed.
    pub failure_ts: Option<i64>,
    /// Of the last attempt.
    pub retry_last_ts: i64,
    /// After which there may be another.
    pub retry_interval: i64,
}

pub(crate) type RetryTimingsOf = Arc<Loader<Arc<str>, Option<RetryTimings>>>;

pub(crate) fn retry_timings(sizes: &CacheSizes, registry: &Registry) -> RetryTimingsOf {
    let timings: RetryTimingsOf = Arc::new(Loader::new(sizes.bytes(2 << 20), |name: &Arc<str>, _| name.len() + 100));
    by_key(registry, "get_destination_retry_timings", &timings);
    timings
}

impl Storage {
    /// `get_destination_retry_timings`; nothing of a server that answers.
    pub async fn get_destination_retry_timings(&self, destination: &str) -> Result<Option<RetryTimings>, StorageError> {
        let found = self.0.retry_timings.get(destination, self, Self::load_retry_timings).await?;
        Ok(found.flatten())
    }

    /// `set_destination_retry_timings`, at a time in milliseconds; all 0 of a server that is there again. What another
    /// process found out later stays.
    pub async fn set_destination_retry_timings(
        &self,
        destination: &str,
        timings: RetryTimings,
        now_ms: i64,
    ) -> Result<(), StorageError> {
        sqlx::query(
            "INSERT INTO destinations AS known (destination, failure_ts, retry_last_ts, retry_interval)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (destination) DO UPDATE
                 SET failure_ts = excluded.failure_ts, retry_last_ts = excluded.retry_last_ts,
                     retry_interval = excluded.retry_interval
             WHERE excluded.retry_interval = 0 OR excluded.retry_last_ts = 0 OR known.retry_interval IS NULL
                 OR known.retry_interval < excluded.retry_interval OR known.retry_last_ts < excluded.retry_last_ts",
        )
        .bind(destination)
        .bind(timings.failure_ts)
        .bind(timings.retry_last_ts)
        .bind(timings.retry_interval)
        .execute(self.pool())
        .await?;
        self.invalidate_and_tell("get_destination_retry_timings", &[destination], now_ms).await
    }

    async fn load_retry_timings(
        self,
        destinations: Vec<Arc<str>>,
    ) -> Result<HashMap<Arc<str>, Option<RetryTimings>>, StorageError> {
        let names: Vec<&str> = destinations.iter().map(|destination| &**destination).collect();
        let rows: Vec<(String, Option<i64>, i64, i64)> = sqlx::query_as(
            "SELECT destination, failure_ts, retry_last_ts, COALESCE(retry_interval, 0)::bigint FROM destinations
             WHERE destination = ANY($1) AND retry_last_ts <> 0",
        )
        .bind(names)
        .fetch_all(self.pool())
        .await?;
        let mut found: HashMap<_, _> = destinations.iter().map(|name| (Arc::clone(name), None)).collect();
        for (destination, failure_ts, retry_last_ts, retry_interval) in rows {
            let timings = RetryTimings { failure_ts, retry_last_ts, retry_interval };
            found.insert(destination.into(), Some(timings));
        }
        Ok(found)
    }
}
