//! What a server says of its keys, and what a notary says of others'. Answers to `process_v2_response` and
//! `_validate_perspectives_response` in `synapse/crypto/keyring.py`.

use hashbrown::HashMap;
use myelin_config::TrustedKeyServer;
use myelin_model::signing::{ALGORITHM, decode_key, verify_json};
use myelin_storage::keys::ServerKey;
use serde_json::{Map, Value};

/// Why keys are not believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// `KeyLookupError`: what else a notary says may still be good.
    #[error("{0}")]
    Lookup(String),
    /// Whatever else is in the same answer is not looked at.
    #[error("{0}")]
    Odd(&'static str),
}

/// By id.
pub type Keys = HashMap<String, ServerKey>;

/// The server, and its keys: those that sign now, and those that once did. One that signs now must have signed this.
pub fn read(response: &Map<String, Value>) -> Result<(&str, Keys), BadKeys> {
    let valid_until_ts = response.get("valid_until_ts").and_then(Value::as_i64);
    let valid_until_ts = valid_until_ts.ok_or(BadKeys::Odd("there is no valid_until_ts"))?;
    let mut keys = Keys::new();
    let now = response.get("verify_keys").and_then(Value::as_object).ok_or(BadKeys::Odd("there are no verify_keys"))?;
    for (id, data) in supported(now) {
        keys.insert(id.clone(), ServerKey { key: public(data)?, valid_until_ts });
    }
    let server = response.get("server_name").and_then(Value::as_str).ok_or(BadKeys::Odd("there is no server_name"))?;
    let signatures = response.get("signatures").and_then(Value::as_object);
    let signatures = signatures.ok_or(BadKeys::Odd("there are no signatures"))?;
    let own = signatures.get(server).and_then(Value::as_object);
    let signed = own.into_iter().flatten().find_map(|(id, _)| Some((id, keys.get(id)?)));
    let Some((id, known)) = signed else {
        return Err(BadKeys::Lookup(format!("Key response for {server} is not signed by the origin server")));
    };
    verify_json(response, server, id, &known.key).map_err(|_| BadKeys::Odd("a signature of the server is wrong"))?;
    let old = match response.get("old_verify_keys") {
        Some(old) => Some(old.as_object().ok_or(BadKeys::Odd("old_verify_keys are odd"))?),
        None => None,
    };
    for (id, data) in old.into_iter().flat_map(supported) {
        let expired_ts = data.get("expired_ts").and_then(Value::as_i64);
        let valid_until_ts = expired_ts.ok_or(BadKeys::Odd("an old key has no expired_ts"))?;
        keys.insert(id.clone(), ServerKey { key: public(data)?, valid_until_ts });
    }
    Ok((server, keys))
}

fn supported(keys: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    keys.iter().filter(|(id, _)| id.split_once(':').is_some_and(|(algorithm, _)| algorithm == ALGORITHM))
}

fn public(data: &Value) -> Result<[u8; 32], BadKeys> {
    data.get("key").and_then(Value::as_str).and_then(decode_key).ok_or(BadKeys::Odd("a key is not 32 bytes of base64"))
}

/// Whether the notary signed what it says, with a key that the configuration has of it.
pub fn check_notary(notary: &TrustedKeyServer, response: &Map<String, Value>) -> Result<(), BadKeys> {
    let Some(keys) = &notary.verify_keys else { return Ok(()) };
    let signatures = response.get("signatures").and_then(|all| all.get(&notary.server_name)?.as_object());
    let lookup = |what: &str| BadKeys::Lookup(what.to_owned());
    let signatures = signatures.ok_or_else(|| lookup("Response not signed by the notary server"))?;
    let mut is_signed = false;
    for id in signatures.keys() {
        if let Some(key) = keys.get(id) {
            verify_json(response, &notary.server_name, id, key)
                .map_err(|_| BadKeys::Odd("a signature of the notary is wrong"))?;
            is_signed = true;
        }
    }
    if is_signed { Ok(()) } else { Err(lookup("Response not signed with a known key")) }
}

#[cfg(test)]
mod tests {
    use myelin_model::signing::{SigningKey, encode_base64};
    use serde_json::json;

    use super::*;

    fn key(id: &str, seed: u8) -> SigningKey {
        SigningKey::new(id, &[seed; 32])
    }

    /// Of `a.test`, with two keys, the second of the past.
    fn response() -> Map<String, Value> {
        let (now, old) = (key("ed25519:now", 1), key("ed25519:old", 2));
        let response = json!({
            "server_name": "a.test",
            "valid_until_ts": 2_000,
            "verify_keys": {
                "ed25519:now": {"key": encode_base64(&now.public())},
                "curve448:x": {"key": 7},
            },
            "old_verify_keys": {"ed25519:old": {"key": encode_base64(&old.public()), "expired_ts": 1_000}},
        });
        let Value::Object(response) = response else { panic!() };
        response
    }

