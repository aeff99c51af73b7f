//! Keys of devices and users. Answers to `query_devices` in `synapse/handlers/e2e_keys.py`.

use std::collections::BTreeMap;
use std::iter::once;
use std::sync::Arc;

use hashbrown::HashMap;
use myelin_model::identifiers::is_valid_user_id;
use myelin_model::{MatrixError, Requester};
use myelin_storage::e2e_device_keys::{CrossSigningKey, CrossSigningKeys, DeviceKeys};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::e2e_resync::Resynced;
use crate::{Handlers, Result};

/// Users, and of which of their devices; of all when the list is empty.
pub type DeviceQuery = BTreeMap<String, Vec<String>>;
/// A JSON object of which most is copied as it is.
pub(crate) type Object = BTreeMap<String, Box<RawValue>>;
/// By user and device.
pub(crate) type Devices<'a> = BTreeMap<&'a str, BTreeMap<String, Object>>;
type Keys = BTreeMap<Arc<str>, Box<RawValue>>;

#[derive(Serialize)]
struct Answer<'a> {
    device_keys: Devices<'a>,
    failures: Object,
    master_keys: Keys,
    self_signing_keys: Keys,
    user_signing_keys: Keys,
}

/// A row of `device_lists_remote_cache`.
#[derive(Deserialize)]
struct CachedDevice {
    #[serde(default)]
    keys: Option<Object>,
    #[serde(default)]
    device_display_name: Option<String>,
}

impl Handlers {
    /// `query_devices`, as JSON; nothing when another server or an application service must be asked, or when it is
    /// an error to ask for a device that is not in the cache.
    pub async fn query_devices(&self, requester: &Requester, query: &DeviceQuery) -> Result<Option<Vec<u8>>> {
        let enabled = &self.config.server.experimental.enabled;
        let special = ["msc4263_limit_key_queries_to_users_who_share_rooms", "msc3984_appservice_key_query"];
        if special.iter().any(|name| enabled.contains(*name)) {
            return Ok(None);
        }
        if query.iter().any(|(user_id, devices)| once(user_id).chain(devices).any(|text| text.contains('\0'))) {
            return Err(MatrixError::invalid_param("NUL in device_keys"));
        }
        let valid = query.iter().filter(|(user_id, _)| is_valid_user_id(user_id));
        let (local, remote): (Vec<_>, Vec<_>) = valid.partition(|(user_id, _)| self.is_mine(user_id));
        let mut device_keys = self.query_local_devices(&local, true).await?;
        let Some(mut missing) = self.query_cached_devices(&remote, &mut device_keys).await? else { return Ok(None) };
        let users = local.iter().chain(&remote).map(|(user_id, _)| Arc::from(user_id.as_str()));
        let cross_signing = self.storage.get_bare_e2e_cross_signing_keys(users).await?;
        let half = |keys: &CrossSigningKeys| keys.contains_key("master") != keys.contains_key("self_signing");
        for (user_id, wanted) in &remote {
            if cross_signing.get(user_id.as_str()).is_some_and(half) && !missing.contains(&user_id.as_str()) {
                if !wanted.is_empty() {
                    return Ok(None);
                }
                missing.push(user_id);
            }
        }
        let [mut master_keys, mut self_signing_keys, user_signing_keys] =
            self.get_cross_signing_keys_from_cache(&requester.user_id, &cross_signing).await?;
        if !missing.is_empty() {
            let Some(mut fetched) = self.resync_devices(&missing).await? else { return Ok(None) };
            for user_id in missing {
                let Some(Resynced { devices, master_key, self_signing_key }) = fetched.remove(user_id) else {
                    continue;
                };
                let keys = devices.into_iter().map(|device| (device.device_id, device.keys));
                device_keys.entry(user_id).or_default().extend(keys);
                for (all, key) in [(&mut master_keys, master_key), (&mut self_signing_keys, self_signing_key)] {
                    all.extend(key.map(|key| (Arc::from(user_id), key)));
                }
            }
        }
        let answer = Answer { device_keys, failures: Object::new(), master_keys, self_signing_keys, user_signing_keys };
        serde_json::to_vec(&answer).map(Some).map_err(MatrixError::internal)
    }

