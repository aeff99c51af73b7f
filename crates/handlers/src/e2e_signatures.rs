//! Signatures by which users say that devices are theirs, and that others are who they say. Answers to
//! `upload_signatures_for_device_keys` in `synapse/handlers/e2e_keys.py`.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use myelin_config::truthy;
use myelin_model::MatrixError;
use myelin_model::identifiers::parse_user_id;
use myelin_model::signing::{self, ALGORITHM};
use myelin_storage::cross_signing::NewSignature;
use myelin_storage::e2e_device_keys::{CrossSigningKeys, KeySignature};
use serde_json::{Map, Value, json};

use crate::e2e_cross_signing::{Fault, VerifyKey, check_signature, verify_key};
use crate::e2e_keys::signed_keys_of;
use crate::python_text::{compact_json, python_equal};
use crate::{Handlers, Result, now_ms};

type Object = Map<String, Value>;
type Checked<T> = std::result::Result<T, Fault>;

/// What the database knows of everybody concerned.
struct Known<'a> {
    user_id: &'a str,
    keys: HashMap<Arc<str>, CrossSigningKeys>,
    /// The user's devices.
    devices: BTreeMap<String, Object>,
    /// What the user signed before, by whose master key it is.
    signed: HashMap<Arc<str>, Vec<KeySignature>>,
    /// The part of user ids that is ours.
    server: &'a str,
}

/// A stored key.
struct Stored {
    object: Object,
    key: VerifyKey,
}

/// What came of signatures.
#[derive(Default)]
struct Outcome {
    own: Vec<NewSignature>,
    others: Vec<NewSignature>,
    failures: Object,
}

impl Handlers {
    /// The answer; nothing, and nothing is stored, when another process must do it.
    pub async fn upload_signatures_for_device_keys(
        &self,
        user_id: &Arc<str>,
        signatures: &Object,
    ) -> Result<Option<Value>> {
        let known = self.known_to_signer(user_id, signatures).await?;
        let Outcome { own, others, failures } = match known.check(signatures) {
            Ok(outcome) => outcome,
            Err(Fault::Refused(error)) => return Err(error),
            Err(Fault::Odd) => return Ok(None),
        };
        let all = [own.as_slice(), &others].concat();
        self.storage.store_e2e_cross_signing_signatures(user_id, &all, now_ms()).await?;
        if !own.is_empty() {
            let devices: Vec<&str> = own.iter().map(|new| new.target_device_id.as_str()).collect();
            self.notify_device_update(user_id, &devices).await?;
        }
        if !others.is_empty() {
            let users: Vec<&str> = others.iter().map(|new| new.target_user_id.as_str()).collect();
            self.notify_user_signature_update(user_id, &users).await?;
        }
        Ok(Some(json!({ "failures": failures })))
    }

    async fn known_to_signer<'a>(&'a self, user_id: &'a Arc<str>, signatures: &Object) -> Result<Known<'a>> {
        let users = signatures.keys().filter(|user| parse_user_id(user).is_ok()).map(|user| Arc::from(user.as_str()));
        let users = users.chain([Arc::clone(user_id)]);
        let keys = self.storage.get_bare_e2e_cross_signing_keys(users).await?;
        let masters =
            keys.iter().filter_map(|(user, keys)| Some((Arc::clone(user), keys.get("master")?.public.clone())));
        let masters: Vec<(Arc<str>, String)> = masters.filter(|(user, _)| user != user_id).collect();
        let signed = self.storage.get_e2e_cross_signing_signatures(user_id, &masters).await?;
        let signed = masters.into_iter().map(|(user, _)| user).zip(signed).collect();
        let mut devices = BTreeMap::new();
        if signatures.get(&**user_id).is_some_and(truthy) {
            for device in self.storage.get_e2e_device_keys_and_signatures(&[&**user_id], &[]).await? {
                let text = serde_json::to_string(&signed_keys_of(&device)?).map_err(MatrixError::internal)?;
                let keys = serde_json::from_str(&text).map_err(MatrixError::internal)?;
                devices.insert(device.device_id, keys);
            }
        }
        Ok(Known { user_id, keys, devices, signed, server: &self.config.server.server_name })
    }
}

