//! Requests as servers sign them, and as those sign them who lie.

use anyhow::{Context, Result};
use myelin_model::signing::{SignedRequest, SigningKey, decode_key};
use myelin_testkit::synapse::SERVER_NAME;
use serde_json::{Map, Value};

use crate::names::Names;

/// Everything that may be wrong about a signature; `by` is without a fault.
#[derive(Clone, Debug)]
pub struct Signing {
    /// Who it says to be.
    pub origin: String,
    /// Whose key it has.
    pub key_of: String,
    /// The id it gives that key.
    pub key_id: Option<String>,
    /// Whom it signs the request for.
    pub destination: String,
    /// Whom it says that the request is for, if it says so.
    pub sent_destination: Option<String>,
    /// What it signs instead of the request's own.
    pub method: Option<String>,
    pub uri: Option<String>,
    pub content: Option<Value>,
    /// What it sends instead of a signature.
    pub signature: Option<String>,
}

impl Signing {
    pub fn by(server: &str) -> Self {
        Self {
            origin: server.to_owned(),
            key_of: server.to_owned(),
            key_id: None,
            destination: SERVER_NAME.to_owned(),
            sent_destination: Some(SERVER_NAME.to_owned()),
            method: None,
            uri: None,
            content: None,
            signature: None,
        }
    }

    /// The `Authorization` header of a request.
    pub fn header(&self, names: &Names, method: &str, uri: &str, body: Option<&[u8]>) -> Result<String> {
        let key = key(names, &self.key_of)?;
        // A body that is no JSON is refused before the signature matters.
        let body = body.and_then(|body| serde_json::from_slice::<Map<String, Value>>(body).ok());
        let content = match &self.content {
            Some(content) => content.as_object(),
            None => body.as_ref().filter(|_| method != "GET"),
        };
        let request = SignedRequest {
            method: self.method.as_deref().unwrap_or(method),
            uri: self.uri.as_deref().unwrap_or(uri),
            origin: &self.origin,
            destination: &self.destination,
            content,
        };
        let signature = self.signature.clone().map_or_else(|| Ok(key.sign(&request.text()?)), anyhow::Ok)?;
        // By default the id of the key that it should have signed with.
        let own = crate::sign::key(names, &self.origin)?;
        let id = self.key_id.as_deref().unwrap_or(own.id());
        let destination = self.sent_destination.as_ref().map(|name| format!(",destination=\"{name}\""));
        let destination = destination.unwrap_or_default();
        Ok(format!("X-Matrix origin=\"{}\",key=\"{id}\",sig=\"{signature}\"{destination}", self.origin))
    }
}

/// The key of a server, as the seed wrote it down: id and seed, as in a file of keys.
pub fn key(names: &Names, server: &str) -> Result<SigningKey> {
    let line = names.get(&format!("key:{server}"))?;
    let mut words = line.split_whitespace().skip(1);
    let (version, seed) = (words.next(), words.next().and_then(decode_key));
    let seed = seed.with_context(|| format!("an odd key of {server}"))?;
    Ok(SigningKey::new(format!("ed25519:{}", version.unwrap_or_default()), &seed))
}