    fn signed(response: Map<String, Value>) -> Map<String, Value> {
        signed_by(response, "a.test", &key("ed25519:now", 1))
    }

    fn signed_by(mut response: Map<String, Value>, server: &str, key: &SigningKey) -> Map<String, Value> {
        key.sign_json(&mut response, server).unwrap();
        response
    }

    fn with(name: &str, value: Value) -> Map<String, Value> {
        let mut response = response();
        response.insert(name.to_owned(), value);
        response
    }

    #[test]
    fn good_ones() {
        let response = signed(response());
        let (server, keys) = read(&response).unwrap();
        assert_eq!(server, "a.test");
        assert_eq!(keys.len(), 2);
        let expected = ServerKey { key: key("", 1).public(), valid_until_ts: 2_000 };
        assert_eq!(keys["ed25519:now"], expected);
        assert_eq!(keys["ed25519:old"], ServerKey { key: key("", 2).public(), valid_until_ts: 1_000 });
        // Another's signature does not matter, nor one of an unknown key.
        let more = signed_by(response.clone(), "notary.test", &key("ed25519:n", 9));
        assert!(read(&signed_by(more, "a.test", &key("ed25519:zzz", 8))).is_ok());
        // The past is not asked for.
        let mut young = super::tests::response();
        young.remove("old_verify_keys");
        assert_eq!(read(&signed(young)).unwrap().1.len(), 1);
    }

    #[test]
    fn bad_ones() {
        let is_odd = |response: Map<String, Value>| matches!(read(&response), Err(BadKeys::Odd(_)));
        let is_unsigned = |response: Map<String, Value>| matches!(read(&response), Err(BadKeys::Lookup(_)));
        assert!(is_odd(response()), "no signatures at all");
        assert!(is_unsigned(signed_by(response(), "b.test", &key("ed25519:now", 1))));
        assert!(is_unsigned(signed_by(response(), "a.test", &key("ed25519:other", 1))));
        // An old key does not sign for the new ones.
        assert!(is_unsigned(signed_by(response(), "a.test", &key("ed25519:old", 2))));
        assert!(is_odd(signed_by(response(), "a.test", &key("ed25519:now", 3))), "forged");
        let mut changed = signed(response());
        changed.insert("valid_until_ts".to_owned(), json!(9_000));
        assert!(is_odd(changed), "changed after it was signed");
        for (name, value) in [
            ("valid_until_ts", json!("soon")),
            ("valid_until_ts", json!(1.5)),
            ("server_name", json!(1)),
            ("verify_keys", json!([])),
            ("verify_keys", json!({"ed25519:now": {}})),
            ("verify_keys", json!({"ed25519:now": {"key": "AAAA"}})),
            ("old_verify_keys", json!([])),
            ("old_verify_keys", json!({"ed25519:old": {"key": encode_base64(&[1; 32])}})),
            ("signatures", json!([])),
        ] {
            let response = with(name, value.clone());
            let response = if name == "signatures" { response } else { signed(response) };
            assert!(is_odd(response), "{name}: {value}");
        }
    }

    #[test]
    fn notaries() {
        let (name, good) = ("n.test", key("ed25519:n", 5));
        let notary = |keys: &[(&str, u8)]| TrustedKeyServer {
            server_name: name.to_owned(),
            verify_keys: Some(keys.iter().map(|(id, seed)| ((*id).to_owned(), key(id, *seed).public())).collect()),
        };
        let by_notary = signed_by(signed(response()), name, &good);
        assert_eq!(check_notary(&notary(&[("ed25519:n", 5)]), &by_notary), Ok(()));
        let is_lookup = |result| matches!(result, Err(BadKeys::Lookup(_)));
        assert!(is_lookup(check_notary(&notary(&[("ed25519:n", 5)]), &signed(response()))), "not signed");
        assert!(is_lookup(check_notary(&notary(&[("ed25519:m", 5)]), &by_notary)), "by an unknown key");
        assert!(is_lookup(check_notary(&notary(&[]), &by_notary)), "no key is known");
        let forged = check_notary(&notary(&[("ed25519:n", 6)]), &by_notary);
        assert!(matches!(forged, Err(BadKeys::Odd(_))), "{forged:?}");
        let believed = TrustedKeyServer { server_name: name.to_owned(), verify_keys: None };
        assert_eq!(check_notary(&believed, &response()), Ok(()));
    }
}
