//! What other servers said of their keys, with our signature below. Answers to
//! `synapse/rest/key/v2/remote_key_resource.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use myelin_model::{MatrixError, canonical_json};
use serde_json::{Map, Value};

use crate::keyring::fetch::From;
use crate::{Handlers, Result, now_ms};

/// Servers, and which of their keys; all that are known when none is named. To each key: until when it must be valid.
pub type KeyQuery = BTreeMap<String, BTreeMap<String, Option<i64>>>;

/// Servers, and ids of their keys.
type Missed = Vec<(Arc<str>, Vec<Arc<str>>)>;

impl Handlers {
    /// `query_keys`, as JSON. Servers whose keys are not known, or of long ago, are asked for them first; nothing when
    /// too many are being asked.
    pub async fn query_server_keys(&self, query: &KeyQuery) -> Result<Option<Vec<u8>>> {
        let (mut texts, missed) = self.stored_server_keys(query).await?;
        if !missed.is_empty() {
            let asked = missed.iter().map(|(server, ids)| self.key_fetcher.fetch(From::Server, server, ids, 0));
            if join_all(asked).await.iter().any(Option::is_none) {
                return Ok(None);
            }
            (texts, _) = self.stored_server_keys(query).await?;
        }
        let signed = texts.iter().map(|text| self.sign_as_notary(text)).collect::<Result<Vec<Value>>>()?;
        let mut answer = Map::new();
        answer.insert("server_keys".to_owned(), signed.into());
        canonical_json::encode(&answer.into()).map(Some).map_err(MatrixError::internal)
    }

    /// What is known, and what would have to be asked for.
    async fn stored_server_keys(&self, query: &KeyQuery) -> Result<(BTreeSet<Vec<u8>>, Missed)> {
        let now = now_ms();
        let whitelist = self.config.federation.domain_whitelist.as_ref();
        let (mut texts, mut missed) = (BTreeSet::new(), Vec::new());
        for (server, wanted) in query {
            let ids: Vec<&str> = wanted.keys().map(String::as_str).collect();
            let ids = (!ids.is_empty()).then_some(&*ids);
            let mut stored = self.storage.get_server_keys_json_for_remote(server, ids).await?;
            if wanted.is_empty() {
                texts.extend(stored.into_values().map(|key| key.key_json));
                continue;
            }
            let mut missing = Vec::new();
            for (id, minimum_valid_until_ts) in wanted {
                let key = stored.remove(id);
                let is_fresh = key.as_ref().is_some_and(|key| match *minimum_valid_until_ts {
                    Some(minimum) => key.valid_until_ts >= minimum,
                    // Half of the time for which it is good.
                    None => key.added_ts.saturating_add(key.valid_until_ts) >= now.saturating_mul(2),
                });
                if !is_fresh && whitelist.is_none_or(|allowed| allowed.contains(server)) {
                    missing.push(Arc::from(id.as_str()));
                }
                texts.extend(key.map(|key| key.key_json));
            }
            if !missing.is_empty() {
                missed.push((Arc::from(server.as_str()), missing));
            }
        }
        Ok((texts, missed))
    }

    fn sign_as_notary(&self, text: &[u8]) -> Result<Value> {
        let mut object: Map<String, Value> = serde_json::from_slice(text).map_err(MatrixError::internal)?;
        for key in &self.keyring.notary {
            key.sign_json(&mut object, &self.config.server.server_name).map_err(MatrixError::internal)?;
        }
        Ok(object.into())
    }
}
