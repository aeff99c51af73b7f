//! `GET /room_keys/keys` and `/room_keys/version`.

use crate::row::{Row, get};

fn keys(name: &str, rest: &str) -> Row {
    get(&format!("room_keys/{name}"), &format!("/_matrix/client/v3/room_keys/keys{rest}")).query("version", "1")
}

fn version(name: &str, rest: &str) -> Row {
    get(&format!("room_keys/version {name}"), &format!("/_matrix/client/v3/room_keys/version{rest}"))
}

pub fn rows() -> Vec<Row> {
    let all = "/_matrix/client/v3/room_keys/keys";
    vec![
        keys("all", "").by("bob").has("/rooms/<general>/sessions/s2/session_data"),
        keys("of a room", "/<general>").by("bob").has("/sessions/s1"),
        keys("of a room without any", "/<dm>").by("bob").has("/sessions"),
        keys("of a session", "/<general>/s1").by("bob").has("/session_data"),
        keys("of an unknown session", "/<general>/s9").by("bob").status(404),
        keys("of another room's session", "/<busy>/s1").by("bob").status(404),
        keys("slash", "/").by("bob").status(404),
        keys("of one who has none", "").by("alice").status(404),
        keys("of a deleted version", "").by("carol").status(404),
        keys("guest", "").by("guest").status(403),
        keys("nobody", "").status(401),
        get("room_keys/of an empty version", all).by("carol").query("version", "2").has("/rooms"),
        get("room_keys/without a version", all).by("bob").status(400),
        get("room_keys/of an unknown version", all).by("bob").query("version", "7").status(404),
        get("room_keys/of an odd version", all).by("bob").query("version", "x").status(404),
        get("room_keys/of a blank version", all).by("bob").query("version", " 1 "),
        version("latest", "").by("bob").has("/count"),
        version("latest after a deleted one", "").by("carol").has("/etag"),
        version("none", "").by("alice").status(404),
        version("by number", "/1").by("bob").has("/auth_data"),
        version("deleted", "/1").by("carol").status(404),
        version("unknown", "/7").by("bob").status(404),
        version("odd", "/x").by("bob").status(404),
        version("slash", "/").by("bob").status(404),
        version("guest", "").by("guest").status(403),
        version("nobody", "/1").status(401),
    ]
}
