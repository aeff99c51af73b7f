//! `POST /keys/query` and `GET /keys/changes`; claims and uploads that are refused, or change nothing.

use serde_json::{Value, json};

use crate::row::{Row, get, post};

/// What was made in the database: see `seed/keys.rs`.
const REMOTE: &str = "@remote:other.test";

fn query(name: &str, device_keys: &Value) -> Row {
    post(&format!("keys_query/{name}"), "/_matrix/client/v3/keys/query").json(&json!({ "device_keys": device_keys }))
}

fn body(name: &str, body: &[u8]) -> Row {
    post(&format!("keys_query/{name}"), "/_matrix/client/v3/keys/query").by("bob").body(body).status(400)
}

fn changes(name: &str) -> Row {
    get(&format!("keys_changes/{name}"), "/_matrix/client/v3/keys/changes")
}

pub fn rows() -> Vec<Row> {
    [queries(), bad_queries(), changed(), claims(), uploads()].into_iter().flatten().collect()
}

fn queries() -> Vec<Row> {
    vec![
        query("own", &json!({"<@alice>": []})).by("alice").has("/user_signing_keys/<@alice>"),
        query("of another", &json!({"<@alice>": []})).by("bob").has("/device_keys/<@alice>/<device:alice2>"),
        query("signed by the asker", &json!({"<@bob>": [], "<@alice>": []})).by("bob").has("/master_keys/<@alice>"),
        query("signed by another", &json!({"<@bob>": []})).by("alice").has("/device_keys/<@bob>"),
        query("of a device", &json!({"<@alice>": ["<device:alice>"]})).by("bob"),
        query("of a device twice", &json!({"<@alice>": ["<device:alice>", "<device:alice>"]})).by("bob"),
        query("of an unknown device", &json!({"<@alice>": ["<device:alice2>", "NONE"]})).by("bob"),
        query("of a key", &json!({"<@alice>": ["alice-master"]})).by("bob"),
        query("of one without keys", &json!({"<@carol>": [], "<@judy>": ["X"]})).by("bob"),
        query("of nobody", &json!({"@nobody:myelin.test": []})).by("bob").has("/device_keys/@nobody:myelin.test"),
        query("of strange users", &json!({"alice": [], "@x": [], "@a:b_c": [], "#a:myelin.test": []})).by("bob"),
        query("none", &json!({})).by("bob").has("/failures"),
        query("guest", &json!({"<@alice>": []})).by("guest"),
        query("puppet", &json!({"<@alice>": []})).by("bridge").query("user_id", "<@puppet>"),
        query("sender", &json!({"<@alice>": []})).by("bridge"),
        query("of a known remote user", &json!({REMOTE: [], "<@alice>": []})).by("bob").has("/self_signing_keys"),
        query("of a known remote device", &json!({REMOTE: ["R1"]})).by("bob"),
        query("of an unknown remote device", &json!({REMOTE: ["R1", "R9"]})).by("bob").status(404).passed_on(),
        query("of half a remote user", &json!({"@half:other.test": []})).by("bob").passed_on(),
        query("of a remote user who left", &json!({"@gone:other.test": []})).by("bob").passed_on(),
        query("of a remote user to fetch again", &json!({"@stale:other.test": []})).by("bob").passed_on(),
        query("with a timeout", &json!({"<@alice>": []})).by("bob").query("timeout", "5"),
        query("api v1", &json!({})).by("bob").status(404).at("/_matrix/client/api/v1/keys/query"),
        query("r0", &json!({"<@alice>": []})).by("bob").at("/_matrix/client/r0/keys/query"),
    ]
}

