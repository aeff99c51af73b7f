//! `POST /keys/signatures/upload` and `POST /keys/device_signing/upload` that are refused, or change nothing; what they
//! change is in `effects/signatures.rs`.

use serde_json::{Value, json};

use crate::row::{Row, post};

fn signatures(name: &str, body: &Value) -> Row {
    post(&format!("signatures_upload/{name}"), "/_matrix/client/v3/keys/signatures/upload").by("bob").json(body)
}

fn keys(name: &str, body: &Value) -> Row {
    post(&format!("device_signing/{name}"), "/_matrix/client/v3/keys/device_signing/upload").by("dave").json(body)
}

pub fn rows() -> Vec<Row> {
    [uploads(), signing_keys(), bad_keys()].into_iter().flatten().collect()
}

/// Bob has a master key that is none, and alice has all three, which are none either.
fn uploads() -> Vec<Row> {
    let odd = |name: &str, body: Value| signatures(name, &body).status(500).passed_on();
    vec![
        signatures("nothing", &json!({})).has("/failures"),
        signatures("falsy", &json!({"<@bob>": []})).has("/failures"),
        signatures("no keys", &json!({"<@bob>": {"x": {}, "<device:bob>": 5}})).has("/failures/<@bob>/x/errcode"),
        signatures("no key for others", &json!({"<@alice>": {"x": {}, "y": []}, "nobody": {}})).has("/failures/nobody"),
        signatures("list", &json!({"<@bob>": [1]})).status(400),
        signatures("text", &json!({"<@bob>": "x"})).status(400),
        odd("list of others without a key", json!({"<@alice>": ["x"]})),
        odd("keys that are none", json!({"<@alice>": {"x": {}}})).by("alice"),
        signatures("NUL", &json!({"<@bob>": {"\u{0}": {}}})).passed_on(),
        signatures("array", &json!([])).status(400),
        signatures("no JSON", &json!({})).body(b"{").status(400),
        signatures("nobody", &json!({})).token("x").status(401),
        signatures("locked", &json!({})).by("locked").status(401),
        signatures("guest", &json!({"<@guest>": {"x": {}}})).by("guest").has("/failures/<@guest>/x"),
        signatures("puppet", &json!({"<@puppet>": {"x": {}}})).by("bridge").query("user_id", "<@puppet>"),
        signatures("outside namespace", &json!({})).by("bridge").query("user_id", "<@alice>").status(403),
    ]
}

fn signing_keys() -> Vec<Row> {
    let known = json!({"user_id": "<@bob>", "usage": ["master"], "keys": {"ed25519:bob-new": "bob-new"},
        "signatures": {"@x:myelin.test": {"ed25519:x": "y"}}});
    let other = json!({"user_id": "<@bob>", "usage": ["master"], "keys": {"ed25519:other": "other"}});
    vec![
        keys("nothing", &json!({})),
        keys("nothing but an unknown key", &json!({"x_key": {}})),
        keys("null", &json!({"master_key": null, "auth": null})),
        keys("known", &json!({"master_key": known})).by("bob"),
        keys("known, with a password", &json!({"master_key": known, "auth": {"type": "x"}})).by("bob").passed_on(),
        keys("another", &json!({"master_key": other})).by("bob").status(401).passed_on(),
        keys("one more", &json!({"user_signing_key": other})).by("bob").status(401).passed_on(),
        keys("null for a known one", &json!({"master_key": null})).by("bob").status(401).passed_on(),
        keys("odd password", &json!({"auth": 5})).status(400).passed_on(),
        keys("array", &json!([])).status(400),
        keys("no JSON", &json!({})).body(b"{").status(400),
        keys("nobody", &json!({})).token("x").status(401),
        keys("guest", &json!({})).by("guest").status(403),
        keys("puppet", &json!({})).by("bridge").query("user_id", "<@puppet>"),
        keys("unstable", &json!({})).at("/_matrix/client/unstable/keys/device_signing/upload"),
        keys("r0", &json!({})).at("/_matrix/client/r0/keys/device_signing/upload").status(404),
    ]
}

fn bad_keys() -> Vec<Row> {
    let public = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let key = |usage: &str, keys: Value| json!({"user_id": "<@dave>", "usage": [usage], "keys": keys});
    let good = || key("master", json!({format!("ed25519:{public}"): public}));
    let master = |name: &str, key: Value| keys(name, &json!({ "master_key": key })).status(400);
    let mut signed = key("self_signing", json!({"ed25519:x": public}));
    signed["signatures"] = json!({"<@dave>": {format!("ed25519:{public}"): "AAAA"}});
    let mut skipped = signed.clone();
    skipped["signatures"] = json!({"<@dave>": {format!("ed25519:{public}"): "A A A A"}});
    let mut odd = signed.clone();
    odd["signatures"] = json!(5);
    vec![
        master("of another user", json!({"user_id": "<@bob>", "usage": ["master"], "keys": {"ed25519:x": public}})),
        master("of another kind", key("self_signing", json!({"ed25519:x": public}))),
        master("no usage", json!({"user_id": "<@dave>", "keys": {"ed25519:x": public}})),
        master("no keys", json!({"user_id": "<@dave>", "usage": ["master"]})),
        master("two keys", key("master", json!({"ed25519:x": public, "ed25519:y": public}))),
        master("another algorithm", key("master", json!({"rsa:x": public}))),
        master("too short", key("master", json!({"ed25519:x": "AAAA"}))),
        master("no base64", key("master", json!({"ed25519:x": "A"}))).passed_on(),
        master("number", key("master", json!({"ed25519:x": 5}))).status(500).passed_on(),
        master("text", json!("x")).status(500).passed_on(),
        master("usage is a text", json!({"user_id": "<@dave>", "usage": 5, "keys": {}})).status(500).passed_on(),
        keys("no master key", &json!({"self_signing_key": signed})).status(400),
        keys(
            "unsigned",
            &json!({"master_key": good(), "user_signing_key": key("user_signing", json!({"ed25519:x": "y"}))}),
        )
        .status(400),
        keys("forged", &json!({"master_key": good(), "self_signing_key": signed})).status(400),
        keys("forged with spaces", &json!({"master_key": good(), "self_signing_key": skipped})).status(400).passed_on(),
        keys("odd signatures", &json!({"master_key": good(), "self_signing_key": odd})).status(500).passed_on(),
    ]
}
