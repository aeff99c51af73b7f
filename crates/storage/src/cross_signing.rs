//! Cross-signing keys and signatures that users leave here. Answers to the writes of them in
//! `synapse/storage/databases/main/end_to_end_keys.py`.

use crate::{Storage, StorageError};

/// A user's signature on a device or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSignature {
    /// Of the key that signed, with its algorithm.
    pub key_id: String,
    pub target_user_id: String,
    /// A device's id, or the public part of a master key.
    pub target_device_id: String,
    pub signature: String,
    /// Signer and device as the cache of signatures names them: a JSON list.
    pub cache_key: String,
}

impl Storage {
    /// `get_master_cross_signing_key_updatable_before`: nothing: there is no master key. Else until when it may be
    /// replaced without a password, in milliseconds since the epoch, if that was allowed.
    pub async fn get_master_cross_signing_key_updatable_before(
        &self,
        user_id: &str,
    ) -> Result<Option<Option<i64>>, StorageError> {
        let row: Option<(Option<i64>,)> = sqlx::query_as(
            "SELECT updatable_without_uia_before_ms FROM e2e_cross_signing_keys
             WHERE user_id = $1 AND keytype = 'master' ORDER BY stream_id DESC LIMIT 1",
        )
        .bind(user_id)
        .fetch_optional(self.pool())
        .await?;
        Ok(row.map(|(before,)| before))
    }

    /// `set_e2e_cross_signing_key`, of a user of this server. `public` becomes a hidden device, so that no device takes
    /// its name: it fails where there is one. `key_json`: as `json_encoder` writes it.
    pub async fn set_e2e_cross_signing_key(
        &self,
        user_id: &str,
        key_type: &str,
        public: &str,
        key_json: &str,
        now_ms: i64,
    ) -> Result<(), StorageError> {
        let turn = self.invalidating("_get_bare_e2e_cross_signing_keys", now_ms).await;
        let (position,): (i64,) = sqlx::query_as(
            "WITH device AS (
                 INSERT INTO devices (user_id, device_id, display_name, hidden)
                 VALUES ($1, $3, $2::text || ' signing key', TRUE)
             ), key AS (
                 INSERT INTO e2e_cross_signing_keys (user_id, keytype, keydata, stream_id, instance_name)
                 VALUES ($1, $2, $4, nextval('e2e_cross_signing_keys_sequence'), $5))
             INSERT INTO cache_invalidation_stream_by_instance
                 (stream_id, instance_name, cache_func, keys, invalidation_ts)
             VALUES (nextval('cache_invalidation_stream_seq'), $5, '_get_bare_e2e_cross_signing_keys', ARRAY[$1], $6)
             RETURNING stream_id",
        )
        .bind(user_id)
        .bind(key_type)
        .bind(public)
        .bind(key_json)
        .bind(turn.instance())
        .bind(now_ms)
        .fetch_one(self.pool())
        .await?;
        turn.done([(position, vec![user_id.to_owned()])]).await;
        Ok(())
    }

    /// `store_e2e_cross_signing_signatures`. The index that makes them unique is built in the background, and may not
    /// be there yet.
    pub async fn store_e2e_cross_signing_signatures(
        &self,
        user_id: &str,
        signatures: &[NewSignature],
        now_ms: i64,
    ) -> Result<(), StorageError> {
        if signatures.is_empty() {
            return Ok(());
        }
        let turn = self.invalidating("_get_e2e_cross_signing_signatures_for_device", now_ms).await;
        let column = |of: fn(&NewSignature) -> &String| -> Vec<&str> {
            signatures.iter().map(|signature| of(signature).as_str()).collect()
        };
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "WITH new AS MATERIALIZED (
                 SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
                     AS n(key_id, target_user_id, target_device_id, signature, cache_key)
             ), changed AS (
                 UPDATE e2e_cross_signing_signatures AS s SET signature = n.signature FROM new AS n
                 WHERE s.user_id = $1 AND s.target_user_id = n.target_user_id
                     AND s.target_device_id = n.target_device_id AND s.key_id = n.key_id
             ), added AS (
                 INSERT INTO e2e_cross_signing_signatures
                     (user_id, key_id, target_user_id, target_device_id, signature)
                 SELECT $1, n.key_id, n.target_user_id, n.target_device_id, n.signature FROM new AS n
                 WHERE NOT EXISTS (
                     SELECT FROM e2e_cross_signing_signatures AS s
                     WHERE s.user_id = $1 AND s.target_user_id = n.target_user_id
                         AND s.target_device_id = n.target_device_id AND s.key_id = n.key_id)
                 ON CONFLICT DO NOTHING)
             INSERT INTO cache_invalidation_stream_by_instance
                 (stream_id, instance_name, cache_func, keys, invalidation_ts)
             SELECT nextval('cache_invalidation_stream_seq'), $7, '_get_e2e_cross_signing_signatures_for_device',
                 ARRAY[n.cache_key], $8
             FROM new AS n
             RETURNING stream_id, keys[1]",
        )
        .bind(user_id)
        .bind(column(|new| &new.key_id))
        .bind(column(|new| &new.target_user_id))
        .bind(column(|new| &new.target_device_id))
        .bind(column(|new| &new.signature))
        .bind(column(|new| &new.cache_key))
        .bind(turn.instance())
        .bind(now_ms)
        .fetch_all(self.pool())
        .await?;
        turn.done(rows.into_iter().map(|(position, key)| (position, vec![key]))).await;
        Ok(())
    }
}
