//! Keys for encryption that devices left here. Answers to `synapse/storage/databases/main/end_to_end_keys.py`.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::{Storage, StorageError};

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
}
