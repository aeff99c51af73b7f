//! A user's cross-signing keys, where no password is asked for. Answers to `upload_signing_keys_for_user`,
//! `check_cross_signing_setup` and `has_different_keys` in `synapse/handlers/e2e_keys.py`, and to
//! `SigningKeyUploadServlet` in `synapse/rest/client/keys.py`.

use std::collections::BTreeMap;
use std::sync::Arc;

use myelin_model::signing::{self, ALGORITHM, BadSignature, PublicKey};
use myelin_model::{MatrixError, Requester};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::python_text::{compact_json, python_equal};
use crate::{Handlers, Result, now_ms};

/// In a body, in the database, and in the order in which they are looked at.
const KINDS: [(&str, &str); 3] =
    [("master_key", "master"), ("self_signing_key", "self_signing"), ("user_signing_key", "user_signing")];

/// Why something is not taken.
pub(crate) enum Fault {
    Refused(MatrixError),
    /// In Synapse it is an exception, or another server must be asked.
    Odd,
}

/// Of a cross-signing key.
pub(crate) struct VerifyKey {
    /// With its algorithm.
    pub id: String,
    /// The id without its algorithm: by this name the key is signed.
    pub version: String,
    pub public: PublicKey,
}

/// Why something is no key: in Synapse a `ValueError`, or another exception.
pub(crate) enum BadKey {
    Invalid,
    Odd,
}

/// A key of the body.
struct Uploaded<'a> {
    text: &'a RawValue,
    value: Value,
}

/// `get_verify_key_from_cross_signing_key`
pub(crate) fn verify_key(key: &Map<String, Value>) -> std::result::Result<VerifyKey, BadKey> {
    let keys = key.get("keys").ok_or(BadKey::Invalid)?.as_object().ok_or(BadKey::Odd)?;
    let mut entries = keys.iter();
    let (Some((id, public)), None) = (entries.next(), entries.next()) else { return Err(BadKey::Invalid) };
    // What is no base64 here may be some to Python, which skips what it does not know.
    let public = public.as_str().and_then(signing::decode_base64).ok_or(BadKey::Odd)?;
    let version = id.strip_prefix(ALGORITHM).and_then(|rest| rest.strip_prefix(':')).ok_or(BadKey::Invalid)?;
    let public = public.try_into().map_err(|_| BadKey::Invalid)?;
    Ok(VerifyKey { id: id.clone(), version: version.to_owned(), public })
}

/// `verify_signed_json`
pub(crate) fn check_signature(
    user_id: &str,
    key: &VerifyKey,
    signed: &Map<String, Value>,
    refused: impl Fn() -> MatrixError,
) -> std::result::Result<(), Fault> {
    let refused = || Fault::Refused(refused());
    let signatures = signed.get("signatures").ok_or_else(refused)?.as_object().ok_or(Fault::Odd)?;
    let signatures = signatures.get(user_id).ok_or_else(refused)?.as_object().ok_or(Fault::Odd)?;
    signing::verify_json(signed, user_id, &key.id, &key.public).map_err(|bad| {
        let text = signatures.get(&key.id).and_then(Value::as_str).unwrap_or_default();
        let skipped = |byte: u8| byte.is_ascii() && !byte.is_ascii_alphanumeric() && !matches!(byte, b'+' | b'/');
        match bad {
            BadSignature::NotCanonical(_) => Fault::Odd,
            BadSignature::Base64 if text.bytes().any(skipped) => Fault::Odd,
            _ => refused(),
        }
    })
}

/// `_check_cross_signing_key`
fn check_key<'a>(
    key: &'a Uploaded<'_>,
    user_id: &str,
    kind: &str,
    signer: Option<&VerifyKey>,
) -> std::result::Result<&'a Map<String, Value>, Fault> {
    let invalid = || Fault::Refused(MatrixError::invalid_param(format!("Invalid {kind} key")));
    let object = key.value.as_object().ok_or(Fault::Odd)?;
    if object.get("user_id").and_then(Value::as_str) != Some(user_id) {
        return Err(invalid());
    }
    let usage = object.get("usage").ok_or_else(invalid)?.as_array().ok_or(Fault::Odd)?;
    if !usage.iter().any(|usage| usage == kind) {
        return Err(invalid());
    }
    let keys = object.get("keys").ok_or_else(invalid)?.as_object().ok_or(Fault::Odd)?;
    if keys.len() != 1 {
        return Err(invalid());
    }
    if let Some(signer) = signer {
        let refused = || MatrixError::new(400, "M_INVALID_SIGNATURE", format!("Invalid signature on {kind} key"));
        check_signature(user_id, signer, object, refused)?;
    }
    Ok(object)
}