impl Known<'_> {
    fn check(&self, signatures: &Object) -> Checked<Outcome> {
        let mut outcome = Outcome::default();
        if let Some(own) = signatures.get(self.user_id).filter(|own| truthy(own)) {
            self.own(own.as_object().ok_or_else(invalid_parameter)?, &mut outcome)?;
        }
        let others = || signatures.iter().filter(|(user_id, _)| *user_id != self.user_id);
        if others().next().is_none() {
            return Ok(outcome);
        }
        let key = match self.key(self.user_id, "user_signing") {
            Ok(stored) => stored.key,
            Err(Fault::Refused(error)) => {
                for (user_id, signed) in others() {
                    let failures = all_fail(signed.as_object().ok_or(Fault::Odd)?, &error);
                    outcome.failures.insert(user_id.clone(), failures);
                }
                return Ok(outcome);
            }
            Err(odd) => return Err(odd),
        };
        for (user_id, signed) in others() {
            let signed = signed.as_object().ok_or_else(invalid_parameter)?;
            if !signed.values().all(Value::is_object) {
                return Err(invalid_parameter());
            }
            self.other(user_id, signed, &key, &mut outcome)?;
        }
        Ok(outcome)
    }

    /// `_get_e2e_cross_signing_verify_key`
    fn key(&self, user_id: &str, kind: &str) -> Checked<Stored> {
        let (_, server) = parse_user_id(user_id).map_err(Fault::Refused)?;
        let Some(key) = self.keys.get(user_id).and_then(|keys| keys.get(kind)) else {
            // Another server has it, perhaps.
            let missing = Fault::Refused(MatrixError::not_found(format!("No {kind} key found for {user_id}")));
            return Err(if server == self.server || kind == "user_signing" { missing } else { Fault::Odd });
        };
        let object: Object = serde_json::from_str(key.json.get()).map_err(|_| Fault::Odd)?;
        let key = verify_key(&object).map_err(|_| Fault::Odd)?;
        Ok(Stored { object, key })
    }

    /// `_process_self_signatures`
    fn own(&self, signed: &Object, outcome: &mut Outcome) -> Checked<()> {
        let keys = || {
            let keys = (self.key(self.user_id, "self_signing")?, self.key(self.user_id, "master")?);
            let none = || Fault::Refused(MatrixError::not_found("No device keys found"));
            (!self.devices.is_empty()).then_some(keys).ok_or_else(none)
        };
        let (self_signing, master) = match keys() {
            Ok(keys) => keys,
            Err(Fault::Refused(error)) => {
                outcome.failures.insert(self.user_id.to_owned(), all_fail(signed, &error));
                return Ok(());
            }
            Err(odd) => return Err(odd),
        };
        let mut failures = Object::new();
        for (device_id, device) in signed {
            let device = device.as_object().ok_or_else(invalid_parameter)?;
            match self.own_device(device_id, device, &self_signing.key, &master) {
                Ok(new) => outcome.own.extend(new),
                Err(Fault::Refused(error)) => {
                    failures.insert(device_id.clone(), failure(&error));
                }
                Err(odd) => return Err(odd),
            }
        }
        if !failures.is_empty() {
            outcome.failures.insert(self.user_id.to_owned(), failures.into());
        }
        Ok(())
    }

    fn own_device(&self, id: &str, signed: &Object, key: &VerifyKey, master: &Stored) -> Checked<Vec<NewSignature>> {
        let signatures = signed.get("signatures").ok_or_else(invalid_signature)?.as_object().ok_or(Fault::Odd)?;
        let signatures = signatures.get(self.user_id).ok_or_else(invalid_signature)?.as_object().ok_or(Fault::Odd)?;
        if id == master.key.version {
            return self.own_master(id, signed, signatures, master);
        }
        let signature = signatures.get(&key.id).ok_or_else(invalid_signature)?;
        let stored = self.devices.get(id).ok_or_else(unknown_device)?;
        if has_signature(stored, self.user_id, &key.id)? {
            return Ok(Vec::new());
        }
        check_device_signature(self.user_id, key, signed, stored)?;
        Ok(vec![self.new_signature(&key.id, self.user_id, id, signature)?])
    }

    /// `_check_master_key_signature`
    fn own_master(
        &self,
        id: &str,
        signed: &Object,
        signatures: &Object,
        master: &Stored,
    ) -> Checked<Vec<NewSignature>> {
        let signature = |(key_id, signature): (&String, &Value)| {
            let (algorithm, device_id) = key_id.split_once(':').ok_or(Fault::Odd)?;
            if algorithm == ALGORITHM {
                let device = self.devices.get(device_id).ok_or_else(invalid_signature)?;
                let keys = device.get("keys").and_then(Value::as_object).ok_or(Fault::Odd)?;
                let public = keys.get(key_id).ok_or_else(invalid_signature)?;
                let public = public.as_str().and_then(signing::decode_key).ok_or(Fault::Odd)?;
                let key = VerifyKey { id: key_id.clone(), version: device_id.to_owned(), public };
                check_device_signature(self.user_id, &key, signed, &master.object)?;
            }
            self.new_signature(key_id, self.user_id, id, signature)
        };
        signatures.iter().map(signature).collect()
    }

    /// `_process_other_signatures`, of one user.
    fn other(&self, user_id: &str, signed: &Object, key: &VerifyKey, outcome: &mut Outcome) -> Checked<()> {
        let find = || {
            let master = self.key(user_id, "master")?;
            let signed = signed.get(&master.key.version).and_then(Value::as_object).ok_or_else(unknown_device)?;
            Ok((master, signed))
        };
        let (master, one) = match find() {
            Ok(found) => found,
            Err(Fault::Refused(error)) => {
                outcome.failures.insert(user_id.to_owned(), all_fail(signed, &error));
                return Ok(());
            }
            Err(Fault::Odd) => return Err(Fault::Odd),
        };
        let device_id = &master.key.version;
        let unknown = failure(&MatrixError::not_found("Unknown device"));
        let others = signed.keys().filter(|id| *id != device_id).map(|id| (id.clone(), unknown.clone()));
        let mut failures: Object = others.collect();
        let signed_before = self.signed.get(user_id).is_some_and(|all| all.iter().any(|one| one.key_id == key.id));
        if !signed_before && !has_signature(&master.object, self.user_id, &key.id)? {
            match check_device_signature(self.user_id, key, one, &master.object) {
                Ok(()) => {
                    let signature = signature_of(one, self.user_id, &key.id).ok_or(Fault::Odd)?;
                    outcome.others.push(self.new_signature(&key.id, user_id, device_id, signature)?);
                }
                Err(Fault::Refused(error)) => {
                    failures.insert(device_id.clone(), failure(&error));
                }
                Err(odd) => return Err(odd),
            }
        }
        if !failures.is_empty() {
            outcome.failures.insert(user_id.to_owned(), failures.into());
        }
        Ok(())
    }

    fn new_signature(&self, key_id: &str, user_id: &str, device_id: &str, signature: &Value) -> Checked<NewSignature> {
        let text = |text: &str| compact_json(&Value::from(text).to_string());
        Ok(NewSignature {
            key_id: key_id.to_owned(),
            target_user_id: user_id.to_owned(),
            target_device_id: device_id.to_owned(),
            signature: signature.as_str().ok_or(Fault::Odd)?.to_owned(),
            // As `json.dumps` writes it.
            cache_key: format!("[{}, {}]", text(self.user_id), text(device_id)),
        })
    }
}

