//! Cross-signing: keys of users, and signatures on devices and on others' keys.

use serde_json::{Value, json};

use super::Case;
use super::cases::case;

const MINE: &str = "/_matrix/client/v3/keys/query with {\"device_keys\": {\"<@me>\": [], \"<@signed>\": []}}";

fn upload(name: &str, body: Value) -> Case {
    case(name, "POST", "keys/device_signing/upload", body)
        .reads(MINE)
        .rows("e2e_cross_signing_keys")
        .rows("devices")
        .rows_by("user_signature_stream", "from_user_id")
}

fn signatures(name: &str, body: Value) -> Case {
    case(name, "POST", "keys/signatures/upload", body)
        .reads(MINE)
        .rows("e2e_cross_signing_signatures")
        .rows_by("user_signature_stream", "from_user_id")
}

fn key(kind: &str, signed: bool) -> Value {
    let id = format!("ed25519:<key:{kind}>");
    let mut key = json!({"user_id": "<@me>", "usage": [kind], "keys": {id: format!("<key:{kind}>")}});
    if signed {
        key["signatures"] = json!({"<@me>": {"ed25519:<key:master>": "by master"}});
    }
    key
}

fn device(extra: &str) -> Value {
    json!({"user_id": "<@me>", "device_id": "<device:me>", "algorithms": ["m.olm"],
        "keys": {"ed25519:<device:me>": "<key:device>"}, "extra": extra})
}

fn signed(mut object: Value, key_id: &str, by: &str) -> Value {
    object["signatures"] = json!({"<@me>": {key_id: by}});
    object
}

pub fn cases() -> Vec<Case> {
    let own_device = || signed(device("one"), "ed25519:<key:self_signing>", "by self_signing");
    let own_master = || signed(key("master", false), "ed25519:<device:me>", "by device");
    let anothers = || {
        let master =
            json!({"user_id": "<@signed>", "usage": ["master"], "keys": {"ed25519:<key:signed>": "<key:signed>"}});
        signed(master, "ed25519:<key:user_signing>", "by user_signing")
    };
    let device_keys = json!({"device_keys": signed(device("one"), "ed25519:<device:me>", "by device")});
    let forged = || signed(device("one"), "ed25519:<key:self_signing>", "by device");
    let all = || {
        json!({"master_key": key("master", false), "self_signing_key": key("self_signing", true),
            "user_signing_key": key("user_signing", true)})
    };
    vec![
        Case { needless: Some("\"get_device\""), ..case("device keys to sign", "POST", "keys/upload", device_keys) },
        signatures("signatures without keys", json!({"<@me>": {"<device:me>": own_device()}, "<@signed>": {"x": {}}})),
        upload("signing keys", all()).wakes("/device_lists/changed"),
        upload("same signing keys", all()),
        signatures(
            "signatures that fail",
            json!({
                "<@me>": {"<device:me>": forged(), "NONE": own_device(), "<key:master>": {}, "x": {},
                    "y": signed(json!({}), "ed25519:x", "x")},
                "<@signed>": {"x": {}, "<key:signed>": signed(json!({}), "ed25519:<key:user_signing>", "by user_signing")},
                "<@carol>": {"x": {}},
                "@nobody:myelin.test": {"x": {}},
                "nobody": {"x": {}, "y": {}},
            }),
        ),
        signatures(
            "other keys than they are",
            json!({"<@me>": {"<device:me>": signed(device("two"), "ed25519:<key:self_signing>", "by self_signing"),
                "<key:master>": signed(key("master", true), "ed25519:NONE", "by device")}}),
        ),
        signatures("signature on a device", json!({"<@me>": {"<device:me>": own_device()}}))
            .wakes("/device_lists/changed"),
        signatures("same signature on a device", json!({"<@me>": {"<device:me>": own_device()}})),
        signatures("signature on the master key", json!({"<@me>": {"<key:master>": own_master()}})),
        // A Python worker that waits is not woken by a signature, though its next answer tells of it.
        signatures("signature on another's key", json!({"<@signed>": {"<key:signed>": anothers()}})),
        signatures(
            "same signature on another's key",
            json!({"<@signed>": {"<key:signed>": anothers(), "z": {}}, "<@me>": {}}),
        ),
    ]
}
