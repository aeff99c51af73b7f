//! Signatures of servers over JSON. Answers to `signedjson`, whose keys are all ed25519.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD_NO_PAD};
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use serde_json::{Map, Value};

use crate::canonical_json::{self, NotCanonical};

/// How ids of keys begin.
pub const ALGORITHM: &str = "ed25519";

/// As `unpaddedbase64` decodes: padding or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Bytes of a public key.
pub type PublicKey = [u8; 32];

/// What a server signs with.
#[derive(Clone)]
pub struct SigningKey {
    id: String,
    key: ed25519_dalek::SigningKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// `id`: with the algorithm, such as `ed25519:a_abcd`.
    pub fn new(id: impl Into<String>, seed: &[u8; 32]) -> Self {
        Self { id: id.into(), key: ed25519_dalek::SigningKey::from_bytes(seed) }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn public(&self) -> PublicKey {
        self.key.verifying_key().to_bytes()
    }

    /// The signature, in base64.
    pub fn sign(&self, message: &[u8]) -> String {
        encode_base64(&self.key.sign(message).to_bytes())
    }

    /// `sign_json`: adds a signature of `name` to the object's others.
    pub fn sign_json(&self, object: &mut Map<String, Value>, name: &str) -> Result<(), NotCanonical> {
        let signature = self.sign(&signed_part(object)?);
        let signatures = object.entry("signatures").or_insert_with(|| Value::Object(Map::new()));
        if !signatures.is_object() {
            *signatures = Value::Object(Map::new());
        }
        if !signatures[name].is_object() {
            signatures[name] = Value::Object(Map::new());
        }
        signatures[name][&self.id] = signature.into();
        Ok(())
    }
}

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    #[error("there is none")]
    Missing,
    #[error("it is not base64")]
    Base64,
    #[error("it is not of 64 bytes")]
    Length,
    #[error("it is not of this key over this text")]
    Forged,
    #[error(transparent)]
    NotCanonical(#[from] NotCanonical),
}

/// Whether `signature`, in base64, is of this key over this text.
pub fn verify(key: &PublicKey, message: &[u8], signature: &str) -> Result<(), BadSignature> {
    let signature = decode_base64(signature).ok_or(BadSignature::Base64)?;
    let signature = Signature::from_slice(&signature).map_err(|_| BadSignature::Length)?;
    let key = VerifyingKey::from_bytes(key).map_err(|_| BadSignature::Forged)?;
    // As libsodium, which Synapse uses: no weak keys, and one form only.
    key.verify_strict(message, &signature).map_err(|_| BadSignature::Forged)
}

/// `verify_signed_json`
pub fn verify_json(object: &Map<String, Value>, name: &str, key_id: &str, key: &PublicKey) -> Result<(), BadSignature> {
    let signature = object.get("signatures").and_then(|all| all.get(name)?.get(key_id)?.as_str());
    verify(key, &signed_part(object)?, signature.ok_or(BadSignature::Missing)?)
}

fn signed_part(object: &Map<String, Value>) -> Result<Vec<u8>, NotCanonical> {
    canonical_json::encode_without(object, &["signatures", "unsigned"])
}

/// What a server signs of a request to another.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    pub method: &'a str,
    /// Path and query as they are sent.
    pub uri: &'a str,
    pub origin: &'a str,
    pub destination: &'a str,
    pub content: Option<&'a Map<String, Value>>,
}

impl SignedRequest<'_> {
    /// The text that is signed: canonical JSON.
    pub fn text(&self) -> Result<Vec<u8>, NotCanonical> {
        let mut out = vec![b'{'];
        if let Some(content) = self.content {
            out.extend_from_slice(b"\"content\":");
            out.extend(canonical_json::encode_without(content, &[])?);
            out.push(b',');
        }
        let rest =
            [("destination", self.destination), ("method", self.method), ("origin", self.origin), ("uri", self.uri)];
        for (index, (key, value)) in rest.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            canonical_json::write_text(&mut out, key);
            out.push(b':');
            canonical_json::write_text(&mut out, value);
        }
        out.push(b'}');
        Ok(out)
    }
}

/// Without padding, as keys and signatures are written.
pub fn encode_base64(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

/// With padding or without.
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// A public key, in base64.
pub fn decode_key(text: &str) -> Option<PublicKey> {
    decode_base64(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The example of the Matrix specification's appendix.
    fn key() -> SigningKey {
        let seed = decode_key("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap();
        SigningKey::new("ed25519:1", &seed)
    }

    #[test]
    fn the_specifications_examples() {
        for (object, signature) in [
            (json!({}), "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
            (
                json!({"one": 1, "two": "Two"}),
                "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
            ),
        ] {
            let Value::Object(mut object) = object else { panic!() };
            key().sign_json(&mut object, "domain").unwrap();
            assert_eq!(object["signatures"]["domain"]["ed25519:1"], signature);
            assert_eq!(verify_json(&object, "domain", "ed25519:1", &key().public()), Ok(()));
            object.insert("unsigned".to_owned(), json!({"x": 1}));
            assert_eq!(verify_json(&object, "domain", "ed25519:1", &key().public()), Ok(()));
            object.insert("more".to_owned(), json!(1));
            let verified = verify_json(&object, "domain", "ed25519:1", &key().public());
            assert_eq!(verified, Err(BadSignature::Forged));
        }
    }

    #[test]
    fn what_is_no_signature() {
        let public = key().public();
        assert_eq!(verify(&public, b"x", "!"), Err(BadSignature::Base64));
        assert_eq!(verify(&public, b"x", "AAAA"), Err(BadSignature::Length));
        assert_eq!(verify(&public, b"x", &key().sign(b"y")), Err(BadSignature::Forged));
        assert_eq!(verify(&public, b"x", &(key().sign(b"x") + "==")), Ok(()));
        // A weak key, for which a signature of zeros would hold of any text.
        let zeros = encode_base64(&[0; 64]);
        assert_eq!(verify(&[0; 32], b"x", &zeros), Err(BadSignature::Forged));
    }

    #[test]
    fn the_text_of_a_request() {
        let content = json!({"b": 1, "a": [1.0]});
        let mut request =
            SignedRequest { method: "GET", uri: "/a%20b?c=\"", origin: "a.test", destination: "b.test", content: None };
        let text = |request: &SignedRequest<'_>| String::from_utf8(request.text().unwrap()).unwrap();
        let rest = r#""destination":"b.test","method":"GET","origin":"a.test","uri":"/a%20b?c=\""}"#;
        assert_eq!(text(&request), format!("{{{rest}"));
        request.content = content.as_object();
        assert_eq!(text(&request), format!("{{\"content\":{{\"a\":[1.0],\"b\":1}},{rest}"));
    }
}
