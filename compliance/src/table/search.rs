//! `POST /search`.

use serde_json::{Value, json};

use crate::row::{Row, post};

const PATH: &str = "/_matrix/client/v3/search";

fn raw(name: &str, body: &Value) -> Row {
    post(&format!("search/{name}"), PATH).by("bob").json(body)
}

fn search(name: &str, events: &Value) -> Row {
    raw(name, &json!({"search_categories": {"room_events": events}}))
}

/// In the order of arrival, in the room with fruit.
fn recent(name: &str, term: &str, limit: u32) -> Row {
    let filter = json!({"rooms": ["<fruit>"], "limit": limit});
    search(name, &json!({"search_term": term, "order_by": "recent", "filter": filter}))
}

pub fn rows() -> Vec<Row> {
    [found(), pages(), filters(), parts(), nothing(), bad()].into_iter().flatten().collect()
}

const FIRST: &str = "/search_categories/room_events/results/0";

fn found() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, term) in [
        ("one", "plum"),
        ("many", "mango"),
        ("two words", "plum pudding"),
        ("either", "plum or mango"),
        ("without", "pear -another"),
        ("a phrase", "\"another pear\""),
        ("the stem of a word", "runs"),
        ("not ASCII", "Übergröße"),
        ("Chinese", "苹果"),
        ("what was redacted", "pear eaten"),
        ("in capitals", "PUDDING"),
    ] {
        for order in ["rank", "recent"] {
            let row = search(&format!("{name} by {order}"), &json!({"search_term": term, "order_by": order}));
            rows.push(if term.contains("eaten") { row } else { row.has(FIRST) });
        }
    }
    rows.push(search("by rank unless told otherwise", &json!({"search_term": "mango"})).has(FIRST));
    rows.push(search("a topic", &json!({"search_term": "pear", "keys": ["content.topic"]})).has(FIRST));
    rows.push(search("a name", &json!({"search_term": "general", "keys": ["content.name"]})).has(FIRST));
    rows.push(search("unknown keys", &json!({"search_term": "pear", "keys": ["content.url"]})));
    for order in ["rank", "recent"] {
        let events = json!({"search_term": "nobody reads this", "order_by": order, "event_context": {}});
        rows.push(
            search(&format!("older than the room keeps by {order}"), &events).has("/search_categories/room_events"),
        );
    }
    for user in ["alice", "carol", "mallory", "heidi", "root"] {
        rows.push(search(&format!("pears of {user}"), &json!({"search_term": "pear", "order_by": "recent"})).by(user));
    }
    rows.push(search("puppet", &json!({"search_term": "hello"})).by("bridge").query("user_id", "<@puppet>"));
    rows.push(search("api v1", &json!({"search_term": "plum"})).at("/_matrix/client/api/v1/search").has(FIRST));
    rows
}

fn pages() -> Vec<Row> {
    let next = "/search_categories/room_events/next_batch";
    let group = "/search_categories/room_events/groups/room_id/<fruit>/next_batch";
    let grouped = json!({"search_term": "mango", "order_by": "recent", "filter": {"limit": 4},
        "groupings": {"group_by": [{"key": "room_id"}]}});
    let ranked = json!({"search_term": "mango", "filter": {"limit": 4}});
    vec![
        recent("first page", "mango", 10).keep("search:1", next),
        recent("second page", "mango", 10).query("next_batch", "<search:1>").keep("search:2", next),
        recent("third page", "mango", 10).query("next_batch", "<search:2>").has(FIRST),
        recent("a page of just all", "mango", 25).has(next),
        search("first page of a group", &grouped).keep("search:group", group),
        search("second page of a group", &grouped).query("next_batch", "<search:group>").has(group),
        search("pages have no rank", &ranked).query("next_batch", "<search:1>").has(FIRST),
        recent("another room's page", "mango", 10).query("next_batch", "cm9vbV9pZAohbm9uZQoxLDI"),
        recent("before everything", "mango", 10).query("next_batch", "YWxsCgoxLDE"),
        recent("empty batch", "mango", 3).query("next_batch", "").has(FIRST),
        recent("bad batch", "mango", 3).query("next_batch", "x").status(400),
        recent("batch of two lines", "mango", 3).query("next_batch", "YWxsCg").status(400),
        recent("bad token of a batch", "mango", 3).query("next_batch", "YWxsCgp4").status(400),
        recent("batch not ASCII", "mango", 3).query("next_batch", "ä").status(400),
    ]
}

