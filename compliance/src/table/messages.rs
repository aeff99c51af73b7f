//! `GET /rooms/{room_id}/messages`.

use serde_json::{Value, json};

use crate::row::{Row, get};

fn messages(name: &str, room: &str) -> Row {
    get(&format!("messages/{name}"), &format!("/_matrix/client/v3/rooms/<{room}>/messages"))
}

fn filtered(name: &str, room: &str, filter: &Value) -> Row {
    messages(&format!("filter {name}"), room).by("bob").query("dir", "b").query("filter", &filter.to_string())
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        messages("forwards", "general").by("bob").has("/chunk/9").has("/end"),
        messages("backwards", "general").by("bob").query("dir", "b").has("/chunk/9").has("/end"),
        messages("all", "busy").by("bob").query("dir", "b").query("limit", "1000").has("/chunk/90").has("/end"),
        messages("limit 1", "busy").by("bob").query("dir", "b").query("limit", "1").has("/chunk/0"),
        messages("limit 0", "busy").by("bob").query("dir", "b").query("limit", "0").has("/end"),
        messages("limit 0 forwards", "busy").by("bob").query("limit", "0").has("/end"),
        messages("a huge limit", "busy").by("bob").query("dir", "b").query("limit", "99999999999999999999"),
        messages("negative limit", "busy").by("bob").query("limit", "-1").status(400),
        messages("odd limit", "busy").by("bob").query("limit", "x").status(400),
        messages("dir x", "busy").by("bob").query("dir", "x").status(400),
        messages("dir empty", "busy").by("bob").query("dir", "").status(400),
        messages("from END", "busy").by("bob").query("dir", "b").query("from", "END").has("/chunk/9"),
        messages("from empty", "busy").by("bob").query("dir", "b").query("from", "").has("/chunk/9"),
        messages("from nonsense", "busy").by("bob").query("from", "zz").status(400),
        messages("from a short token", "busy").by("bob").query("dir", "b").query("from", "t20-1000000"),
        messages("from an umlaut", "busy").by("bob").query("from", "ä").status(400),
        messages("to nonsense", "busy").by("bob").query("to", "zz").status(400),
        messages("both nonsense", "busy").by("bob").query("from", "zz").query("to", "zz").status(400),
        messages("from the beginning", "busy").by("bob").query("dir", "b").query("from", "s0"),
        messages("from depth 0", "busy").by("bob").query("dir", "b").query("from", "t0-0"),
        messages("beyond the end", "busy").by("bob").query("from", "t99999-99999999"),
        messages("raw", "general").by("bob").query("dir", "b").query("raw", "").has("/chunk/0/depth"),
        messages("own device", "general").by("alice").query("dir", "b").query("limit", "100"),
        messages("other device", "general").by("alice2").query("dir", "b").query("limit", "100"),
        messages("fork", "fork").by("bob").query("dir", "b").query("limit", "6").has("/chunk/5"),
        messages("fork forwards", "fork").by("bob").query("limit", "100"),
        get("messages/api v1", "/_matrix/client/api/v1/rooms/<general>/messages").by("bob"),
    ];
    rows.extend(who_asks());
    let rooms = [
        "general",
        "threads",
        "left",
        "kicked",
        "rejected",
        "back",
        "rejoined",
        "bounced",
        "shared",
        "invited",
        "joined",
        "world_readable",
        "with nina",
        "v6",
        "v10",
        "v12",
        "upgraded",
        "secret",
        "deserted",
        "dm",
        "knock",
        "forgetful",
    ];
    for room in rooms {
        for dir in ["f", "b"] {
            for user in ["alice", "bob", "carol"] {
                let row = messages(&format!("{room} {dir} by {user}"), room).by(user);
                rows.push(Row { status: 0, ..row.query("dir", dir).query("limit", "100") });
            }
        }
    }
    rows.extend(tokens());
    rows.extend(filters());
    rows
}

/// Members, strangers, and what each may see.
fn who_asks() -> Vec<Row> {
    vec![
        messages("guest", "general").by("guest").query("dir", "b").query("limit", "100"),
        messages("puppet", "general").by("bridge").query("user_id", "<@puppet>"),
        messages("locked", "general").by("locked").status(401),
        messages("admin", "general").by("root").status(403),
        messages("not a member", "not ours").by("bob").status(403),
        messages("only invited", "open invite").by("bob").status(403),
        messages("forgotten", "forgotten").by("bob").status(403),
        messages("after a ban", "banned").by("bob").status(403),
        messages("world readable to a guest", "world_readable").by("guest").query("limit", "100"),
        messages("world readable to a stranger", "world_readable").by("heidi").query("dir", "b"),
        messages("nobody", "general").status(401),
        messages("nobody, dir", "general").query("dir", "x").status(401),
        get("messages/unknown room", "/_matrix/client/v3/rooms/!no:myelin.test/messages").by("bob").status(403),
        get("messages/no room", "/_matrix/client/v3/rooms/nonsense/messages").by("bob").status(403),
        get("messages/slash", "/_matrix/client/v3/rooms/<general>/messages/").by("bob").status(404),
    ]
}

