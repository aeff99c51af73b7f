//! Devices and keys of our users, as other servers see them. Answers to `on_federation_query_user_devices` in
//! `synapse/handlers/device.py` and `on_federation_query_client_keys` in `e2e_keys.py`.

use std::collections::BTreeMap;
use std::sync::Arc;

use myelin_model::MatrixError;
use myelin_model::identifiers::parse_user_id;
use myelin_storage::e2e_device_keys::{CrossSigningKeys, DeviceKeys};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::e2e_keys::{DeviceQuery, Devices, Object, signed_keys_of};
use crate::{Handlers, Result};

#[derive(Serialize)]
struct UserDevices<'a> {
    user_id: &'a str,
    stream_id: i64,
    devices: Vec<UserDevice>,
    master_key: Option<&'a RawValue>,
    self_signing_key: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct UserDevice {
    device_id: String,
    #[serde(skip_serializing_if = "Object::is_empty")]
    keys: Object,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_display_name: Option<String>,
}

#[derive(Serialize)]
struct ClientKeys<'a> {
    #[serde(rename = "device_keys")]
    devices: Devices<'a>,
    #[serde(rename = "master_keys")]
    masters: BTreeMap<&'a str, &'a RawValue>,
    #[serde(rename = "self_signing_keys")]
    self_signing: BTreeMap<&'a str, &'a RawValue>,
    /// Nobody's: other servers have no use for them.
    #[serde(rename = "user_signing_keys")]
    user_signing: BTreeMap<&'a str, &'a RawValue>,
}

fn public<'a>(keys: Option<&'a CrossSigningKeys>, kind: &str) -> Option<&'a RawValue> {
    Some(&*keys?.get(kind)?.json)
}

impl Handlers {
    /// Application services are asked for keys as well.
    fn asks_services_for_keys(&self) -> bool {
        self.config.server.experimental.enabled.contains("msc3984_appservice_key_query")
    }

    pub(crate) fn check_is_mine(&self, user_id: &str) -> Result<()> {
        let (_, domain) = parse_user_id(user_id)?;
        if domain == self.config.server.server_name {
            return Ok(());
        }
        Err(MatrixError::unknown(400, "User is not hosted on this homeserver"))
    }

    /// `on_federation_query_user_devices`, as JSON; nothing when application services must be asked.
    pub async fn on_federation_query_user_devices(&self, user_id: &str) -> Result<Option<Vec<u8>>> {
        self.check_is_mine(user_id)?;
        if self.asks_services_for_keys() {
            return Ok(None);
        }
        // Taken first: what is read may be newer.
        let stream_id = self.live.current_token().device_list.base;
        let show_names = self.config.federation.allow_device_name_lookup;
        let device = |device: DeviceKeys| {
            let device_display_name = device.display_name.clone().filter(|name| show_names && !name.is_empty());
            Ok(UserDevice { device_id: device.device_id.clone(), keys: signed_keys_of(&device)?, device_display_name })
        };
        let devices = self.storage.get_e2e_device_keys_and_signatures(&[user_id], &[]).await?;
        let devices = devices.into_iter().map(device).collect::<Result<_>>()?;
        let cross_signing = self.storage.get_bare_e2e_cross_signing_keys([Arc::from(user_id)]).await?;
        let keys = cross_signing.get(user_id);
        let (master_key, self_signing_key) = (public(keys, "master"), public(keys, "self_signing"));
        let answer = UserDevices { user_id, stream_id, devices, master_key, self_signing_key };
        serde_json::to_vec(&answer).map(Some).map_err(MatrixError::internal)
    }

    /// `on_federation_query_client_keys`, as JSON; nothing of an odd question, or when application services must be
    /// asked. `device_keys`: users, and lists of their devices.
    pub async fn on_federation_query_client_keys(&self, device_keys: Option<&Value>) -> Result<Option<Vec<u8>>> {
        let Some(query) = device_query(device_keys) else { return Ok(None) };
        for user_id in query.keys() {
            self.check_is_mine(user_id)?;
        }
        if self.asks_services_for_keys() {
            return Ok(None);
        }
        let all: Vec<_> = query.iter().collect();
        let devices = self.query_local_devices(&all, self.config.federation.allow_device_name_lookup).await?;
        let users = query.keys().map(|user_id| Arc::from(user_id.as_str()));
        let cross_signing = self.storage.get_bare_e2e_cross_signing_keys(users).await?;
        let of = |kind: &str| {
            let keys = cross_signing.iter().filter_map(|(user_id, keys)| Some((&**user_id, public(Some(keys), kind)?)));
            keys.collect()
        };
        let answer = ClientKeys {
            devices,
            masters: of("master"),
            self_signing: of("self_signing"),
            user_signing: BTreeMap::new(),
        };
        serde_json::to_vec(&answer).map(Some).map_err(MatrixError::internal)
    }
}

/// `null` or an empty list stand for all devices.
fn device_query(device_keys: Option<&Value>) -> Option<DeviceQuery> {
    let Some(device_keys) = device_keys else { return Some(DeviceQuery::new()) };
    let devices = |(user_id, devices): (&String, &Value)| {
        let devices = match devices {
            Value::Null => Vec::new(),
            Value::Array(ids) => ids.iter().map(|id| id.as_str().map(str::to_owned)).collect::<Option<_>>()?,
            _ => return None,
        };
        Some((user_id.clone(), devices))
    };
    device_keys.as_object()?.iter().map(devices).collect()
}