fn bad_queries() -> Vec<Row> {
    vec![
        query("nobody", &json!({})).status(401),
        query("bad token", &json!({})).token("nonsense").status(401),
        query("locked", &json!({})).by("locked").status(401),
        query("odd timeout", &json!({})).by("bob").query("timeout", "x").status(400),
        query("negative timeout", &json!({})).by("bob").query("timeout", "-1").status(400),
        query("list", &json!([])).by("bob").status(400),
        query("null", &json!(null)).by("bob").status(400),
        query("no list", &json!({"<@alice>": {}})).by("bob").status(400),
        query("no list for a strange user", &json!({"alice": null})).by("bob").status(400),
        query("no strings", &json!({"<@alice>": [1]})).by("bob").status(400),
        body("no body", b""),
        body("no JSON", b"{x"),
        body("no object", b"[]"),
        body("nothing asked", b"{}"),
        body("not UTF-8", b"{\"device_keys\": {\"\xff\": []}}"),
        body("NaN", br#"{"device_keys": {}, "x": NaN}"#),
    ]
}

fn claim(name: &str, keys: &Value) -> Row {
    post(&format!("keys_claim/{name}"), "/_matrix/client/v3/keys/claim")
        .by("bob")
        .json(&json!({ "one_time_keys": keys }))
}

fn claims() -> Vec<Row> {
    vec![
        claim("nothing", &json!({})).has("/failures"),
        claim("of nobody", &json!({"@nobody:myelin.test": {"D": "signed_curve25519"}})).has("/one_time_keys"),
        claim("of an unknown device", &json!({"<@alice>": {"NONE": "signed_curve25519"}})),
        claim("of another algorithm", &json!({"<@alice>": {"<device:alice>": "x"}})),
        claim("no device", &json!({"<@alice>": {}})),
        claim("body without it", &json!({})).json(&json!({})),
        claim("of a strange user", &json!({"alice": {"D": "x"}})).status(400),
        claim("of a user without a server", &json!({"@alice": {"D": "x"}})).status(400),
        claim("of a remote user", &json!({"@remote:other.test": {"D": "x"}})).passed_on(),
        claim("list", &json!([])).status(500).passed_on(),
        claim("list of devices", &json!({"<@alice>": []})).status(500).passed_on(),
        claim("odd timeout", &json!({})).query("timeout", "x").status(400),
        claim("no JSON", &json!({})).body(b"{").status(400),
        claim("array", &json!({})).body(b"[]").status(400),
        claim("guest", &json!({})).by("guest"),
        claim("nobody", &json!({})).token("x").status(401),
    ]
}

fn upload(name: &str, body: &Value) -> Row {
    post(&format!("keys_upload/{name}"), "/_matrix/client/v3/keys/upload").by("bob").json(body)
}

fn uploads() -> Vec<Row> {
    let signed = |key: &str| json!({"key": key, "signatures": {"<@bob>": {"ed25519:<device:bob>": "x"}}});
    let device = |user: &str, device: &str| json!({"device_keys": {"user_id": user, "device_id": device, "algorithms": [], "keys": {}, "signatures": {}}});
    let odd = |name: &str, body: Value| upload(name, &body).status(400).passed_on();
    vec![
        upload("nothing", &json!({})).has("/one_time_key_counts"),
        upload("null", &json!({"one_time_keys": null, "fallback_keys": null})),
        upload("empty", &json!({"one_time_keys": {}, "fallback_keys": {}})),
        upload("known keys", &json!({"one_time_keys": {"signed_curve25519:10": signed("one-time-1-0")}})),
        upload("known id, other key", &json!({"one_time_keys": {"signed_curve25519:10": signed("other")}})).status(400),
        upload("known id, text", &json!({"one_time_keys": {"signed_curve25519:10": "one-time-1-0"}})).status(400),
        upload(
            "too many",
            &json!({"one_time_keys":
            (0..501).map(|at| (format!("many:{at}"), json!("k"))).collect::<serde_json::Map<_, _>>()}),
        )
        .status(400),
        upload("of another user", &device("<@alice>", "<device:bob>")).status(400),
        upload("of another device", &device("<@bob>", "<device:bob2>")).status(400),
        upload("of both", &device("<@alice>", "X")).status(400),
        odd("no device", json!({"device_keys": null})),
        odd("half a device", json!({"device_keys": {"user_id": "<@bob>"}})),
        odd("no algorithm", json!({"one_time_keys": {"x": "k"}})),
        odd("two colons", json!({"one_time_keys": {"x:y:z": "k"}})),
        odd("number", json!({"one_time_keys": {"x:y": 5}})),
        odd("unsigned", json!({"fallback_keys": {"x:y": {"key": "k"}}})),
        odd("list", json!({"one_time_keys": []})).status(500),
        upload("no JSON", &json!({})).body(b"{").status(400),
        upload("array", &json!([])).status(400),
        upload("nobody", &json!({})).token("x").status(401),
        upload("guest", &json!({})).by("guest").status(0),
        upload("puppet", &json!({})).by("bridge").query("user_id", "<@puppet>").status(400),
    ]
}

fn changed() -> Vec<Row> {
    let mut rows = vec![
        changes("nobody").status(401),
        changes("no token").by("bob").status(400),
        changes("empty token").by("bob").query("from", "").status(400),
        changes("bad token").by("bob").query("from", "x").status(400),
        changes("not ASCII").by("bob").query("from", "\u{e4}").status(400),
        changes("history").by("bob").query("from", "t1-5_0_0_0_0_0_0_0_0_0").status(500),
        changes("beginning").by("bob").query("from", "s0_0_0_0_0_0_0_0_0_0"),
        changes("with an end").by("bob").query("from", "<since:talk>").query("to", "<since:talk>"),
        changes("with a bad end").by("bob").query("from", "<since:talk>").query("to", "x"),
    ];
    for user in ["alice", "bob", "carol", "grace", "heidi", "ivan", "guest"] {
        for since in ["nothing", "rooms", "talk", "changes", "end"] {
            let row = changes(&format!("{user} since {since}")).by(user);
            rows.push(row.query("from", &format!("<since:{since}>")).has("/left"));
        }
    }
    rows
}
