//! Keys that devices leave here. Answers to the writes of `synapse/storage/databases/main/end_to_end_keys.py`.

use hashbrown::HashMap;

use crate::{Storage, StorageError};

/// A one-time key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    pub algorithm: String,
    /// Without its algorithm.
    pub key_id: String,
    /// Canonical JSON.
    pub key_json: String,
}

impl Storage {
    /// `set_e2e_device_keys`: canonical JSON; whether they are others than before.
    pub async fn set_e2e_device_keys(
        &self,
        user_id: &str,
        device_id: &str,
        key_json: &str,
        now_ms: i64,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query(
            "INSERT INTO e2e_device_keys_json AS known (user_id, device_id, ts_added_ms, key_json)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (user_id, device_id) DO UPDATE
                 SET ts_added_ms = excluded.ts_added_ms, key_json = excluded.key_json
             WHERE known.key_json <> excluded.key_json",
        )
        .bind(user_id)
        .bind(device_id)
        .bind(now_ms)
        .bind(key_json)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// `get_e2e_one_time_keys`: those of these ids, of any algorithm, as JSON by algorithm and id.
    pub async fn get_e2e_one_time_keys(
        &self,
        user_id: &str,
        device_id: &str,
        key_ids: &[&str],
    ) -> Result<HashMap<(String, String), String>, StorageError> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT algorithm, key_id, key_json FROM e2e_one_time_keys_json
             WHERE user_id = $1 AND device_id = $2 AND key_id = ANY($3)",
        )
        .bind(user_id)
        .bind(device_id)
        .bind(key_ids)
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|(algorithm, key_id, json)| ((algorithm, key_id), json)).collect())
    }

    /// `add_e2e_one_time_keys`
    pub async fn add_e2e_one_time_keys(
        &self,
        user_id: &str,
        device_id: &str,
        keys: &[NewKey],
        now_ms: i64,
    ) -> Result<(), StorageError> {
        let turn = self.invalidating("count_e2e_one_time_keys", now_ms).await;
        let (position,): (i64,) = sqlx::query_as(
            "WITH added AS (
                 INSERT INTO e2e_one_time_keys_json (user_id, device_id, algorithm, key_id, ts_added_ms, key_json)
                 SELECT $1, $2, k.algorithm, k.key_id, $4, k.key_json
                 FROM unnest($5::text[], $6::text[], $7::text[]) AS k(algorithm, key_id, key_json))
             INSERT INTO cache_invalidation_stream_by_instance
                 (stream_id, instance_name, cache_func, keys, invalidation_ts)
             VALUES (nextval('cache_invalidation_stream_seq'), $3, 'count_e2e_one_time_keys', ARRAY[$1, $2], $4)
             RETURNING stream_id",
        )
        .bind(user_id)
        .bind(device_id)
        .bind(turn.instance())
        .bind(now_ms)
        .bind(keys.iter().map(|key| key.algorithm.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.key_id.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.key_json.as_str()).collect::<Vec<_>>())
        .fetch_one(self.pool())
        .await?;
        turn.done([(position, vec![user_id.to_owned(), device_id.to_owned()])]).await;
        Ok(())
    }

    /// `set_e2e_fallback_keys`, of one algorithm: `key_json` is kept; it is new, and unused, unless what is kept equals
    /// `canonical`.
    pub async fn set_e2e_fallback_key(
        &self,
        user_id: &str,
        device_id: &str,
        key: &NewKey,
        canonical: &str,
    ) -> Result<(), StorageError> {
        sqlx::query(
            "INSERT INTO e2e_fallback_keys_json AS known (user_id, device_id, algorithm, key_id, key_json, used)
             VALUES ($1, $2, $3, $4, $5, FALSE)
             ON CONFLICT (user_id, device_id, algorithm) DO UPDATE
                 SET key_id = excluded.key_id, key_json = excluded.key_json, used = FALSE
             WHERE known.key_json <> $6",
        )
        .bind(user_id)
        .bind(device_id)
        .bind(&key.algorithm)
        .bind(&key.key_id)
        .bind(&key.key_json)
        .bind(canonical)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Tells that a device's fallback keys changed.
    pub async fn fallback_keys_changed(&self, user_id: &str, device_id: &str, now_ms: i64) -> Result<(), StorageError> {
        self.invalidate_and_tell("get_e2e_unused_fallback_key_types", &[user_id, device_id], now_ms).await
    }
}
