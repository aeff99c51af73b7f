//! Keys that a device leaves for those who write to it. Answers to `upload_keys_for_user` in
//! `synapse/handlers/e2e_keys.py` and to `KeyUploadServlet` in `synapse/rest/client/keys.py`.

use std::collections::BTreeMap;

use myelin_model::{MatrixError, Requester, canonical_json};
use myelin_storage::e2e_upload::NewKey;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::python_text::{compact_json, python_equal, repr};
use crate::{Handlers, Result, now_ms};

const LOCK: &str = "one_time_key_upload_lock";
/// `MAX_ONE_TIME_KEYS_PER_ALGORITHM_PER_DEVICE`
const MAX_ONE_TIME_KEYS: i64 = 500;

type Signatures = BTreeMap<String, BTreeMap<String, String>>;

/// What `KeyUploadRequestBody` takes. What it refuses is refused in words of a Python library.
#[derive(Deserialize)]
pub struct KeyUpload<'a> {
    #[serde(rename = "device_keys", borrow, default, deserialize_with = "some")]
    device: Option<&'a RawValue>,
    #[serde(rename = "one_time_keys", borrow, default)]
    one_time: Option<BTreeMap<String, &'a RawValue>>,
    #[serde(rename = "fallback_keys", borrow, default)]
    fallback: Option<BTreeMap<String, &'a RawValue>>,
}

/// Null is no value.
fn some<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

#[derive(Deserialize)]
struct DeviceKeys {
    user_id: String,
    device_id: String,
    #[serde(rename = "algorithms")]
    _algorithms: Vec<String>,
    #[serde(rename = "keys")]
    _keys: BTreeMap<String, String>,
    #[serde(rename = "signatures")]
    _signatures: Signatures,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Key {
    Text(#[expect(dead_code, reason = "what it is counts")] String),
    Object {
        #[serde(rename = "key")]
        _key: String,
        #[serde(rename = "fallback", default)]
        _fallback: Option<bool>,
        #[serde(rename = "signatures")]
        _signatures: Signatures,
    },
}

/// A body that can be taken as it is.
pub struct CheckedUpload {
    /// With its canonical JSON.
    device: Option<(DeviceKeys, String)>,
    one_time: Vec<(NewKey, Value)>,
    /// With its canonical JSON.
    fallback: Vec<(NewKey, String)>,
}

impl KeyUpload<'_> {
    /// Nothing: another process says what is wrong with it.
    pub fn check(&self) -> Option<CheckedUpload> {
        let device = match self.device {
            None => None,
            Some(text) => Some((serde_json::from_str(text.get()).ok()?, canonical(text)?)),
        };
        let none = BTreeMap::new();
        let one_time = self.one_time.as_ref().unwrap_or(&none).iter().map(|(id, key)| {
            let key_json = canonical(key).filter(|text| text.is_ascii())?;
            Some((new_key(id, key, key_json)?, serde_json::from_str(key.get()).ok()?))
        });
        let fallback = self
            .fallback
            .as_ref()
            .unwrap_or(&none)
            .iter()
            .map(|(id, key)| Some((new_key(id, key, compact_json(key.get()))?, canonical(key)?)));
        Some(CheckedUpload {
            device,
            one_time: one_time.collect::<Option<_>>()?,
            fallback: fallback.collect::<Option<_>>()?,
        })
    }
}

/// Of `<algorithm>:<key_id>` and a key that is one.
fn new_key(id: &str, key: &RawValue, key_json: String) -> Option<NewKey> {
    serde_json::from_str::<Key>(key.get()).ok()?;
    let (algorithm, key_id) = id.split_once(':').filter(|(_, key_id)| !key_id.contains(':'))?;
    Some(NewKey { algorithm: algorithm.to_owned(), key_id: key_id.to_owned(), key_json })
}

fn canonical(text: &RawValue) -> Option<String> {
    let value: Value = serde_json::from_str(text.get()).ok()?;
    String::from_utf8(canonical_json::encode(&value).ok()?).ok()
}

/// `_one_time_keys_match`: signatures may differ from one attempt to the next.
fn matches(old: &str, new: &Value) -> bool {
    let Ok(mut old) = serde_json::from_str::<Value>(old) else { return false };
    let mut new = new.clone();
    if let (Some(old), Some(new)) = (old.as_object_mut(), new.as_object_mut()) {
        old.remove("signatures");
        new.remove("signatures");
    }
    python_equal(&old, &new)
}

impl Handlers {
    /// The counts that the device is told; nothing, and nothing is written, when another process must do it.
    pub async fn upload_keys_for_user(&self, requester: &Requester, keys: CheckedUpload) -> Result<Option<Value>> {
        let (user_id, device_id) = (&*requester.user_id, requester.device_id.as_deref());
        let missing = || MatrixError::unknown(400, "To upload keys, you must pass device_id when authenticating");
        let device_id = device_id.ok_or_else(missing)?;
        let differs = |what: &str, whose: &str| {
            let error = format!("Provided `{what}` in `device_keys` does not match that of the authenticated {whose}");
            MatrixError::bad_json(error)
        };
        if let Some((device, _)) = &keys.device {
            if device.user_id != user_id {
                return Err(differs("user_id", "user"));
            }
            if device.device_id != device_id {
                return Err(differs("device_id", "user device"));
            }
        }
        if self.storage.get_device(user_id, device_id).await?.is_none() {
            return Ok(None);
        }
        if let Some((_, key_json)) = &keys.device
            && self.storage.set_e2e_device_keys(user_id, device_id, key_json, now_ms()).await?
        {
            self.notify_device_update(user_id, &[device_id]).await?;
        }
        if !keys.one_time.is_empty() {
            let upload = self.upload_one_time_keys(user_id, device_id, keys.one_time);
            self.with_lock(LOCK, &format!("{user_id}_{device_id}"), upload).await?;
        }
        for (key, canonical) in &keys.fallback {
            self.storage.set_e2e_fallback_key(user_id, device_id, key, canonical).await?;
        }
        if !keys.fallback.is_empty() {
            self.storage.fallback_keys_changed(user_id, device_id, now_ms()).await?;
        }
        let counts = self.storage.count_e2e_one_time_keys(user_id, device_id).await?;
        Ok(Some(json!({ "one_time_key_counts": counts })))
    }

