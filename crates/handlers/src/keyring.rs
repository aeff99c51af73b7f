//! Whether a server signed something. Answers to `synapse/crypto/keyring.py`.

pub mod fetch;
mod response;

use std::sync::Arc;

use hashbrown::HashMap;
use myelin_config::Keys;
use myelin_model::MatrixError;
use myelin_model::signing::{ALGORITHM, BadSignature, PublicKey, SigningKey, encode_base64, verify};
use myelin_storage::keys::ServerKey;

use self::fetch::From;
use crate::federation::authenticator::unauthorized;
use crate::python_text::repr_text;
use crate::{Handlers, Result};

/// Public keys whose secret half is known to others (ELEMENTSEC-2025-1670).
const BANNED: [&str; 1] = ["l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og"];

/// Our own keys.
pub struct Keyring {
    /// The first is what our requests are signed with.
    pub signing: Vec<SigningKey>,
    /// What keys of others are signed with.
    pub notary: Vec<SigningKey>,
    /// By id, those of the past as well.
    own: HashMap<Arc<str>, ServerKey>,
}

impl Keyring {
    pub fn new(keys: &Keys) -> Self {
        let signing = |keys: &[myelin_config::Key]| -> Vec<_> {
            keys.iter().map(|key| SigningKey::new(key.id.clone(), &key.seed)).collect()
        };
        let signing_keys = signing(&keys.signing);
        let old = keys.old.iter().map(|old| {
            let key = ServerKey { key: old.public, valid_until_ts: old.expired_ts };
            (Arc::from(old.id.as_str()), key)
        });
        let current = signing_keys.first().map(|key| {
            let own = ServerKey { key: key.public(), valid_until_ts: i64::MAX };
            (Arc::from(key.id()), own)
        });
        Self { own: old.chain(current).collect(), notary: signing(&keys.notary), signing: signing_keys }
    }
}

/// What is known of a signature that is not wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    Yes,
    /// Too many keys are being fetched already.
    Undecided(&'static str),
}

impl Handlers {
    /// `verify_json_for_server`: whether `server` signed a text, with keys that are valid at `minimum_valid_until_ts`.
    /// `signatures`: ids of keys, and signatures in base64. Each that can be checked must hold, and one at least.
    pub async fn verify_for_server(
        &self,
        server: &Arc<str>,
        text: &[u8],
        signatures: &[(String, String)],
        minimum_valid_until_ts: i64,
    ) -> Result<Verified> {
        let supported = |id: &str| id.split(':').next() == Some(ALGORITHM);
        let signatures: Vec<_> = signatures.iter().filter(|(id, _)| supported(id)).collect();
        if signatures.is_empty() {
            return Err(unauthorized(400, format!("Not signed by {server}")));
        }
        let mut found: HashMap<Arc<str>, ServerKey> = HashMap::new();
        let mut missing: Vec<Arc<str>> = Vec::new();
        let is_own = **server == *self.config.server.server_name;
        for (id, _) in &signatures {
            match self.keyring.own.get_key_value(id.as_str()).filter(|_| is_own) {
                Some((id, key)) => drop(found.insert(Arc::clone(id), *key)),
                None => missing.push(Arc::from(id.as_str())),
            }
        }
        if !missing.is_empty() {
            let stored = self.storage.get_server_keys_json(server, &missing).await?;
            found.extend(stored.into_iter().map(|((_, id), key)| (id, key)));
            let valid = |id: &Arc<str>| found.get(id).is_some_and(|key| key.valid_until_ts >= minimum_valid_until_ts);
            if !missing.iter().all(valid) {
                let fetched = self.key_fetcher.fetch(From::Anybody, server, &missing, minimum_valid_until_ts).await;
                let Some(fetched) = fetched else { return Ok(Verified::Undecided("too many keys are being fetched")) };
                found.extend(fetched.iter().map(|(id, key)| (Arc::clone(id), *key)));
            }
        }
        let mut verified = false;
        for (id, signature) in signatures {
            let Some(known) = found.get(id.as_str()) else { continue };
            if known.valid_until_ts >= minimum_valid_until_ts {
                check(server, id, &known.key, text, signature)?;
                verified = true;
            }
        }
        if !verified {
            return Err(if missing.is_empty() {
                // Synapse: it fails to name a request for keys that it never made.
                MatrixError::internal("a request signed by ourselves with a key that is no longer valid")
            } else {
                no_key(server, &missing, minimum_valid_until_ts)
            });
        }
        Ok(Verified::Yes)
    }
}

/// In the words of Python, which writes out the whole of `_FetchKeyRequest`.
fn no_key(server: &str, ids: &[Arc<str>], minimum_valid_until_ts: i64) -> MatrixError {
    let ids = ids.iter().map(|id| repr_text(id)).collect::<Vec<_>>().join(", ");
    let request = format!(
        "_FetchKeyRequest(server_name={}, minimum_valid_until_ts={minimum_valid_until_ts}, key_ids=[{ids}])",
        repr_text(server)
    );
    unauthorized(401, format!("Failed to find any key to satisfy: {request}"))
}

/// `process_json`
fn check(server: &str, id: &str, key: &PublicKey, text: &[u8], signature: &str) -> Result<()> {
    // Synapse compares with padded texts, which its own never are.
    if BANNED.contains(&encode_base64(key).as_str()) {
        let error = format!("Server signing key {id} for server {server} has been banned by this server");
        return Err(unauthorized(401, error));
    }
    verify(key, text, signature).map_err(|bad| {
        let why = match bad {
            // Python's decoder skips what is not base64; it cannot make a byte of one character.
            _ if signature.bytes().filter(|byte| is_base64(*byte)).count() % 4 == 1 => {
                format!("Invalid signature base64 for {server}, {id}")
            }
            BadSignature::Base64 | BadSignature::Length => {
                let nacl = "<class 'nacl.exceptions.ValueError'> The signature must be exactly 64 bytes long";
                format!("Unable to verify signature for {server}: {nacl}")
            }
            _ => {
                let nacl = "<class 'nacl.exceptions.BadSignatureError'> Signature was forged or corrupt";
                format!("Unable to verify signature for {server}: {nacl}")
            }
        };
        unauthorized(401, format!("Invalid signature for server {server} with key {id}: {why}"))
    })
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}
