//! Keys of users that are real, and signatures with them: what somebody signs is in no file.

use anyhow::{Context, Result};
use myelin_model::signing::SigningKey;
use serde_json::{Value, json};

use super::PAIR;
use crate::seed::Seed;

/// What each of the two signs with.
pub const KEYS: [&str; 4] = ["master", "self_signing", "user_signing", "device"];
/// Somebody else, whose master key both sign.
const SIGNED: &str = "signed";

/// `by <key>` in a body stands for a signature with that key of the user.
const MARK: &str = "by ";

fn key(name: &str, user: &str, id: &str) -> SigningKey {
    let mut seed = [0; 32];
    seed.iter_mut().zip(format!("{name} of {user} ").bytes().cycle()).for_each(|(to, from)| *to = from);
    SigningKey::new(id, &seed)
}

fn public(name: &str, user: &str) -> String {
    myelin_model::signing::encode_base64(&key(name, user, "").public())
}

/// Public keys get names; somebody else has a master key.
pub fn prepare(seed: &mut Seed) -> Result<()> {
    for user in PAIR {
        for name in KEYS {
            seed.names.set(&format!("key:{name}:{user}"), public(name, user));
        }
    }
    seed.register(SIGNED)?;
    let (user_id, public) = (seed.names.get("@signed")?.to_owned(), public("master", SIGNED));
    let master = json!({"user_id": user_id, "usage": ["master"], "keys": {format!("ed25519:{public}"): public}});
    seed.names.set("key:signed", public);
    seed.ask(SIGNED, "POST", "v3/keys/device_signing/upload", &json!({"master_key": master})).map(drop)
}

/// Numbers the marks of a body that has no ids yet, and so is the same for both users.
pub fn number(body: &mut Value, next: &mut usize) {
    match body {
        Value::String(text) if text.starts_with(MARK) => {
            *text = format!("{text} {next}");
            *next += 1;
        }
        Value::Array(items) => items.iter_mut().for_each(|item| number(item, next)),
        Value::Object(object) => object.values_mut().for_each(|value| number(value, next)),
        _ => {}
    }
}

/// Signs what is marked. The signatures get names, by which `hide` knows them.
pub fn sign(body: &mut Value, user: &str, case: &str, seed: &mut Seed) -> Result<()> {
    match body {
        Value::Array(items) => items.iter_mut().try_for_each(|item| sign(item, user, case, seed)),
        Value::Object(object) => {
            for (signer, of_signer) in object.get("signatures").and_then(Value::as_object).cloned().unwrap_or_default()
            {
                for (key_id, mark) in of_signer.as_object().cloned().unwrap_or_default() {
                    let mark = mark.as_str().and_then(|mark| mark.strip_prefix(MARK)?.split_once(' '));
                    let Some((name, number)) = mark else { continue };
                    let mut copy = object.clone();
                    key(name, user, &key_id).sign_json(&mut copy, &signer).context("a number is out of range")?;
                    let signature = copy["signatures"][&signer][&key_id].as_str().unwrap_or_default().to_owned();
                    object["signatures"][&signer][&key_id] = signature.clone().into();
                    seed.names.set(&format!("signature:{user}:{case} {number}"), signature);
                }
            }
            object.values_mut().try_for_each(|value| sign(value, user, case, seed))
        }
        _ => Ok(()),
    }
}
