//! One-time keys for whoever begins an encrypted conversation. Answers to `claim_one_time_keys` in
//! `synapse/handlers/e2e_keys.py` and to `on_claim_client_keys` in `synapse/federation/federation_server.py`.

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

/// User to device to key.
type Claimed = BTreeMap<String, BTreeMap<String, ByKey>>;

#[derive(Serialize)]
struct Answer {
    one_time_keys: Claimed,
    /// Of other servers, which are not asked here; nothing for a server that asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<ByKey>,
}

impl Handlers {
    /// The answer, as JSON; nothing, and nothing is taken, when somebody else must be asked.
    pub async fn claim_one_time_keys(&self, query: ClaimQuery) -> Result<Option<Vec<u8>>> {
        let mut elsewhere = self.asks_services_for_one_time_keys();
        for user_id in query.keys() {
            parse_user_id(user_id)?;
            elsewhere |= !self.is_mine(user_id);
        }
        if elsewhere {
            return Ok(None);
        }
        let one_time_keys = self.claim_local_one_time_keys(query).await?;
        let answer = Answer { one_time_keys, failures: Some(ByKey::new()) };
        serde_json::to_vec(&answer).map(Some).map_err(MatrixError::internal)
    }

    /// `on_claim_client_keys`: the same for another server, of our users alone. Who is named without a device is not
    /// looked at.
    pub async fn on_claim_client_keys(&self, mut query: ClaimQuery) -> Result<Option<Vec<u8>>> {
        query.retain(|_, devices| !devices.is_empty());
        for user_id in query.keys() {
            self.check_is_mine(user_id)?;
        }
        if self.asks_services_for_one_time_keys() {
            return Ok(None);
        }
        let one_time_keys = self.claim_local_one_time_keys(query).await?;
        serde_json::to_vec(&Answer { one_time_keys, failures: None }).map(Some).map_err(MatrixError::internal)
    }

    /// What a user has not left here is asked of the services that know them.
    fn asks_services_for_one_time_keys(&self) -> bool {
        self.config.server.experimental.enabled.contains("msc3983_appservice_otk_claims")
    }

    /// `claim_local_one_time_keys`: the fallback key of whoever has no other.
    async fn claim_local_one_time_keys(&self, query: ClaimQuery) -> Result<Claimed> {
        let of_user = |(user_id, devices): (String, BTreeMap<String, String>)| {
            let claim = move |(device_id, algorithm)| Claim { user_id: user_id.clone(), device_id, algorithm };
            devices.into_iter().map(claim)
        };
        let mut claims: Vec<Claim> = query.into_iter().flat_map(of_user).collect();
        let mut found = Vec::new();
        if !claims.is_empty() {
            found = self.storage.claim_e2e_one_time_keys(&claims, now_ms()).await?;
            claims.retain(|claim| !found.iter().any(|key| key.claim == *claim));
        }
        if !claims.is_empty() {
            found.extend(self.storage.claim_e2e_fallback_keys(&claims, now_ms()).await?);
        }
        by_user(found).map_err(MatrixError::internal)
    }
}

fn by_user(found: Vec<ClaimedKey>) -> serde_json::Result<Claimed> {
    let mut users = Claimed::new();
    for ClaimedKey { claim, key_id, key_json } in found {
        let devices = users.entry(claim.user_id).or_default();
        let key = RawValue::from_string(key_json)?;
        devices.entry(claim.device_id).or_default().insert(format!("{}:{key_id}", claim.algorithm), key);
    }
    Ok(users)
}