    /// `names`: with those of the devices.
    pub(crate) async fn query_local_devices<'a>(
        &self,
        query: &[(&'a String, &'a Vec<String>)],
        names: bool,
    ) -> Result<Devices<'a>> {
        let all: Vec<&str> = query.iter().filter(|(_, ids)| ids.is_empty()).map(|(user, _)| user.as_str()).collect();
        let named = query.iter().flat_map(|(user, ids)| ids.iter().map(|id| (user.as_str(), id.as_str())));
        let named: Vec<(&str, &str)> = named.collect();
        let mut found: Devices<'a> = query.iter().map(|(user, _)| (user.as_str(), BTreeMap::new())).collect();
        for device in self.storage.get_e2e_device_keys_and_signatures(&all, &named).await? {
            if let Some(devices) = found.get_mut(device.user_id.as_str()) {
                devices.insert(device.device_id.clone(), keys_of(device, names)?);
            }
        }
        Ok(found)
    }

    /// Devices of other servers' users, and the users whose devices are not known here; nothing when some of those
    /// are asked for by name.
    async fn query_cached_devices<'a>(
        &self,
        query: &[(&'a String, &'a Vec<String>)],
        found: &mut Devices<'a>,
    ) -> Result<Option<Vec<&'a str>>> {
        let mut missing = Vec::new();
        if query.is_empty() {
            return Ok(Some(missing));
        }
        let users: Vec<&str> = query.iter().map(|(user_id, _)| user_id.as_str()).collect();
        let known = self.storage.get_users_whose_devices_are_cached(&users).await?;
        let mut cached: HashMap<String, HashMap<String, String>> = HashMap::new();
        for (user_id, device_id, content) in self.storage.get_cached_devices_for_users(&users).await? {
            cached.entry(user_id).or_default().insert(device_id, content);
        }
        for (user_id, wanted) in query {
            if !known.iter().any(|known| known == *user_id) {
                if !wanted.is_empty() {
                    return Ok(None);
                }
                missing.push(user_id.as_str());
                continue;
            }
            let devices = cached.remove(user_id.as_str()).unwrap_or_default();
            if wanted.iter().any(|device_id| !devices.contains_key(device_id)) {
                return Ok(None);
            }
            let of_user = found.entry(user_id).or_default();
            for (device_id, content) in devices {
                if (wanted.is_empty() || wanted.contains(&device_id))
                    && let Some(keys) = cached_keys(&content)?
                {
                    of_user.insert(device_id, keys);
                }
            }
        }
        Ok(Some(missing))
    }

    /// Master and self-signing keys of everybody, and the asker's own user-signing key, each with what the asker
    /// signed on it.
    async fn get_cross_signing_keys_from_cache(
        &self,
        from_user_id: &str,
        found: &HashMap<Arc<str>, CrossSigningKeys>,
    ) -> Result<[Keys; 3]> {
        let mut shown: Vec<(usize, &Arc<str>, &CrossSigningKey)> = Vec::new();
        for (user_id, keys) in found {
            for (index, kind) in ["master", "self_signing", "user_signing"].into_iter().enumerate() {
                if let Some(key) = keys.get(kind).filter(|_| index < 2 || **user_id == *from_user_id) {
                    shown.push((index, user_id, key));
                }
            }
        }
        let named: Vec<_> = shown.iter().map(|(_, user_id, key)| (Arc::clone(user_id), key.public.clone())).collect();
        let signatures = self.storage.get_e2e_cross_signing_signatures(from_user_id, &named).await?;
        let mut answer = <[Keys; 3]>::default();
        for ((index, user_id, key), signatures) in shown.into_iter().zip(signatures) {
            let json = if signatures.is_empty() {
                key.json.clone()
            } else {
                let mut object: Object = parse(key.json.get())?;
                let signatures = signatures.into_iter().map(|signature| (signature.key_id, signature.signature));
                add_signatures(&mut object, from_user_id, signatures)?;
                raw(&object)?
            };
            if let Some(keys) = answer.get_mut(index) {
                keys.insert(Arc::clone(user_id), json);
            }
        }
        Ok(answer)
    }
}

