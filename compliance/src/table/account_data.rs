//! `GET /user/{user_id}/…/account_data/{type}` and `/tags`.

use serde_json::json;

use crate::row::{Row, get, post, send};

fn global(name: &str, user: &str, kind: &str) -> Row {
    let path = format!("/_matrix/client/v3/user/<@{user}>/account_data/{kind}");
    get(&format!("account_data/{name}"), &path)
}

fn room(name: &str, user: &str, room: &str, kind: &str) -> Row {
    let path = format!("/_matrix/client/v3/user/<@{user}>/rooms/{room}/account_data/{kind}");
    get(&format!("account_data/{name}"), &path)
}

fn tags(name: &str, user: &str, room: &str) -> Row {
    get(&format!("tags/{name}"), &format!("/_matrix/client/v3/user/<@{user}>/rooms/{room}/tags"))
}

pub fn rows() -> Vec<Row> {
    [reads(), writes(), room_writes(), tag_writes(), read_markers()].into_iter().flatten().collect()
}

fn put(name: &str, path: &str) -> Row {
    send("PUT", &format!("account_data_put/{name}"), &format!("/_matrix/client/v3/user/{path}"))
        .json(&json!({"a": 1.5}))
}

fn delete(name: &str, path: &str) -> Row {
    send("DELETE", &format!("account_data_delete/{name}"), &format!("/_matrix/client/{path}"))
}

fn tag(method: &str, name: &str, path: &str) -> Row {
    let row = send(method, &format!("tags_write/{method} {name}"), &format!("/_matrix/client/v3/user/{path}"));
    if method == "PUT" { row.json(&json!({"order": 0.5})) } else { row }
}

fn marker(name: &str, room: &str) -> Row {
    post(&format!("read_markers/{name}"), &format!("/_matrix/client/v3/rooms/{room}/read_markers"))
}

fn writes() -> Vec<Row> {
    let mine = "<@dave>/account_data/my.write";
    vec![
        put("new", mine).by("dave"),
        global("written", "dave", "my.write").by("dave").has("/a"),
        put("order of keys", mine).by("dave").body(b"{\"z\":1,\"a\":{\"y\":1e2,\"b\":\"\\u00e4\"}}"),
        global("written in order", "dave", "my.write").by("dave").has("/z"),
        put("empty", mine).by("dave").json(&json!({})),
        global("written empty", "dave", "my.write").by("dave"),
        put("odd type", "<@dave>/account_data/a%20%2F%25.").by("dave"),
        put("no type", "<@dave>/account_data/").by("dave").status(404),
        put("ignored users", "<@dave>/account_data/m.ignored_user_list").by("dave").json(&json!({"ignored_users": 5})),
        put("fully read", "<@dave>/account_data/m.fully_read").by("dave").status(405),
        put("push rules", "<@dave>/account_data/m.push_rules").by("dave").status(405),
        put("of another", "<@alice>/account_data/my.write").by("dave").status(403),
        put("fully read of another", "<@alice>/account_data/m.fully_read").by("dave").status(403),
        put("guest", "<@guest>/account_data/my.write").by("guest").status(403),
        put("nobody", mine).status(401),
        put("locked", "<@locked>/account_data/my.write").by("locked").status(401),
        put("puppet", "<@puppet>/account_data/my.write").by("bridge").query("user_id", "<@puppet>"),
        put("no JSON", mine).by("dave").body(b"{").status(400),
        put("no body", mine).by("dave").body(b"").status(400),
        put("no object", mine).by("dave").body(b"[]").status(400),
        put("NaN", mine).by("dave").body(b"{\"a\": NaN}").status(400),
        put("not UTF-8", mine).by("dave").body(b"{\"a\": \"\xff\"}").status(400),
        put("slash", "<@dave>/account_data/my.write/").by("dave").status(404),
        delete("MSC3391", "unstable/org.matrix.msc3391/user/<@dave>/account_data/my.write").by("dave").status(404),
        delete("stable", "v3/user/<@dave>/account_data/my.write").by("dave").status(405),
    ]
}