impl Handlers {
    /// Whether it is done. Nothing is, when a password or another process is needed for it. `body`: a JSON object.
    pub async fn upload_signing_keys_for_user(&self, requester: &Requester, body: &RawValue) -> Result<bool> {
        let entries: BTreeMap<String, &RawValue> =
            serde_json::from_str(body.get()).map_err(|_| MatrixError::not_json("Content not JSON."))?;
        // A password was given, or is about to be.
        if entries.get("auth").is_some_and(|auth| auth.get() != "null") || body.get().contains("\\u0000") {
            return Ok(false);
        }
        let mut uploaded = Vec::new();
        for (name, kind) in KINDS {
            if let Some(text) = entries.get(name) {
                let value = serde_json::from_str(text.get()).map_err(MatrixError::internal)?;
                uploaded.push((kind, Uploaded { text, value }));
            }
        }
        let user_id = &requester.user_id;
        let may_replace = self.storage.get_master_cross_signing_key_updatable_before(user_id).await?;
        let known = self.storage.get_bare_e2e_cross_signing_keys([Arc::clone(user_id)]).await?;
        let known = |kind: &str| known.get(user_id).and_then(|keys| keys.get(kind));
        let mut differ = false;
        for (kind, key) in &uploaded {
            let old: Value = match known(kind) {
                Some(old) => serde_json::from_str(old.json.get()).map_err(MatrixError::internal)?,
                None => Value::Null,
            };
            differ |= !python_equal(&old, &key.value);
        }
        if !differ {
            return Ok(true);
        }
        if let Some(before) = may_replace
            && requester.app_service.is_none()
            && !(self.config.server.delegated_auth && before.is_some_and(|before| now_ms() < before))
        {
            return Ok(false);
        }
        let master = match known("master") {
            Some(key) => Some(serde_json::from_str(key.json.get()).map_err(MatrixError::internal)?),
            None => None,
        };
        match Accepted::check(user_id, &uploaded, master) {
            Ok(accepted) => self.set_signing_keys(user_id, accepted).await.map(|()| true),
            Err(Fault::Refused(error)) => Err(error),
            Err(Fault::Odd) => Ok(false),
        }
    }

    async fn set_signing_keys(&self, user_id: &str, accepted: Accepted) -> Result<()> {
        for (kind, public, key_json) in &accepted.keys {
            self.storage.set_e2e_cross_signing_key(user_id, kind, public, key_json, now_ms()).await?;
        }
        if accepted.keys.iter().any(|(kind, ..)| *kind == "user_signing") {
            self.notify_user_signature_update(user_id, &[user_id]).await?;
        }
        let changed: Vec<&str> = accepted.changed.iter().map(String::as_str).collect();
        if changed.is_empty() { Ok(()) } else { self.notify_device_update(user_id, &changed).await }
    }

    /// `notify_user_signature_update`
    pub(crate) async fn notify_user_signature_update(&self, user_id: &str, signed: &[&str]) -> Result<()> {
        let body = json!({ "user_ids": signed });
        self.ask_device_list_writer("notify_user_signature_update", user_id, &body).await
    }
}

/// Keys that can be stored.
struct Accepted {
    /// Kind, public part, and the key as `json_encoder` writes it.
    keys: Vec<(&'static str, String, String)>,
    /// By which names others learn of them.
    changed: Vec<String>,
}

impl Accepted {
    /// `master`: the stored one.
    fn check(
        user_id: &str,
        uploaded: &[(&'static str, Uploaded<'_>)],
        master: Option<Map<String, Value>>,
    ) -> std::result::Result<Self, Fault> {
        let of = |wanted: &str| uploaded.iter().find(|(kind, _)| *kind == wanted).map(|(_, key)| key);
        let master = if let Some(key) = of("master") {
            let invalid = |bad| match bad {
                BadKey::Invalid => Fault::Refused(MatrixError::invalid_param("Invalid master key")),
                BadKey::Odd => Fault::Odd,
            };
            verify_key(check_key(key, user_id, "master", None)?).map_err(invalid)?
        } else {
            let missing = || Fault::Refused(MatrixError::missing_param("No master key available"));
            verify_key(&master.ok_or_else(missing)?).map_err(|_| Fault::Odd)?
        };
        let (mut keys, mut changed) = (Vec::new(), Vec::new());
        for (kind, key) in uploaded {
            let signer = Some(&master).filter(|_| *kind != "master");
            let object = check_key(key, user_id, kind, signer)?;
            // Synapse: a bad self-signing key is refused when it is stored already.
            match *kind {
                "master" => changed.push(master.version.clone()),
                "self_signing" => changed.push(verify_key(object).map_err(|_| Fault::Odd)?.version),
                _ => {}
            }
            let public = object.get("keys").and_then(Value::as_object).and_then(|keys| keys.values().next());
            let public = public.and_then(Value::as_str).ok_or(Fault::Odd)?;
            keys.push((*kind, public.to_owned(), compact_json(key.text.get())));
        }
        Ok(Self { keys, changed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault<T>(found: std::result::Result<T, Fault>) -> String {
        match found {
            Ok(_) => "taken".to_owned(),
            Err(Fault::Refused(error)) => error.error,
            Err(Fault::Odd) => "odd".to_owned(),
        }
    }

    fn check(kind: &'static str, key: &Value) -> String {
        let text = RawValue::from_string(key.to_string()).unwrap();
        fault(Accepted::check("@a:t", &[(kind, Uploaded { text: &text, value: key.clone() })], None))
    }

    #[test]
    fn what_is_a_master_key() {
        let key = |user: &str, usage: Value, keys: Value| json!({"user_id": user, "usage": usage, "keys": keys});
        let public = signing::encode_base64(&[7; 32]);
        let keys = || json!({format!("ed25519:{public}"): public});
        assert_eq!(check("master", &key("@a:t", json!(["x", "master"]), keys())), "taken");
        for (bad, what) in [
            (key("@b:t", json!(["master"]), keys()), "Invalid master key"),
            (key("@a:t", json!(["self_signing"]), keys()), "Invalid master key"),
            (key("@a:t", json!(["master"]), json!({})), "Invalid master key"),
            (key("@a:t", json!(["master"]), json!({"rsa:x": public})), "Invalid master key"),
            (key("@a:t", json!(["master"]), json!({"ed25519:x": "AAAA"})), "Invalid master key"),
            (key("@a:t", json!(["master"]), json!({"ed25519:x": 5})), "odd"),
            (key("@a:t", json!("master"), keys()), "odd"),
            (json!("x"), "odd"),
        ] {
            assert_eq!(check("master", &bad), what, "{bad}");
        }
        assert_eq!(check("self_signing", &json!({})), "No master key available");
    }
}
