//! Devices of local users. Answers to `synapse/storage/databases/main/devices.py`.

use std::sync::Arc;

use crate::{Storage, StorageError};

#[derive(Clone, Debug)]
pub struct Device {
    pub display_name: Option<String>,
}

impl Storage {
    /// `get_device`: hidden ones, which stand for cross-signing keys, are none.
    pub async fn get_device(&self, user_id: &str, device_id: &str) -> Result<Option<Arc<Device>>, StorageError> {
        let load = || async {
            let row: Option<(Option<String>,)> = sqlx::query_as(
                "SELECT display_name FROM devices WHERE user_id = $1 AND device_id = $2 AND hidden = FALSE",
            )
            .bind(user_id)
            .bind(device_id)
            .fetch_optional(self.pool())
            .await?;
            Ok(row.map(|(display_name,)| Arc::new(Device { display_name })))
        };
        self.accounts().devices.get_or_load((Arc::from(user_id), Arc::from(device_id)), load).await
    }
}
