//! `GET /devices` and `/devices/{device_id}`, and renames that are refused.

use serde_json::json;

use crate::row::{Row, get, send};

fn devices(name: &str, rest: &str) -> Row {
    get(&format!("devices/{name}"), &format!("/_matrix/client/v3/devices{rest}"))
}

pub fn rows() -> Vec<Row> {
    [reads(), renames()].into_iter().flatten().collect()
}

fn rename(name: &str, device: &str) -> Row {
    let row = send("PUT", &format!("devices_put/{name}"), &format!("/_matrix/client/v3/devices/{device}"));
    row.by("olga").json(&json!({"display_name": "x"}))
}

fn renames() -> Vec<Row> {
    vec![
        rename("own", "<device:olga>"),
        rename("own, null", "<device:olga>").json(&json!({"display_name": null})),
        rename("own, nothing", "<device:olga>").json(&json!({})),
        rename("longest name", "<device:olga>").json(&json!({"display_name": "\u{e4}".repeat(100)})),
        devices("renamed", "/<device:olga>").by("olga").has("/display_name"),
        rename("long name", "<device:olga>").json(&json!({"display_name": "\u{e4}".repeat(101)})).status(400),
        rename("number", "<device:olga>").json(&json!({"display_name": 5})).status(400).passed_on(),
        rename("of another user", "<device:alice>").status(404),
        rename("unknown", "nonsense").status(404),
        rename("unknown, no name", "nonsense").json(&json!({})),
        rename("no JSON", "<device:olga>").body(b"{").status(400),
        rename("no body", "<device:olga>").body(b"").status(400),
        rename("list", "<device:olga>").json(&json!([])).status(400),
        rename("guest", "guest_device").by("guest").status(0),
        rename("puppet", "PUPPET").by("bridge").query("user_id", "<@puppet>").status(0).passed_on(),
        rename("nobody", "<device:olga>").token("x").status(401),
    ]
}

fn reads() -> Vec<Row> {
    vec![
        devices("two", "").by("bob").has("/devices/1/last_seen_ts"),
        devices("one", "").by("carol").has("/devices/0"),
        devices("one is gone", "").by("grace").has("/devices/0"),
        devices("guest", "").by("guest"),
        devices("puppet", "").by("bridge").query("user_id", "<@puppet>"),
        devices("nobody", "").status(401),
        devices("locked", "").by("locked").status(401),
        devices("own", "/<device:bob>").by("bob").has("/device_id"),
        devices("other", "/<device:bob2>").by("bob").has("/display_name"),
        devices("of another user", "/<device:alice>").by("bob").status(404),
        devices("gone", "/<device:gone>").by("grace").status(404),
        devices("unknown", "/nonsense").by("bob").status(404),
        devices("empty", "/").by("bob").status(404),
        devices("nobody's", "/<device:bob>").status(401),
        get("devices/r0", "/_matrix/client/r0/devices/<device:bob>").by("bob"),
        get("devices/api v1", "/_matrix/client/api/v1/devices").by("bob").status(404),
    ]
}
