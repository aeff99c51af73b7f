//! Keys for encryption that devices left here. Answers to `synapse/storage/databases/main/end_to_end_keys.py`.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::{Storage, StorageError};

/// A key of this algorithm for this device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    pub user_id: String,
    pub device_id: String,
    pub algorithm: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedKey {
    pub claim: Claim,
    /// Without its algorithm.
    pub key_id: String,
    /// JSON.
    pub key_json: String,
}

/// Device to algorithm to number of keys.
pub type KeyCounts = HashMap<String, BTreeMap<String, i64>>;
/// Device to algorithms.
pub type FallbackKeyTypes = HashMap<String, Vec<String>>;
/// Counted even where there is none.
const ALWAYS: &str = "signed_curve25519";

impl Storage {
    /// `count_e2e_one_time_keys`.
    pub async fn count_e2e_one_time_keys(
        &self,
        user_id: &str,
        device_id: &str,
    ) -> Result<BTreeMap<String, i64>, StorageError> {
        let load = || async {
            let rows: Vec<(String, String, i64)> = sqlx::query_as(
                "SELECT device_id, algorithm, count(key_id) FROM e2e_one_time_keys_json
                 WHERE user_id = $1 GROUP BY device_id, algorithm",
            )
            .bind(user_id)
            .fetch_all(self.pool())
            .await?;
            let mut counts = KeyCounts::new();
            for (device_id, algorithm, count) in rows {
                counts.entry(device_id).or_default().insert(algorithm, count);
            }
            Ok::<_, StorageError>(Arc::new(counts))
        };
        let counts = self.users().one_time_keys.get_or_load(Arc::from(user_id), load).await?;
        let mut counts = counts.get(device_id).cloned().unwrap_or_default();
        counts.entry(ALWAYS.to_owned()).or_insert(0);
        Ok(counts)
    }

    /// `get_e2e_unused_fallback_key_types`.
    pub async fn get_e2e_unused_fallback_key_types(
        &self,
        user_id: &str,
        device_id: &str,
    ) -> Result<Vec<String>, StorageError> {
        let load = || async {
            let rows: Vec<(String, String)> = sqlx::query_as(
                "SELECT device_id, algorithm FROM e2e_fallback_keys_json WHERE user_id = $1 AND NOT used",
            )
            .bind(user_id)
            .fetch_all(self.pool())
            .await?;
            let mut types = FallbackKeyTypes::new();
            for (device_id, algorithm) in rows {
                types.entry(device_id).or_default().push(algorithm);
            }
            Ok::<_, StorageError>(Arc::new(types))
        };
        let types = self.users().fallback_keys.get_or_load(Arc::from(user_id), load).await?;
        Ok(types.get(device_id).cloned().unwrap_or_default())
    }

    /// `claim_e2e_one_time_keys`: of each device and algorithm the oldest key, which is then nobody else's. A key that
    /// another claim is about to take is passed over.
    pub async fn claim_e2e_one_time_keys(
        &self,
        claims: &[Claim],
        now_ms: i64,
    ) -> Result<Vec<ClaimedKey>, StorageError> {
        let statement = "WITH oldest AS MATERIALIZED (
                 SELECT k.user_id, k.device_id, k.algorithm, k.key_id
                 FROM unnest($1::text[], $2::text[], $3::text[]) AS c(user_id, device_id, algorithm),
                 LATERAL (
                     SELECT * FROM e2e_one_time_keys_json AS o
                     WHERE o.user_id = c.user_id AND o.device_id = c.device_id AND o.algorithm = c.algorithm
                     ORDER BY o.ts_added_ms LIMIT 1 FOR UPDATE SKIP LOCKED) AS k
             ), claimed AS (
                 DELETE FROM e2e_one_time_keys_json AS k USING oldest AS o
                 WHERE (k.user_id, k.device_id, k.algorithm, k.key_id)
                     = (o.user_id, o.device_id, o.algorithm, o.key_id)
                 RETURNING k.user_id, k.device_id, k.algorithm, k.key_id, k.key_json
             ), told AS (
                 INSERT INTO cache_invalidation_stream_by_instance
                     (stream_id, instance_name, cache_func, keys, invalidation_ts)
                 SELECT nextval('cache_invalidation_stream_seq'), $4, 'count_e2e_one_time_keys',
                     ARRAY[d.user_id, d.device_id], $5
                 FROM (SELECT DISTINCT user_id, device_id FROM claimed) AS d
                 RETURNING stream_id, keys)
             SELECT c.*, told.stream_id FROM claimed AS c JOIN told ON told.keys = ARRAY[c.user_id, c.device_id]";
        self.claim("count_e2e_one_time_keys", statement, claims, now_ms).await
    }

    /// `claim_e2e_fallback_keys`: they stay, and are marked as used.
    pub async fn claim_e2e_fallback_keys(
        &self,
        claims: &[Claim],
        now_ms: i64,
    ) -> Result<Vec<ClaimedKey>, StorageError> {
        let statement = "WITH claimed AS (
                 UPDATE e2e_fallback_keys_json AS k SET used = TRUE
                 FROM unnest($1::text[], $2::text[], $3::text[]) AS c(user_id, device_id, algorithm)
                 WHERE (k.user_id, k.device_id, k.algorithm) = (c.user_id, c.device_id, c.algorithm)
                 RETURNING k.user_id, k.device_id, k.algorithm, k.key_id, k.key_json
             ), told AS (
                 INSERT INTO cache_invalidation_stream_by_instance
                     (stream_id, instance_name, cache_func, keys, invalidation_ts)
                 SELECT nextval('cache_invalidation_stream_seq'), $4, 'get_e2e_unused_fallback_key_types',
                     ARRAY[d.user_id, d.device_id], $5
                 FROM (SELECT DISTINCT user_id, device_id FROM claimed) AS d
                 RETURNING stream_id, keys)
             SELECT c.*, told.stream_id FROM claimed AS c JOIN told ON told.keys = ARRAY[c.user_id, c.device_id]";
        self.claim("get_e2e_unused_fallback_key_types", statement, claims, now_ms).await
    }

    /// `statement` gives the claimed keys of users, devices and algorithms, and tells of what it makes stale of `function`.
    async fn claim(
        &self,
        function: &'static str,
        statement: &'static str,
        claims: &[Claim],
        now_ms: i64,
    ) -> Result<Vec<ClaimedKey>, StorageError> {
        let turn = self.invalidating(function, now_ms).await;
        let rows: Vec<ClaimedRow> = sqlx::query_as(statement)
            .bind(claims.iter().map(|claim| claim.user_id.as_str()).collect::<Vec<_>>())
            .bind(claims.iter().map(|claim| claim.device_id.as_str()).collect::<Vec<_>>())
            .bind(claims.iter().map(|claim| claim.algorithm.as_str()).collect::<Vec<_>>())
            .bind(turn.instance())
            .bind(now_ms)
            .fetch_all(self.pool())
            .await?;
        turn.done(rows.iter().map(|row| (row.5, vec![row.0.clone(), row.1.clone()]))).await;
        let key = |(user_id, device_id, algorithm, key_id, key_json, _): ClaimedRow| ClaimedKey {
            claim: Claim { user_id, device_id, algorithm },
            key_id,
            key_json,
        };
        Ok(rows.into_iter().map(key).collect())
    }
}

/// With the position of the row that tells of it.
type ClaimedRow = (String, String, String, String, String, i64);
