//! What a server admin wants to see besides. Answers to `get_admin_client_config_for_user` in
//! `synapse/storage/databases/main/account_data.py`.

use serde::Deserialize;

use crate::{Storage, StorageError};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdminClientConfig {
    pub return_soft_failed_events: bool,
    pub return_policy_server_spammy_events: bool,
}

#[derive(Default, Deserialize)]
struct Content {
    #[serde(default)]
    return_soft_failed_events: bool,
    return_policy_server_spammy_events: Option<bool>,
}

impl Storage {
    /// Nothing at all for users who are not server admins.
    pub async fn get_admin_client_config_for_user(&self, user_id: &str) -> Result<AdminClientConfig, StorageError> {
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT a.content FROM account_data AS a JOIN users AS u ON u.name = a.user_id
             WHERE a.user_id = $1 AND a.account_data_type = 'io.element.synapse.admin_client_config' AND u.admin = 1",
        )
        .bind(user_id)
        .fetch_optional(self.pool())
        .await?;
        let content: Content = row.and_then(|(text,)| serde_json::from_str(&text).ok()).unwrap_or_default();
        let soft_failed = content.return_soft_failed_events;
        Ok(AdminClientConfig {
            return_soft_failed_events: soft_failed,
            return_policy_server_spammy_events: content.return_policy_server_spammy_events.unwrap_or(soft_failed),
        })
    }

    /// `is_server_admin`.
    pub async fn is_server_admin(&self, user_id: &str) -> Result<bool, StorageError> {
        let row: Option<(i32,)> = sqlx::query_as("SELECT 1 FROM users WHERE name = $1 AND admin = 1")
            .bind(user_id)
            .fetch_optional(self.pool())
            .await?;
        Ok(row.is_some())
    }
}
