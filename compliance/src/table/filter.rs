//! `POST /user/{user_id}/filter` and `GET /user/{user_id}/filter/{filter_id}`.

use serde_json::{Value, json};

use crate::row::{Row, get, post};

const PATH: &str = "/_matrix/client/v3/user/<@bob>/filter";

fn upload(name: &str, filter: &Value) -> Row {
    post(&format!("filter/{name}"), PATH).by("bob").json(filter)
}

fn read(name: &str, id: &str) -> Row {
    get(&format!("filter/{name}"), &format!("{PATH}/{id}")).by("bob")
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        upload("new", &json!({"room": {"timeline": {"limit": 3}}})).keep("filter:small", "/filter_id"),
        upload("same again", &json!({"room": {"timeline": {"limit": 3}}})),
        upload("new, by Myelin", &json!({"room": {"timeline": {"limit": 4}}})).myelin_first(),
        upload("empty", &json!({})).keep("filter:empty", "/filter_id"),
        upload("limit is clamped", &json!({"room": {"timeline": {"limit": 5000}}})).keep("filter:huge", "/filter_id"),
        upload("unknown keys", &json!({"x": 1, "room": {"y": [2.5, "ä"]}})).keep("filter:odd", "/filter_id"),
        read("read", "<filter:small>"),
        read("read empty", "<filter:empty>"),
        read("read clamped", "<filter:huge>"),
        read("read odd", "<filter:odd>"),
        read("read zero", "0"),
        read("unknown", "77").status(404),
        read("not a number", "x").status(400),
        read("negative", "-1").status(404),
        read("too big", "99999999999999999999").status(404),
        get("filter/read another user's", "/_matrix/client/v3/user/<@alice>/filter/0").by("bob").status(403),
        get("filter/read a foreign user's", "/_matrix/client/v3/user/@x:other.test/filter/0").by("bob").status(403),
        get("filter/read a malformed user's", "/_matrix/client/v3/user/bob/filter/0").by("bob").status(400),
        get("filter/read by nobody", "/_matrix/client/v3/user/<@bob>/filter/0").status(401),
        get("filter/read by a guest", "/_matrix/client/v3/user/<@guest>/filter/0").by("guest").status(403),
        get("filter/read with GET and no id", PATH).by("bob").status(405),
        post("filter/for another user", "/_matrix/client/v3/user/<@alice>/filter")
            .by("bob")
            .json(&json!({}))
            .status(403),
        post("filter/for a malformed user", "/_matrix/client/v3/user/bob/filter")
            .by("bob")
            .json(&json!({}))
            .status(400),
        post("filter/by nobody", PATH).json(&json!({})).status(401),
        post("filter/not JSON", PATH).by("bob").body(b"{x").status(400),
        post("filter/no body", PATH).by("bob").body(b"").status(400),
        post("filter/not an object", PATH).by("bob").body(b"[]").status(400),
        post("filter/not UTF-8", PATH).by("bob").body(b"\xff\xfe").status(400),
        post("filter/not a number", PATH).by("bob").body(b"{\"x\": NaN}").status(400),
    ];
    let wrong = [
        json!({"room": {"timeline": []}}),
        json!({"room": {"rooms": ["nonsense"]}}),
        json!({"presence": {"senders": ["nonsense"]}}),
        json!({"presence": {"types": "m.presence"}}),
        json!({"event_fields": [1]}),
        json!({"event_format": "pdu"}),
        json!({"room": {"state": {"lazy_load_members": "yes"}}}),
        json!({"room": {"include_leave": 1}}),
    ];
    for (at, filter) in wrong.iter().enumerate() {
        rows.push(upload(&format!("wrong {at}"), filter).status(400));
    }
    // Synapse: the limits are looked at before the schema is.
    rows.push(upload("room is a number", &json!({"room": 1})).status(500));
    rows.push(upload("limit is a string", &json!({"room": {"timeline": {"limit": "3"}}})).status(500));
    rows.push(upload("backslashes", &json!({"event_fields": ["a\\\\b"]})));
    rows
}