    /// `_upload_one_time_keys_for_user`
    async fn upload_one_time_keys(&self, user_id: &str, device_id: &str, keys: Vec<(NewKey, Value)>) -> Result<()> {
        let ids: Vec<&str> = keys.iter().map(|(key, _)| key.key_id.as_str()).collect();
        let known = self.storage.get_e2e_one_time_keys(user_id, device_id, &ids).await?;
        let (mut new, mut added) = (Vec::new(), BTreeMap::<String, i64>::new());
        for (key, value) in keys {
            match known.get(&(key.algorithm.clone(), key.key_id.clone())) {
                Some(old) if matches(old, &value) => {}
                Some(old) => {
                    let NewKey { algorithm, key_id, .. } = key;
                    let new = repr(&value);
                    let error =
                        format!("One time key {algorithm}:{key_id} already exists. Old key: {old}; new key: {new}");
                    return Err(MatrixError::unknown(400, error));
                }
                None => {
                    *added.entry(key.algorithm.clone()).or_default() += 1;
                    new.push(key);
                }
            }
        }
        let counts = self.storage.count_e2e_one_time_keys(user_id, device_id).await?;
        for (algorithm, count) in added {
            let total = counts.get(&algorithm).copied().unwrap_or_default() + count;
            if total > MAX_ONE_TIME_KEYS {
                let error = format!(
                    "Uploading {count} more {algorithm} one-time keys would leave the device holding {total}, over the \
                     limit of {MAX_ONE_TIME_KEYS}"
                );
                return Err(MatrixError::new(400, "M_TOO_LARGE", error));
            }
        }
        Ok(self.storage.add_e2e_one_time_keys(user_id, device_id, &new, now_ms()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(body: &str) -> bool {
        serde_json::from_str::<KeyUpload<'_>>(body).is_ok_and(|upload| upload.check().is_some())
    }

    #[test]
    fn what_is_taken() {
        for good in [
            "{}",
            r#"{"one_time_keys": null, "fallback_keys": {}, "x": 1}"#,
            r#"{"one_time_keys": {"a:b": "key", "signed:b": {"key": "k", "fallback": null, "signatures": {"@u": {"e:D": "s"}}}}}"#,
            r#"{"device_keys": {"algorithms": [], "device_id": "D", "user_id": "@u", "keys": {}, "signatures": {}}}"#,
        ] {
            assert!(is_taken(good), "{good}");
        }
        for bad in [
            r#"{"device_keys": null}"#,
            r#"{"device_keys": {}}"#,
            r#"{"one_time_keys": []}"#,
            r#"{"one_time_keys": {"a": "key"}}"#,
            r#"{"one_time_keys": {"a:b:c": "key"}}"#,
            r#"{"one_time_keys": {"a:b": 5}}"#,
            r#"{"one_time_keys": {"a:b": {"key": "k"}}}"#,
        ] {
            assert!(!is_taken(bad), "{bad}");
        }
    }

    #[test]
    fn signatures_may_differ() {
        assert!(matches(r#"{"key":"k","signatures":{"a":1}}"#, &json!({"key": "k", "signatures": {}})));
        assert!(!matches(r#"{"key":"k"}"#, &json!({"key": "l"})));
        assert!(!matches(r#""k""#, &json!({"key": "k"})));
    }
}
