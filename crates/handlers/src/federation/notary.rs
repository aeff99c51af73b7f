//! What other servers said of their keys, with our signature below. Answers to
//! `synapse/rest/key/v2/remote_key_resource.py`.

use std::collections::{BTreeMap, BTreeSet};

use myelin_model::{MatrixError, canonical_json};
use serde_json::{Map, Value};

use crate::{Handlers, Result, now_ms};

/// Servers, and which of their keys; all that are known when none is named. To each key: until when it must be valid.
pub type KeyQuery = BTreeMap<String, BTreeMap<String, Option<i64>>>;

impl Handlers {
    /// `query_keys`, as JSON; nothing when a server must be asked for its keys.
    pub async fn query_server_keys(&self, query: &KeyQuery) -> Result<Option<Vec<u8>>> {
        let now = now_ms();
        let whitelist = self.config.federation.domain_whitelist.as_ref();
        let mut texts = BTreeSet::new();
        for (server, wanted) in query {
            let ids: Vec<&str> = wanted.keys().map(String::as_str).collect();
            let ids = (!ids.is_empty()).then_some(&*ids);
            let mut stored = self.storage.get_server_keys_json_for_remote(server, ids).await?;
            if wanted.is_empty() {
                texts.extend(stored.into_values().map(|key| key.key_json));
                continue;
            }
            for (id, minimum_valid_until_ts) in wanted {
                let key = stored.remove(id);
                let is_fresh = key.as_ref().is_some_and(|key| match *minimum_valid_until_ts {
                    Some(minimum) => key.valid_until_ts >= minimum,
                    // Half of the time for which it is good.
                    None => key.added_ts.saturating_add(key.valid_until_ts) >= now.saturating_mul(2),
                });
                if !is_fresh && whitelist.is_none_or(|allowed| allowed.contains(server)) {
                    return Ok(None);
                }
                texts.extend(key.map(|key| key.key_json));
            }
        }
        let signed = texts.iter().map(|text| self.sign_as_notary(text)).collect::<Result<Vec<Value>>>()?;
        let mut answer = Map::new();
        answer.insert("server_keys".to_owned(), signed.into());
        canonical_json::encode(&answer.into()).map(Some).map_err(MatrixError::internal)
    }

    fn sign_as_notary(&self, text: &[u8]) -> Result<Value> {
        let mut object: Map<String, Value> = serde_json::from_slice(text).map_err(MatrixError::internal)?;
        for key in &self.keyring.notary {
            key.sign_json(&mut object, &self.config.server.server_name).map_err(MatrixError::internal)?;
        }
        Ok(object.into())
    }
}
