//! One-time keys for whoever begins an encrypted conversation. Answers to `claim_one_time_keys` in
//! `synapse/handlers/e2e_keys.py`.

use std::collections::BTreeMap;

use myelin_model::MatrixError;
use myelin_model::identifiers::parse_user_id;
use myelin_storage::end_to_end_keys::{Claim, ClaimedKey};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Handlers, Result, now_ms};

/// User to device to algorithm.
pub type ClaimQuery = BTreeMap<String, BTreeMap<String, String>>;
/// Algorithm and id, with a colon between them.
type ByKey = BTreeMap<String, Box<RawValue>>;

#[derive(Serialize)]
struct Answer {
    one_time_keys: BTreeMap<String, BTreeMap<String, ByKey>>,
    /// Of other servers, which are not asked here.
    failures: ByKey,
}

impl Handlers {
    /// The answer, as JSON; nothing, and nothing is taken, when somebody else must be asked.
    pub async fn claim_one_time_keys(&self, query: ClaimQuery) -> Result<Option<Vec<u8>>> {
        let mut claims = Vec::new();
        let mut elsewhere = self.config.server.experimental.enabled.contains("msc3983_appservice_otk_claims");
        for (user_id, devices) in query {
            parse_user_id(&user_id)?;
            elsewhere |= !self.is_mine(&user_id);
            let claim = |(device_id, algorithm)| Claim { user_id: user_id.clone(), device_id, algorithm };
            claims.extend(devices.into_iter().map(claim));
        }
        if elsewhere {
            return Ok(None);
        }
        let mut found = Vec::new();
        if !claims.is_empty() {
            found = self.storage.claim_e2e_one_time_keys(&claims, now_ms()).await?;
            claims.retain(|claim| !found.iter().any(|key| key.claim == *claim));
        }
        if !claims.is_empty() {
            found.extend(self.storage.claim_e2e_fallback_keys(&claims, now_ms()).await?);
        }
        let one_time_keys = by_user(found).map_err(MatrixError::internal)?;
        serde_json::to_vec(&Answer { one_time_keys, failures: ByKey::new() }).map(Some).map_err(MatrixError::internal)
    }
}

/// User to device to key.
fn by_user(found: Vec<ClaimedKey>) -> serde_json::Result<BTreeMap<String, BTreeMap<String, ByKey>>> {
    let mut users: BTreeMap<String, BTreeMap<String, ByKey>> = BTreeMap::new();
    for ClaimedKey { claim, key_id, key_json } in found {
        let devices = users.entry(claim.user_id).or_default();
        let key = RawValue::from_string(key_json)?;
        devices.entry(claim.device_id).or_default().insert(format!("{}:{key_id}", claim.algorithm), key);
    }
    Ok(users)
}
