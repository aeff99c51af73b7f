//! What a server admin wants to see besides. Answers to `get_admin_client_config_for_user` in
//! `synapse/storage/databases/main/account_data.py`.

use serde::Deserialize;

use crate::{Storage, StorageError};

const TYPE: &str = "io.element.synapse.admin_client_config";

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
        let data = self.get_global_account_data_for_user(user_id).await?;
        let Some((_, content)) = data.iter().find(|(kind, _)| &**kind == TYPE) else {
            return Ok(AdminClientConfig::default());
        };
        if !self.is_server_admin(user_id).await? {
            return Ok(AdminClientConfig::default());
        }
        let content: Content = serde_json::from_str(content).unwrap_or_default();
        let soft_failed = content.return_soft_failed_events;
        Ok(AdminClientConfig {
            return_soft_failed_events: soft_failed,
            return_policy_server_spammy_events: content.return_policy_server_spammy_events.unwrap_or(soft_failed),
        })
    }

    /// `is_server_admin`.
    pub async fn is_server_admin(&self, user_id: &str) -> Result<bool, StorageError> {
        Ok(self.get_user_by_id(user_id).await?.is_some_and(|user| user.is_admin))
    }
}