/// What a device uploaded, with its owner's later signatures.
pub(crate) fn signed_keys_of(device: &DeviceKeys) -> Result<Object> {
    let mut keys: Object = parse(&device.key_json)?;
    add_signatures(&mut keys, &device.user_id, device.signatures.iter().cloned())?;
    Ok(keys)
}

/// The same with the name of the device, if it is to be told.
fn keys_of(device: DeviceKeys, names: bool) -> Result<Object> {
    let mut keys = signed_keys_of(&device)?;
    let name = device.display_name.filter(|_| names).map(|name| ("device_display_name", name));
    keys.insert("unsigned".to_owned(), raw(&name.into_iter().collect::<BTreeMap<_, _>>())?);
    Ok(keys)
}

/// What another server told of a device; nothing when it has no keys.
fn cached_keys(content: &str) -> Result<Option<Object>> {
    let device: CachedDevice = parse(content)?;
    let Some(mut keys) = device.keys.filter(|keys| !keys.is_empty()) else { return Ok(None) };
    let mut unsigned: Object = keys.get("unsigned").map_or(Ok(Object::new()), |unsigned| parse(unsigned.get()))?;
    if let Some(name) = device.device_display_name.filter(|name| !name.is_empty()) {
        unsigned.insert("device_display_name".to_owned(), raw(&name)?);
    }
    keys.insert("unsigned".to_owned(), raw(&unsigned)?);
    Ok(Some(keys))
}

fn add_signatures(keys: &mut Object, by: &str, signatures: impl Iterator<Item = (String, String)>) -> Result<()> {
    let mut signatures = signatures.peekable();
    let mut all: Object = keys.get("signatures").map_or(Ok(Object::new()), |all| parse(all.get()))?;
    if signatures.peek().is_none() && all.contains_key(by) {
        return Ok(());
    }
    let mut of_signer: Object = all.get(by).map_or(Ok(Object::new()), |known| parse(known.get()))?;
    for (key_id, signature) in signatures {
        of_signer.insert(key_id, raw(&signature)?);
    }
    all.insert(by.to_owned(), raw(&of_signer)?);
    keys.insert("signatures".to_owned(), raw(&all)?);
    Ok(())
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T> {
    serde_json::from_str(json).map_err(MatrixError::internal)
}

fn raw(value: &impl Serialize) -> Result<Box<RawValue>> {
    to_raw_value(value).map_err(MatrixError::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(object: &Object) -> String {
        serde_json::to_string(object).unwrap()
    }

    #[test]
    fn device_keys_get_a_name_and_signatures() {
        let mut device = DeviceKeys {
            user_id: "@a:t".to_owned(),
            device_id: "D".to_owned(),
            display_name: Some("\"D\"".to_owned()),
            key_json: r#"{"n":1.0,"signatures":{"@a:t":{"ed25519:D":"x"}},"unsigned":{"old":1}}"#.to_owned(),
            signatures: vec![("ed25519:S".to_owned(), "y".to_owned())],
        };
        let wanted = r#"{"n":1.0,"signatures":{"@a:t":{"ed25519:D":"x","ed25519:S":"y"}},"unsigned":{"device_display_name":"\"D\""}}"#;
        assert_eq!(text(&keys_of(device.clone(), true).unwrap()), wanted);
        device.display_name = None;
        device.signatures.clear();
        device.key_json = "{}".to_owned();
        assert_eq!(text(&keys_of(device, true).unwrap()), r#"{"signatures":{"@a:t":{}},"unsigned":{}}"#);
    }

    #[test]
    fn devices_of_other_servers() {
        let keys = cached_keys(r#"{"keys":{"k":1,"unsigned":{"u":2}},"device_display_name":"N","x":0}"#).unwrap();
        assert_eq!(text(&keys.unwrap()), r#"{"k":1,"unsigned":{"device_display_name":"N","u":2}}"#);
        assert!(cached_keys(r#"{"keys":{}}"#).unwrap().is_none());
        assert!(cached_keys("{}").unwrap().is_none());
    }
}