fn room_writes() -> Vec<Row> {
    let mine = "<@dave>/rooms/<general>/account_data/my.write";
    vec![
        put("in a room", mine).by("dave"),
        room("written in a room", "dave", "<general>", "my.write").by("dave").has("/a"),
        put("in an unknown room", "<@dave>/rooms/!no:myelin.test/account_data/my.write").by("dave"),
        put("in no room", "<@dave>/rooms/nonsense/account_data/my.write").by("dave").status(400),
        put("fully read of a room", "<@dave>/rooms/<general>/account_data/m.fully_read").by("dave").status(405),
        put("fully read of no room", "<@dave>/rooms/nonsense/account_data/m.fully_read").by("dave").status(400),
        put("tags of a room", "<@dave>/rooms/<general>/account_data/m.tag").by("dave"),
        put("of another in a room", "<@alice>/rooms/<general>/account_data/my.write").by("dave").status(403),
        put("of another in no room", "<@alice>/rooms/nonsense/account_data/my.write").by("dave").status(403),
        put("guest in a room", "<@guest>/rooms/<general>/account_data/my.write").by("guest").status(403),
        put("nobody in a room", mine).status(401),
        put("no JSON in a room", mine).by("dave").body(b"nonsense").status(400),
        delete("MSC3391 in a room", "unstable/org.matrix.msc3391/user/<@dave>/rooms/<general>/account_data/my.write")
            .by("dave")
            .status(404),
    ]
}

fn tag_writes() -> Vec<Row> {
    let mine = "<@bob>/rooms/<general>/tags/u.twin";
    vec![
        tag("PUT", "new", mine).by("bob"),
        tags("written", "bob", "<general>").by("bob").has("/tags/u.twin/order"),
        tag("PUT", "changed", mine).by("bob").json(&json!({"order": "x", "b": 1})),
        tag("PUT", "empty", mine).by("bob").json(&json!({})),
        tags("changed", "bob", "<general>").by("bob").has("/tags/u.twin"),
        tag("DELETE", "known", mine).by("bob"),
        tag("DELETE", "unknown", mine).by("bob"),
        tags("deleted", "bob", "<general>").by("bob").has("/tags"),
        tag("PUT", "long", &format!("<@bob>/rooms/<general>/tags/{}", "t".repeat(255))).by("bob"),
        tag("DELETE", "long", &format!("<@bob>/rooms/<general>/tags/{}", "t".repeat(255))).by("bob"),
        tag("PUT", "too long", &format!("<@bob>/rooms/<general>/tags/{}", "t".repeat(256))).by("bob").status(400),
        tag("PUT", "too long in bytes", &format!("<@bob>/rooms/<general>/tags/{}", "%C3%A4".repeat(128)))
            .by("bob")
            .status(400),
        tag("PUT", "no tag", "<@bob>/rooms/<general>/tags/").by("bob").status(404),
        tag("PUT", "in a foreign room", "<@bob>/rooms/!no:myelin.test/tags/u.x").by("bob").status(403),
        tag("PUT", "in no room", "<@bob>/rooms/nonsense/tags/u.x").by("bob").body(b"{").status(403),
        tag("PUT", "of another", "<@alice>/rooms/<general>/tags/u.x").by("bob").status(403),
        tag("PUT", "guest", "<@guest>/rooms/<general>/tags/u.x").by("guest").status(403),
        tag("PUT", "nobody", mine).status(401),
        tag("PUT", "no JSON", mine).by("bob").body(b"{").status(400),
        tag("PUT", "list", mine).by("bob").json(&json!([])).status(400),
        tag("DELETE", "in no room", "<@bob>/rooms/nonsense/tags/u.x").by("bob"),
        tag("DELETE", "of another", "<@alice>/rooms/<general>/tags/u.x").by("bob").status(403),
        tag("DELETE", "nobody", mine).status(401),
    ]
}

