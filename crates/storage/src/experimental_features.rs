//! Experimental features of single users. Answers to `synapse/storage/databases/main/experimental_features.py`.

use std::sync::Arc;

use hashbrown::HashSet;

use crate::{Storage, StorageError};

impl Storage {
    /// `list_enabled_features`: such as `msc3881`; what is on for everybody is not among them.
    pub async fn list_enabled_features(&self, user_id: &str) -> Result<Arc<HashSet<String>>, StorageError> {
        let load = || async {
            let rows: Vec<(String,)> =
                sqlx::query_as("SELECT feature FROM per_user_experimental_features WHERE user_id = $1 AND enabled")
                    .bind(user_id)
                    .fetch_all(self.pool())
                    .await?;
            Ok(Arc::new(rows.into_iter().map(|(feature,)| feature).collect()))
        };
        self.accounts().features.get_or_load(Arc::from(user_id), load).await
    }
}
