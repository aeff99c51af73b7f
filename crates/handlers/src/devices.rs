//! A user's own devices. Answers to `get_devices_by_user` and `get_device` in `synapse/handlers/device.py`.

use serde_json::{Value, json};

use crate::{Handlers, Result};

impl Handlers {
    /// All devices of a user, or the one that is named, if there is such a one.
    pub async fn devices(&self, user_id: &str, device_id: Option<&str>) -> Result<Vec<Value>> {
        let devices = self.storage.get_devices_by_user(user_id, device_id).await?;
        let device = |device: myelin_storage::devices::OwnDevice| {
            json!({
                "user_id": user_id,
                "device_id": device.device_id,
                "display_name": device.display_name,
                "last_seen_ts": device.last_seen,
                "last_seen_ip": device.ip,
            })
        };
        Ok(devices.into_iter().map(device).collect())
    }
}