/// Between tokens of /sync, and from page to page.
fn tokens() -> Vec<Row> {
    let mut rows = Vec::new();
    for since in ["nothing", "rooms", "talk", "changes", "end"] {
        for dir in ["f", "b"] {
            for room in ["general", "busy", "left"] {
                let token = format!("<since:{since}>");
                let row = messages(&format!("from {since} {dir} in {room}"), room).by("bob");
                rows.push(row.query("dir", dir).query("from", &token));
                let row = messages(&format!("to {since} {dir} in {room}"), room).by("bob");
                rows.push(row.query("dir", dir).query("to", &token).query("limit", "40"));
                let row = messages(&format!("from talk to {since} {dir} in {room}"), room).by("bob");
                rows.push(row.query("dir", dir).query("from", "<since:talk>").query("to", &token));
            }
        }
    }
    for dir in ["f", "b"] {
        for (page, from) in [("first", "END"), ("second", "<messages:first>"), ("third", "<messages:second>")] {
            let from = from.replace(':', &format!(":{dir} "));
            let row = messages(&format!("pages {dir}, the {page}"), "busy").by("bob");
            let row = row.query("dir", dir).query("limit", "7").query("from", &from);
            rows.push(row.keep(&format!("messages:{dir} {page}"), "/end"));
        }
    }
    rows
}

fn filters() -> Vec<Row> {
    let mut rows = vec![
        filtered("types", "general", &json!({"types": ["m.room.message"]})).has("/chunk/1"),
        filtered("wildcard", "general", &json!({"types": ["m.room.m*"]})).has("/chunk/1"),
        filtered("wildcard in the middle", "general", &json!({"types": ["m.*.member"]})),
        filtered("sql wildcards", "general", &json!({"types": ["m_room%", "m_room.*"]})),
        filtered("not_types", "general", &json!({"not_types": ["m.room.member", "m.room.p*"]})),
        filtered("no types", "general", &json!({"types": []})),
        filtered("not_types star", "general", &json!({"not_types": ["*"]})),
        filtered("senders", "busy", &json!({"senders": ["<@carol>", "<@alice>"]})).has("/chunk/1"),
        filtered("not_senders", "busy", &json!({"not_senders": ["<@carol>"]})).has("/chunk/1"),
        filtered("odd senders", "busy", &json!({"senders": ["nobody"]})),
        filtered("rooms", "busy", &json!({"rooms": ["<busy>"]})).has("/chunk/1"),
        filtered("other rooms", "busy", &json!({"rooms": ["<general>"]})),
        filtered("rooms of version 12", "v12", &json!({"rooms": ["<v12>"]})),
        filtered("not_rooms", "busy", &json!({"not_rooms": ["<busy>"]})),
        filtered("url", "busy", &json!({"contains_url": true})),
        filtered("no url", "busy", &json!({"contains_url": false})).has("/chunk/1"),
        filtered("labels", "busy", &json!({"org.matrix.labels": ["#fun"]})),
        filtered("not labels", "busy", &json!({"org.matrix.not_labels": ["#fun"]})).has("/chunk/1"),
        filtered("related by senders", "threads", &json!({"related_by_senders": ["<@bob>"]})).has("/chunk/1"),
        filtered("related by types", "threads", &json!({"related_by_rel_types": ["m.thread"]})).has("/chunk/0"),
        filtered(
            "both relations",
            "threads",
            &json!({"related_by_senders": ["<@carol>"],
            "related_by_rel_types": ["m.thread", "m.annotation"]}),
        )
        .has("/chunk/0"),
        filtered("lazy", "general", &json!({"lazy_load_members": true})).has("/state/0"),
        filtered("lazy, redundant", "general", &json!({"lazy_load_members": true, "include_redundant_members": true}))
            .has("/state/0"),
        filtered("lazy, nothing", "general", &json!({"lazy_load_members": true, "types": []})),
        filtered("federation", "general", &json!({"event_format": "federation"})).has("/chunk/0/depth"),
        filtered("lazy, federation", "general", &json!({"event_format": "federation", "lazy_load_members": true}))
            .has("/state/0/depth"),
        filtered("fields", "general", &json!({"event_fields": ["type"], "limit": 1, "unknown": 1})),
        filtered("empty", "general", &json!({})),
        filtered("null", "general", &json!(null)),
        filtered("false", "general", &json!(false)),
    ];
    for room in ["general", "left", "shared", "with nina", "v12"] {
        let lazy = json!({"lazy_load_members": true}).to_string();
        let row = messages(&format!("filter lazy, forwards in {room}"), room).by("bob");
        rows.push(row.query("dir", "f").query("limit", "50").query("filter", &lazy));
    }
    let texts = [("nonsense", "{x", 400), ("empty text", "", 400), ("an umlaut", "{\"types\": [\"ä\"]}", 200)];
    for (name, filter, status) in texts {
        let row = messages(&format!("filter {name}"), "general").by("bob").query("filter", filter);
        rows.push(row.status(status));
    }
    for (name, filter) in
        [("a list", json!([1])), ("odd types", json!({"types": "x"})), ("null types", json!({"types": null}))]
    {
        rows.push(Row { status: 0, ..filtered(name, "general", &filter).passed_on() });
    }
    rows
}
