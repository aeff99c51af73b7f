//! `GET /devices` and `/devices/{device_id}`.

use crate::row::{Row, get};

fn devices(name: &str, rest: &str) -> Row {
    get(&format!("devices/{name}"), &format!("/_matrix/client/v3/devices{rest}"))
}

pub fn rows() -> Vec<Row> {
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