fn read_markers() -> Vec<Row> {
    let fully = |event: &str| json!({ "m.fully_read": event });
    vec![
        marker("nothing", "<general>").by("bob").json(&json!({})),
        marker("unknown types", "<general>").by("bob").json(&json!({"x": 1})),
        marker("empty", "<general>").by("bob").json(&fully("")),
        marker("null", "<general>").by("bob").json(&json!({ "m.fully_read": null })),
        marker("unknown event", "<general>").by("bob").json(&fully("$none")).status(404),
        marker("unknown room", "!no:myelin.test").by("bob").json(&fully("$none")).status(404),
        marker("no room", "nonsense").by("bob").json(&fully("$none")).status(404),
        marker("receipt", "<general>").by("bob").json(&json!({"m.read": "$none"})).status(0).passed_on(),
        marker("private receipt", "<general>")
            .by("bob")
            .json(&json!({"m.read.private": "$none"}))
            .status(0)
            .passed_on(),
        marker("number", "<general>").by("bob").json(&json!({"m.fully_read": 5})).status(0).passed_on(),
        marker("guest", "<general>").by("guest").json(&fully("$x")).status(403),
        marker("nobody", "<general>").json(&fully("$x")).status(401),
        marker("no JSON", "<general>").by("bob").body(b"{").status(400),
        marker("list", "<general>").by("bob").json(&json!([])).status(400),
    ]
}

fn reads() -> Vec<Row> {
    vec![
        global("settings", "bob", "my.settings").by("bob").has("/changed"),
        global("empty", "bob", "my.deleted").by("bob"),
        global("ignored users", "bob", "m.ignored_user_list").by("bob").has("/ignored_users"),
        global("push rules", "bob", "m.push_rules").by("bob").has("/global"),
        global("push rules of all", "carol", "m.push_rules").by("carol").has("/global"),
        global("fully read", "bob", "m.fully_read").by("bob").status(404),
        global("unknown", "bob", "my.unknown").by("bob").status(404),
        global("no type", "bob", "").by("bob").status(404),
        global("of another", "alice", "my.settings").by("bob").status(403),
        global("other device", "bob", "my.settings").by("bob2").has("/changed"),
        global("guest", "guest", "my.settings").by("guest").status(403),
        global("puppet", "puppet", "my.settings").by("bridge").query("user_id", "<@puppet>").status(404),
        global("nobody", "bob", "my.settings").status(401),
        global("slash", "bob", "my.settings/").by("bob").status(404),
        get("account_data/r0", "/_matrix/client/r0/user/<@bob>/account_data/my.settings").by("bob"),
        get("account_data/api v1", "/_matrix/client/api/v1/user/<@bob>/account_data/my.settings").by("bob").status(404),
        get("account_data/no user", "/_matrix/client/v3/user/bob/account_data/my.settings").by("bob").status(403),
        room("of a room", "bob", "<general>", "my.room").by("bob").has("/colour"),
        room("fully read of a room", "bob", "<general>", "m.fully_read").by("bob").has("/event_id"),
        room("push rules of a room", "bob", "<general>", "m.push_rules").by("bob"),
        room("tags as data", "bob", "<general>", "m.tag").by("bob").status(404),
        room("empty of a room", "bob", "<general>", "m.fully_read.not").by("bob"),
        room("unknown of a room", "bob", "<general>", "my.unknown").by("bob").status(404),
        room("of another room", "bob", "<busy>", "my.room").by("bob").status(404),
        room("of no room", "bob", "nonsense", "my.room").by("bob").status(400),
        room("of an alias", "bob", "%23general:myelin.test", "my.room").by("bob").status(400),
        room("of an unknown room", "bob", "!no:myelin.test", "my.room").by("bob").status(404),
        room("of another in a room", "alice", "<general>", "my.room").by("bob").status(403),
        room("of another in no room", "alice", "nonsense", "my.room").by("bob").status(403),
        room("guest in a room", "guest", "<general>", "my.room").by("guest").status(403),
        room("nobody in a room", "bob", "<general>", "my.room").status(401),
        tags("two", "bob", "<general>").by("bob").has("/tags/m.favourite"),
        tags("taken away", "bob", "<busy>").by("bob"),
        tags("none", "carol", "<general>").by("carol").has("/tags"),
        tags("no room", "bob", "nonsense").by("bob").has("/tags"),
        tags("of another", "alice", "<general>").by("bob").status(403),
        tags("guest", "guest", "<general>").by("guest").status(403),
        tags("nobody", "bob", "<general>").status(401),
        tags("slash", "bob", "<general>/").by("bob").status(404),
    ]
}
