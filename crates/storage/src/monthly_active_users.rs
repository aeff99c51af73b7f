//! Who was active this month. Answers to `synapse/storage/databases/main/monthly_active_users.py`.

use std::sync::Arc;

use crate::{Storage, StorageError};

impl Storage {
    /// `user_last_seen_monthly_active`: none for a user who is not among them.
    pub async fn user_last_seen_monthly_active(&self, user_id: &str) -> Result<Option<i64>, StorageError> {
        let load = || async {
            let row: Option<(i64,)> = sqlx::query_as("SELECT timestamp FROM monthly_active_users WHERE user_id = $1")
                .bind(user_id)
                .fetch_optional(self.pool())
                .await?;
            Ok(row.map(|(timestamp,)| timestamp))
        };
        self.accounts().last_active.get_or_load(Arc::from(user_id), load).await
    }

    /// `get_monthly_active_count`: users of application services do not count.
    pub async fn get_monthly_active_count(&self) -> Result<i64, StorageError> {
        let load = || async {
            let (count,): (i64,) = sqlx::query_as(
                "SELECT count(*) FROM monthly_active_users AS m LEFT JOIN users AS u ON m.user_id = u.name
                 WHERE u.appservice_id IS NULL OR u.appservice_id = ''",
            )
            .fetch_one(self.pool())
            .await?;
            Ok(count)
        };
        self.accounts().active_count.get_or_load((), load).await
    }
}
