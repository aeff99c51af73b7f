//! Device lists of other servers' users that are not kept here yet: their writer fetches them. Answers to
//! `_query_devices_for_destination` in `synapse/handlers/e2e_keys.py`.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use myelin_model::MatrixError;
use myelin_replication::http::Repeat;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::{Handlers, Result};

/// Servers asked at the same time for one request.
const SERVERS_AT_ONCE: usize = 10;

/// What was fetched of one user.
#[derive(Deserialize)]
pub(crate) struct Resynced {
    pub devices: Vec<ResyncedDevice>,
    #[serde(default)]
    pub master_key: Option<Box<RawValue>>,
    #[serde(default)]
    pub self_signing_key: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
pub(crate) struct ResyncedDevice {
    pub device_id: String,
    pub keys: BTreeMap<String, Box<RawValue>>,
}

impl Handlers {
    /// `multi_user_device_resync`, of all devices of each; nothing when that cannot be done for one of them, as they
    /// are in no room of ours, or their server did not answer.
    pub(crate) async fn resync_devices(&self, user_ids: &[&str]) -> Result<Option<BTreeMap<String, Resynced>>> {
        let mut servers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for user_id in user_ids {
            if self.storage.get_rooms_for_user(user_id).await?.is_empty() {
                return Ok(None);
            }
            let server = user_id.split_once(':').map_or("", |(_, server)| server);
            servers.entry(server).or_default().push(user_id);
        }
        let writer = self.config.worker.stream_writers.device_lists.first();
        let writer = writer.ok_or_else(|| MatrixError::internal("no writer of devices"))?;
        let ask = |user_ids: Vec<&str>| {
            let body = json!({ "user_ids": user_ids });
            async move { self.ask_writer(writer, "multi_user_device_resync", &[], Repeat::ById, &body).await }
        };
        let answers: Vec<_> =
            stream::iter(servers.into_values().map(ask)).buffer_unordered(SERVERS_AT_ONCE).try_collect().await?;
        let mut found = BTreeMap::new();
        for answer in answers {
            let Ok(users) = serde_json::from_value::<BTreeMap<String, Resynced>>(answer) else { return Ok(None) };
            found.extend(users);
        }
        Ok(user_ids.iter().all(|user_id| found.contains_key(*user_id)).then_some(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_writer() {
        let answer = json!({"@a:t": {"stream_id": 5, "user_id": "@a:t", "devices": [
            {"device_id": "D", "keys": {"keys": {"x": "y"}}, "device_display_name": "n"}], "master_key": {"m": 1.5}}});
        let users: BTreeMap<String, Resynced> = serde_json::from_value(answer).unwrap();
        assert_eq!(users["@a:t"].devices[0].keys["keys"].get(), r#"{"x":"y"}"#);
        assert_eq!(users["@a:t"].master_key.as_deref().unwrap().get(), r#"{"m":1.5}"#);
        assert!(serde_json::from_value::<BTreeMap<String, Resynced>>(json!({ "@a:t": null })).is_err());
    }
}
