//! Devices of local users. Answers to `synapse/storage/databases/main/devices.py`.

use std::sync::Arc;

use crate::{Storage, StorageError};

#[derive(Clone, Debug)]
pub struct Device {
    pub display_name: Option<String>,
}

/// A device as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnDevice {
    pub device_id: String,
    pub display_name: Option<String>,
    /// Milliseconds since the epoch.
    pub last_seen: Option<i64>,
    pub ip: Option<String>,
}

impl Storage {
    /// `get_devices_by_user` and `get_last_client_ip_by_device` in one; of all devices, or of one.
    pub async fn get_devices_by_user(
        &self,
        user_id: &str,
        device_id: Option<&str>,
    ) -> Result<Vec<OwnDevice>, StorageError> {
        type Row = (String, Option<String>, Option<i64>, Option<String>);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT device_id, display_name, last_seen, ip FROM devices
             WHERE user_id = $1 AND hidden = FALSE AND ($2::text IS NULL OR device_id = $2)",
        )
        .bind(user_id)
        .bind(device_id)
        .fetch_all(self.pool())
        .await?;
        let device =
            |(device_id, display_name, last_seen, ip): Row| OwnDevice { device_id, display_name, last_seen, ip };
        Ok(rows.into_iter().map(device).collect())
    }

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

    /// `update_device`: a new name for a device that is not hidden; whether there is such a one.
    pub async fn update_device(
        &self,
        user_id: &str,
        device_id: &str,
        display_name: &str,
        now_ms: i64,
    ) -> Result<bool, StorageError> {
        let sql = "UPDATE devices SET display_name = $3 WHERE user_id = $1 AND device_id = $2 AND hidden = FALSE";
        let done = sqlx::query(sql).bind(user_id).bind(device_id).bind(display_name).execute(self.pool()).await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        self.invalidate_and_tell("get_device", &[user_id, device_id], now_ms).await?;
        Ok(true)
    }
}
