//! Locks that processes take from each other. Answers to `_try_acquire_lock` in
//! `synapse/storage/databases/main/lock.py`.

use crate::{Storage, StorageError};

/// A lock that nobody renewed for so long is free.
const LOCK_TIMEOUT_MS: i64 = 120_000;

impl Storage {
    /// Whether the lock is now ours under `token`: it was free, abandoned, or this process' before it ended.
    pub async fn try_acquire_lock(
        &self,
        name: &str,
        key: &str,
        token: &str,
        now_ms: i64,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query(
            "INSERT INTO worker_locks AS held (lock_name, lock_key, instance_name, token, last_renewed_ts)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (lock_name, lock_key) DO UPDATE SET token = excluded.token,
                 instance_name = excluded.instance_name, last_renewed_ts = excluded.last_renewed_ts
             WHERE held.last_renewed_ts < $6 OR held.instance_name = excluded.instance_name",
        )
        .bind(name)
        .bind(key)
        .bind(self.instance_name())
        .bind(token)
        .bind(now_ms)
        .bind(now_ms - LOCK_TIMEOUT_MS)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Frees it, if it is still ours.
    pub async fn release_lock(&self, name: &str, key: &str, token: &str) -> Result<(), StorageError> {
        sqlx::query("DELETE FROM worker_locks WHERE lock_name = $1 AND lock_key = $2 AND token = $3")
            .bind(name)
            .bind(key)
            .bind(token)
            .execute(self.pool())
            .await?;
        Ok(())
    }
}
