//! How many keys a device has left here. Answers to the end of `generate_sync_result`.

use std::collections::BTreeMap;

use crate::{Handlers, Result};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OneTimeKeys {
    /// By algorithm.
    pub counts: BTreeMap<String, i64>,
    pub unused_fallback_types: Vec<String>,
}

impl Handlers {
    pub async fn one_time_keys_for_sync(&self, user_id: &str, device_id: &str) -> Result<OneTimeKeys> {
        Ok(OneTimeKeys {
            counts: self.storage.count_e2e_one_time_keys(user_id, device_id).await?,
            unused_fallback_types: self.storage.get_e2e_unused_fallback_key_types(user_id, device_id).await?,
        })
    }
}