/// `_check_device_signature`
fn check_device_signature(user_id: &str, key: &VerifyKey, signed: &Object, stored: &Object) -> Checked<()> {
    let stripped = |object: &Object| -> Value {
        let kept = object.iter().filter(|(name, _)| !matches!(name.as_str(), "signatures" | "unsigned"));
        Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
    };
    if !python_equal(&stripped(signed), &stripped(stored)) {
        return Err(Fault::Refused(MatrixError::unknown(400, "Key does not match")));
    }
    check_signature(user_id, key, signed, || MatrixError::new(400, "M_INVALID_SIGNATURE", "Invalid signature"))
}

fn signature_of<'a>(key: &'a Object, user_id: &str, key_id: &str) -> Option<&'a Value> {
    key.get("signatures")?.get(user_id)?.get(key_id)
}

fn has_signature(key: &Object, user_id: &str, key_id: &str) -> Checked<bool> {
    let Some(signatures) = key.get("signatures") else { return Ok(false) };
    let Some(of_user) = signatures.as_object().ok_or(Fault::Odd)?.get(user_id) else { return Ok(false) };
    Ok(of_user.as_object().ok_or(Fault::Odd)?.contains_key(key_id))
}

fn invalid_parameter() -> Fault {
    Fault::Refused(MatrixError::invalid_param("Invalid parameter"))
}

fn invalid_signature() -> Fault {
    Fault::Refused(MatrixError::new(400, "M_INVALID_SIGNATURE", "Invalid signature"))
}

fn unknown_device() -> Fault {
    Fault::Refused(MatrixError::not_found("Unknown device"))
}

/// `_exception_to_failure`
fn failure(error: &MatrixError) -> Value {
    let message = format!("{}: {}", error.status, error.error);
    json!({ "status": error.status, "errcode": error.errcode, "message": message })
}

fn all_fail(signed: &Object, error: &MatrixError) -> Value {
    signed.keys().map(|id| (id.clone(), failure(error))).collect::<Object>().into()
}