fn filters() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, filter) in [
        ("rooms", json!({"rooms": ["<fruit>"]})),
        ("an old room alone", json!({"rooms": ["<old fruit>"]})),
        ("not rooms", json!({"not_rooms": ["<fruit>"]})),
        ("no rooms", json!({"rooms": []})),
        ("a room of others", json!({"rooms": ["<not ours>"]})),
        ("a room that was left", json!({"rooms": ["<left>"]})),
        ("senders", json!({"senders": ["<@alice>"]})),
        ("not senders", json!({"not_senders": ["<@alice>"]})),
        ("types", json!({"types": ["m.room.topic"]})),
        ("not types", json!({"not_types": ["m.room.*"]})),
        ("url", json!({"contains_url": true})),
        ("limit 0", json!({"limit": 0})),
        ("limit 1", json!({"limit": 1})),
        ("unknown keys", json!({"nonsense": 1})),
    ] {
        rows.push(search(&format!("filter, {name}"), &json!({"search_term": "pear", "filter": filter})));
        if name != "limit 0" {
            let body = json!({"search_term": "pear", "order_by": "recent", "filter": filter});
            rows.push(search(&format!("recent, filter, {name}"), &body));
        }
    }
    let unknown = json!({"search_term": "pear", "filter": {"rooms": ["!unknown:myelin.test"]}});
    rows.push(search("filter, an unknown room", &unknown).status(404));
    rows
}

fn parts() -> Vec<Row> {
    let context =
        |context: &Value| json!({"search_term": "plum", "event_context": context, "filter": {"rooms": ["<fruit>"]}});
    let profiles = json!({"before_limit": 2, "after_limit": 3, "include_profile": true});
    let groups = |keys: &[&str], order: &str| {
        let keys: Vec<Value> = keys.iter().map(|key| json!({"key": key})).collect();
        json!({"search_term": "pear", "order_by": order, "groupings": {"group_by": keys}})
    };
    vec![
        search("context", &context(&json!({}))).has("/search_categories/room_events/results/0/context/start"),
        search("context of many", &json!({"search_term": "mango", "event_context": {}, "filter": {"limit": 25}})),
        search("context with profiles", &context(&profiles)),
        search("context of nothing", &context(&json!({"before_limit": 0, "after_limit": 0}))),
        search("context null", &context(&json!(null))),
        search("context of one who left", &json!({"search_term": "pear", "event_context": {}})).by("carol"),
        search("state", &json!({"search_term": "plum", "include_state": true}))
            .has("/search_categories/room_events/state"),
        search("groups", &groups(&["room_id", "sender"], "rank")).has("/search_categories/room_events/groups/sender"),
        search("groups by room", &groups(&["room_id"], "rank")),
        search("groups, recent", &groups(&["room_id", "sender"], "recent")),
        search("no groups", &groups(&[], "recent")),
    ]
}

fn nothing() -> Vec<Row> {
    vec![
        search("nothing found", &json!({"search_term": "zebra"})).has("/search_categories/room_events/count"),
        search("nothing found, recent", &json!({"search_term": "zebra", "order_by": "recent"})),
        search("empty", &json!({"search_term": ""})),
        search("only stop words", &json!({"search_term": "the and"})),
        search("punctuation", &json!({"search_term": "&|!():*'\\"})),
        search("of others alone", &json!({"search_term": "alone"})).by("bob"),
        search("in no room", &json!({"search_term": "pear"})).by("watcher"),
    ]
}

fn bad() -> Vec<Row> {
    vec![
        search("nobody", &json!({"search_term": "x"})).token("nonsense").status(401),
        search("guest", &json!({"search_term": "x"})).by("guest").status(403),
        raw("no categories", &json!({})).status(400),
        raw("no events", &json!({"search_categories": {}})).status(400),
        search("no term", &json!({})).status(400),
        search("odd order", &json!({"search_term": "x", "order_by": "size"})).status(400),
        search("odd order, a number", &json!({"search_term": "x", "order_by": 1})).status(400),
        search("odd group", &json!({"search_term": "x", "groupings": {"group_by": [{"key": "x"}]}})).status(400),
        search("group without a key", &json!({"search_term": "x", "groupings": {"group_by": [{}]}})).status(400),
        search("odd term", &json!({"search_term": 1})).passed_on().status(0),
        search("odd filter", &json!({"search_term": "x", "filter": null})).passed_on().status(500),
        search("odd keys", &json!({"search_term": "x", "keys": []})).passed_on().status(500),
        post("search/no JSON", PATH).by("bob").body(b"{").status(400),
        post("search/no object", PATH).by("bob").body(b"[]").status(400),
        post("search/no body", PATH).by("bob").status(400),
    ]
}
