//! Limits of single users. Answers to `get_ratelimit_for_user` in `synapse/storage/databases/main/room.py`.

use std::sync::Arc;

use crate::{Storage, StorageError};

impl Storage {
    /// `get_ratelimit_for_user`: events per second, where 0 stands for no limit at all; none if nobody set one.
    pub async fn get_ratelimit_for_user(&self, user_id: &str) -> Result<Option<i64>, StorageError> {
        let load = || async {
            let row: Option<(Option<i64>,)> =
                sqlx::query_as("SELECT messages_per_second FROM ratelimit_override WHERE user_id = $1")
                    .bind(user_id)
                    .fetch_optional(self.pool())
                    .await?;
            // NULL is no limit, too.
            Ok(row.map(|(messages_per_second,)| messages_per_second.unwrap_or_default()))
        };
        self.accounts().ratelimits.get_or_load(Arc::from(user_id), load).await
    }
}
