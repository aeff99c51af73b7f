//! `/room_keys/keys` and `/room_keys/version`: reads, and writes that are refused. Others are in `effects`.

use serde_json::{Value, json};

use crate::row::{Row, get, send};

fn keys(name: &str, rest: &str) -> Row {
    get(&format!("room_keys/{name}"), &format!("/_matrix/client/v3/room_keys/keys{rest}")).query("version", "1")
}

fn version(name: &str, rest: &str) -> Row {
    get(&format!("room_keys/version {name}"), &format!("/_matrix/client/v3/room_keys/version{rest}"))
}

pub fn rows() -> Vec<Row> {
    [reads(), refused_keys(), refused_versions()].into_iter().flatten().collect()
}

fn write(method: &str, name: &str, path: &str, body: &Value) -> Row {
    let row =
        send(method, &format!("room_keys_write/{method} {name}"), &format!("/_matrix/client/v3/room_keys/{path}"));
    row.by("bob").json(body)
}

fn refused_keys() -> Vec<Row> {
    let (none, key) = (
        json!({"rooms": {}}),
        json!({"first_message_index": 1, "forwarded_count": 1, "is_verified": true,
        "session_data": {}}),
    );
    let odd = |name: &str, body: Value| {
        let body = json!({"rooms": {"!r:myelin.test": {"sessions": {"s": body}}}});
        write("PUT", name, "keys", &body).query("version", "1").passed_on()
    };
    vec![
        write("PUT", "without a version", "keys", &none).status(400),
        write("PUT", "to an unknown version", "keys", &none).query("version", "7").status(404),
        write("PUT", "to an odd version", "keys", &none).query("version", "x").status(404),
        write("PUT", "to a version with a zero", "keys", &none).query("version", "01").status(403),
        write("PUT", "to none", "keys/!r:myelin.test/s", &key).by("alice").query("version", "1").status(404),
        write("PUT", "no rooms", "keys", &json!({})).query("version", "1").status(500).passed_on(),
        write("PUT", "no sessions", "keys/!r:myelin.test", &json!({})).query("version", "1").status(500).passed_on(),
        write("PUT", "no key", "keys/!r:myelin.test/s", &json!({})).query("version", "1").status(500).passed_on(),
        odd(
            "verified by a number",
            json!({"first_message_index": 1, "forwarded_count": 1, "is_verified": 1,
            "session_data": {}}),
        )
        .status(400),
        odd(
            "huge index",
            json!({"first_message_index": 3_000_000_000_i64, "forwarded_count": 1, "is_verified": true,
            "session_data": {}}),
        )
        .status(500),
        write("PUT", "no JSON", "keys", &none).query("version", "1").body(b"{").status(400),
        write("PUT", "list", "keys", &json!([])).query("version", "1").status(400),
        write("PUT", "guest", "keys", &none).by("guest").query("version", "1").status(403),
        write("PUT", "nobody", "keys", &none).token("x").query("version", "1").status(401),
        write("PUT", "slash", "keys/", &none).query("version", "1").status(404),
        write("DELETE", "without a version", "keys", &none).status(400),
        write("DELETE", "of an unknown version", "keys", &none).query("version", "7").status(404),
        write("DELETE", "of an odd version", "keys", &none).query("version", "x").status(404),
        write("DELETE", "of a deleted version", "keys", &none).by("carol").query("version", "1").status(404),
        write("DELETE", "guest", "keys", &none).by("guest").query("version", "1").status(403),
        write("DELETE", "nobody", "keys", &none).token("x").query("version", "1").status(401),
    ]
}

fn refused_versions() -> Vec<Row> {
    let info = json!({"algorithm": "m.megolm_backup.v1", "auth_data": {}});
    vec![
        write("POST", "no algorithm", "version", &json!({"auth_data": {}})).status(500).passed_on(),
        write("POST", "no data", "version", &json!({"algorithm": "x"})).status(500).passed_on(),
        write("POST", "no JSON", "version", &info).body(b"{").status(400),
        write("POST", "list", "version", &json!([])).status(400),
        write("POST", "guest", "version", &info).by("guest").status(403),
        write("POST", "nobody", "version", &info).token("x").status(401),
        write("PUT", "version unknown", "version/7", &info).status(404),
        write("PUT", "version odd", "version/x", &info).status(404),
        write("PUT", "version deleted", "version/1", &info).by("carol").status(404),
        write("PUT", "version of another algorithm", "version/1", &json!({"algorithm": "y"})).status(400),
        write("PUT", "version named otherwise", "version/1", &json!({"version": "2"})).status(400),
        write("PUT", "version named by a number", "version/1", &json!({"version": 1})).status(400),
        write("PUT", "version without an algorithm", "version/1", &json!({})).status(500).passed_on(),
        write("PUT", "version no JSON", "version/1", &info).body(b"{").status(400),
        write("PUT", "version guest", "version/1", &info).by("guest").status(403),
        write("PUT", "version nobody", "version/1", &info).token("x").status(401),
        write("DELETE", "version unknown", "version/7", &info).status(404),
        write("DELETE", "version odd", "version/x", &info).status(404),
        write("DELETE", "latest version", "version", &info).status(405),
        write("DELETE", "version guest", "version/1", &info).by("guest").status(403),
        write("DELETE", "version nobody", "version/1", &info).token("x").status(401),
    ]
}

fn reads() -> Vec<Row> {
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
