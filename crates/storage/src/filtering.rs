//! Filters that clients stored. Answers to `synapse/storage/databases/main/filtering.py`.

use std::sync::Arc;

use crate::{Storage, StorageError};

/// How often a number is tried that another request may take first.
const ATTEMPTS: usize = 5;

impl Storage {
    /// `get_user_filter`: its JSON text. A filter never changes.
    pub async fn get_user_filter(&self, user_id: &str, filter_id: i64) -> Result<Option<Arc<str>>, StorageError> {
        let key = (Arc::from(user_id), filter_id);
        if let Some(found) = self.accounts().filters.get(&key) {
            return Ok(Some(found));
        }
        let row: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT filter_json FROM user_filters WHERE full_user_id = $1 AND filter_id = $2")
                .bind(user_id)
                .bind(filter_id)
                .fetch_optional(self.pool())
                .await?;
        let Some((bytes,)) = row else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|_| {
            StorageError::inconsistency("user_filters", "filter_json", format!("{user_id} {filter_id}"))
        })?;
        let text: Arc<str> = text.into();
        self.accounts().filters.insert(key, Arc::clone(&text));
        Ok(Some(text))
    }

    /// `add_user_filter`: the number of an identical filter, or the next one.
    pub async fn add_user_filter(&self, user_id: &str, canonical_json: &str) -> Result<Option<i64>, StorageError> {
        let localpart = user_id.trim_start_matches('@').split(':').next().unwrap_or_default();
        for _ in 0..ATTEMPTS {
            let known: Option<(i64,)> =
                sqlx::query_as("SELECT filter_id FROM user_filters WHERE full_user_id = $1 AND filter_json = $2")
                    .bind(user_id)
                    .bind(canonical_json.as_bytes())
                    .fetch_optional(self.pool())
                    .await?;
            if let Some((filter_id,)) = known {
                return Ok(Some(filter_id));
            }
            // One statement: what makes the number its own is the table's unique index.
            let added: Option<(i64,)> = sqlx::query_as(
                "INSERT INTO user_filters (full_user_id, user_id, filter_id, filter_json)
                 SELECT $1, $2, COALESCE(max(filter_id) + 1, 0), $3 FROM user_filters WHERE full_user_id = $1
                 ON CONFLICT DO NOTHING RETURNING filter_id",
            )
            .bind(user_id)
            .bind(localpart)
            .bind(canonical_json.as_bytes())
            .fetch_optional(self.pool())
            .await?;
            if let Some((filter_id,)) = added {
                return Ok(Some(filter_id));
            }
        }
        Ok(None)
    }
}
