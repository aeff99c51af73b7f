//! What we say of our own keys. Answers to `synapse/rest/key/v2/local_key_resource.py`.

use std::sync::{Mutex, PoisonError};

use myelin_model::signing::encode_base64;
use myelin_model::{MatrixError, canonical_json};
use serde_json::{Map, Value, json};

use crate::{Handlers, Result, now_ms};

/// The signed object, kept for half its life.
#[derive(Default)]
pub struct LocalKeys(Mutex<Option<Signed>>);

struct Signed {
    valid_until_ts: i64,
    json: bytes::Bytes,
}

impl Handlers {
    /// Our keys, signed, as JSON; nothing without a signing key.
    pub fn local_keys(&self) -> Result<Option<bytes::Bytes>> {
        if self.keyring.signing.is_empty() {
            return Ok(None);
        }
        let (now, interval) = (now_ms(), self.config.federation.keys.refresh_interval);
        let mut kept = self.local_keys.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signed) = kept.as_ref().filter(|signed| now + interval / 2 <= signed.valid_until_ts) {
            return Ok(Some(signed.json.clone()));
        }
        let valid_until_ts = now.saturating_add(interval);
        let json = bytes::Bytes::from(self.sign_local_keys(valid_until_ts)?);
        *kept = Some(Signed { valid_until_ts, json: json.clone() });
        Ok(Some(json))
    }

    /// `response_json_object`
    fn sign_local_keys(&self, valid_until_ts: i64) -> Result<Vec<u8>> {
        let verify_keys: Map<String, Value> = self
            .keyring
            .signing
            .iter()
            .map(|key| (key.id().to_owned(), json!({ "key": encode_base64(&key.public()) })))
            .collect();
        let old = &self.config.federation.keys.old;
        let old_verify_keys: Map<String, Value> = old
            .iter()
            .map(|old| {
                let value = json!({ "expired_ts": old.expired_ts, "key": encode_base64(&old.public) });
                (old.id.clone(), value)
            })
            .collect();
        let mut object = Map::new();
        object.insert("valid_until_ts".to_owned(), valid_until_ts.into());
        object.insert("server_name".to_owned(), self.config.server.server_name.clone().into());
        object.insert("verify_keys".to_owned(), verify_keys.into());
        object.insert("old_verify_keys".to_owned(), old_verify_keys.into());
        for key in &self.keyring.signing {
            key.sign_json(&mut object, &self.config.server.server_name).map_err(MatrixError::internal)?;
        }
        canonical_json::encode(&object.into()).map_err(MatrixError::internal)
    }
}
