//! Requests as other servers sign them.

use anyhow::{Context, Result, bail};
use myelin_model::signing::{SignedRequest, SigningKey, decode_key};
use myelin_testkit::http::{Answer, Client};
use myelin_testkit::synapse::Synapse;
use serde_json::Value;

/// The homeserver's own.
pub fn signing_key(synapse: &Synapse) -> Result<SigningKey> {
    let line = std::fs::read_to_string(synapse.folder.join("signing.key"))?;
    let words: Vec<_> = line.split_whitespace().collect();
    let [algorithm, version, seed] = words[..] else { bail!("an odd key") };
    Ok(SigningKey::new(format!("{algorithm}:{version}"), &decode_key(seed).context("an odd key")?))
}

/// GET, and POST where there is `content`.
pub fn ask(
    client: &Client,
    key: &SigningKey,
    [origin, destination]: [&str; 2],
    uri: &str,
    content: Option<&Value>,
) -> Result<Answer> {
    let method = if content.is_some() { "POST" } else { "GET" };
    let request = SignedRequest { method, uri, origin, destination, content: content.and_then(Value::as_object) };
    let (id, signature) = (key.id(), key.sign(&request.text()?));
    let header = format!("X-Matrix origin=\"{origin}\",key=\"{id}\",sig=\"{signature}\",destination=\"{destination}\"");
    let headers = [("Authorization", header.as_str()), ("Content-Type", "application/json")];
    let headers = if content.is_some() { &headers[..] } else { &headers[..1] };
    client.send_bytes(method, uri, headers, content.map(|content| content.to_string().into_bytes()))
}
