//! `GET /sync`: initial and incremental, every filter, and what is wrong with a request.

use serde_json::{Value, json};

use crate::row::{Row, get};

const PATH: &str = "/_matrix/client/v3/sync";
const SINCES: [&str; 5] = ["nothing", "rooms", "talk", "changes", "end"];

/// The asker does not come online by asking, so that both workers see the same presence.
fn sync(name: &str, by: &str) -> Row {
    get(&format!("sync/{name}"), PATH).by(by).query("set_presence", "offline")
}

fn since(row: Row, since: &str) -> Row {
    row.query("since", &format!("<since:{since}>"))
}

pub fn rows() -> Vec<Row> {
    let areas = [wrong(), users(), filters(), parameters(), chains(), to_device(), profiles()];
    areas.into_iter().flatten().collect()
}

fn wrong() -> Vec<Row> {
    let bad = |name: &str, value: &str| sync(&format!("{name}={value}"), "bob").query(name, value).status(400);
    let mut rows = vec![
        get("sync/nobody", PATH).status(401),
        get("sync/bad token", PATH).token("nonsense").status(401),
        get("sync/locked", PATH).by("locked").status(401),
        get("sync/deactivated", PATH).by("nina").status(401),
        get("sync/api v1", "/_matrix/client/api/v1/sync").by("bob").status(404),
        get("sync/set_presence", PATH).by("bob").query("set_presence", "zz").status(400),
        bad("from", "x"),
        bad("timeout", "abc"),
        bad("timeout", "-5"),
        bad("timeout", ""),
        bad("timeout", "1.5"),
        bad("full_state", "1"),
        bad("full_state", "True"),
        bad("filter", "{x"),
        bad("filter", "99"),
        bad("filter", "abc"),
        bad("filter", "{\"room\":1}"),
        bad("filter", "{\"room\":{\"timeline\":{\"limit\":\"x\"}}}"),
        bad("filter", "[]"),
        bad("org.matrix.msc4222.use_state_after", "1"),
        sync("future", "watcher").query("since", "s999999_0_0_0").query("timeout", "0"),
        sync("empty since", "watcher").query("since", "").status(400),
    ];
    // Tokens with more than 14 fields are not among them: Python refuses what Myelin carries (`StreamToken::newer`).
    let tokens = [
        "zzz",
        "s",
        "s1",
        "1_1",
        "sx_1_1_1_1_1_1_1_1_1_1_1_1_1",
        "s1_x",
        "t1_1",
        "m1~1_1",
        "m5~1.6_0",
        "s1__1",
        "s-1_0",
        "s1_1_1_m1",
        "s1_1_1_1_1_1_1_m",
        "s1 _1",
    ];
    for token in tokens {
        // Short tokens of older servers are right, and answered.
        let status = if ["s1", "s-1_0", "s1_1_1_m1", "s1 _1"].contains(&token) { 200 } else { 400 };
        rows.push(sync(&format!("since={token}"), "watcher").query("since", token).status(status));
    }
    rows
}

/// Everybody, from the beginning and from each moment.
fn users() -> Vec<Row> {
    let mut rows = Vec::new();
    for user in [
        "bob", "alice", "carol", "erin", "dave", "frank", "grace", "guest", "puppet", "watcher", "judy", "ivan",
        "mallory", "root", "heidi",
    ] {
        rows.push(sync(&format!("initial by {user}"), user));
        for from in SINCES {
            rows.push(since(sync(&format!("from {from} by {user}"), user), from));
        }
    }
    rows.push(sync("bridge", "bridge").status(500));
    rows.push(sync("puppet through the bridge", "bridge").query("user_id", "<@puppet>"));
    rows.push(get("sync/r0", "/_matrix/client/r0/sync").by("bob").query("set_presence", "offline"));
    rows
}

/// Filters that each leave something out or change a form.
fn wanted() -> Vec<(&'static str, Value)> {
    let room = |filter: Value| json!({ "room": filter });
    vec![
        ("lazy", room(json!({"state": {"lazy_load_members": true}}))),
        ("lazy redundant", room(json!({"state": {"lazy_load_members": true, "include_redundant_members": true}}))),
        ("lazy, small", room(json!({"state": {"lazy_load_members": true}, "timeline": {"limit": 1}}))),
        ("limit 1", room(json!({"timeline": {"limit": 1}}))),
        ("limit 0", room(json!({"timeline": {"limit": 0}}))),
        ("limit 50", room(json!({"timeline": {"limit": 50}}))),
        ("messages only", room(json!({"timeline": {"types": ["m.room.message"], "limit": 5}}))),
        ("no messages", room(json!({"timeline": {"not_types": ["m.room.message"]}}))),
        ("wildcard", room(json!({"timeline": {"types": ["m.room.*"], "not_types": ["m.room.mem*"]}}))),
        ("no timeline", room(json!({"timeline": {"types": []}}))),
        ("senders", room(json!({"timeline": {"senders": ["@alice:myelin.test"]}}))),
        ("not senders", room(json!({"timeline": {"not_senders": ["@alice:myelin.test"]}}))),
        ("no url", room(json!({"timeline": {"contains_url": false}}))),
        ("url", room(json!({"timeline": {"contains_url": true}}))),
        ("state types", room(json!({"state": {"types": ["m.room.name", "m.room.member"]}}))),
        ("no state", room(json!({"state": {"types": []}}))),
        ("not state of alice", room(json!({"state": {"not_senders": ["@alice:myelin.test"]}}))),
        ("one room", room(json!({"rooms": ["<general>"]}))),
        ("what a room no longer keeps", room(json!({"rooms": ["<forgetful>"], "timeline": {"limit": 50}}))),
        ("not one room", room(json!({"not_rooms": ["<general>", "<busy>"]}))),
        ("no rooms", room(json!({"rooms": []}))),
        ("timeline of one room", room(json!({"timeline": {"rooms": ["<general>"]}}))),
        ("ephemeral types", room(json!({"ephemeral": {"types": ["m.receipt"]}}))),
        ("no ephemeral", room(json!({"ephemeral": {"not_types": ["*"]}}))),
        ("no room account data", room(json!({"account_data": {"types": []}}))),
        ("only tags", room(json!({"account_data": {"types": ["m.tag"]}}))),
        ("leave", room(json!({"include_leave": true}))),
        ("leave, lazy", room(json!({"include_leave": true, "state": {"lazy_load_members": true}}))),
        ("threads", room(json!({"timeline": {"unread_thread_notifications": true}}))),
        ("related", room(json!({"timeline": {"related_by_senders": ["@bob:myelin.test"]}}))),
        ("related by type", room(json!({"timeline": {"related_by_rel_types": ["m.thread"]}}))),
        ("labels", room(json!({"timeline": {"org.matrix.labels": ["#fun"]}}))),
        ("fields", json!({"event_fields": ["type", "content.body", "sender"]})),
        ("nested fields", json!({"event_fields": ["content.m\\.relates_to.rel_type", "unsigned.age", "room_id"]})),
        ("federation format", json!({"event_format": "federation"})),
        ("client format", json!({"event_format": "client", "unknown": 1})),
        ("no presence", json!({"presence": {"types": []}})),
        ("presence of bob", json!({"presence": {"senders": ["@bob:myelin.test"]}})),
        ("no account data", json!({"account_data": {"types": []}})),
        ("some account data", json!({"account_data": {"types": ["m.push_rules", "my.*"]}})),
        ("nothing", json!({"room": {"rooms": []}, "presence": {"types": []}, "account_data": {"types": []}})),
    ]
}

fn filters() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, filter) in wanted() {
        let filter = filter.to_string();
        rows.push(sync(&format!("{name}, initial"), "bob").query("filter", &filter));
        for from in ["rooms", "talk", "changes"] {
            rows.push(since(sync(&format!("{name}, from {from}"), "bob").query("filter", &filter), from));
        }
    }
    for (name, id) in [("small", "filter:small"), ("empty", "filter:empty"), ("huge", "filter:huge")] {
        rows.push(sync(&format!("stored {name}"), "bob").query("filter", &format!("<{id}>")));
    }
    rows
}

fn parameters() -> Vec<Row> {
    let state_after = "org.matrix.msc4222.use_state_after";
    // One room: of a user in several, a worker remembers one membership, by the order in which it finished the rooms.
    let lazy =
        json!({"room": {"rooms": ["<general>"], "state": {"lazy_load_members": true}, "timeline": {"limit": 2}}});
    let lazy = lazy.to_string();
    let mut rows = vec![
        sync("state_after, initial", "bob").query(state_after, "true"),
        sync("state_after, initial, lazy", "bob").query(state_after, "true").query("filter", &lazy),
        sync("full_state, initial", "bob").query("full_state", "true"),
        sync("timeout without news, full_state", "bob").query("full_state", "true").query("timeout", "30000"),
    ];
    for from in SINCES {
        rows.push(since(sync(&format!("full_state, from {from}"), "bob").query("full_state", "true"), from));
        rows.push(since(sync(&format!("state_after, from {from}"), "bob").query(state_after, "true"), from));
        let row = sync(&format!("state_after, lazy, from {from}"), "bob").query(state_after, "true");
        rows.push(since(row.query("filter", &lazy), from));
        let row = sync(&format!("full_state, lazy, from {from}"), "bob").query("full_state", "true");
        rows.push(since(row.query("filter", &lazy), from));
    }
    for from in ["nothing", "rooms", "talk", "changes"] {
        rows.push(since(sync(&format!("timeout with news, from {from}"), "bob").query("timeout", "30000"), from));
    }
    rows
}

/// Each takes the token of the one before, so that what a worker remembers of a device counts.
fn chains() -> Vec<Row> {
    let lazy = json!({"room": {"state": {"lazy_load_members": true}, "timeline": {"limit": 2}}}).to_string();
    let mut rows = Vec::new();
    for user in ["bob", "carol"] {
        let step = |number: u32, row: Row| row.keep(&format!("chain:{user}{number}"), "/next_batch");
        let lazily = |name: &str| sync(&format!("chain of {user}: {name}"), user).query("filter", &lazy);
        rows.push(step(0, lazily("initial")));
        rows.push(step(1, lazily("again").query("since", &format!("<chain:{user}0>"))));
        rows.push(step(2, since(lazily("back to rooms"), "rooms")));
        rows.push(step(3, since(lazily("on to talk"), "talk")));
        rows.push(step(4, since(lazily("on to changes"), "changes")));
        rows.push(step(5, lazily("to the end").query("since", &format!("<chain:{user}4>"))));
    }
    rows
}

/// Profiles of others, as the filter asks for them.
fn profiles() -> Vec<Row> {
    let fields = |ids: Value| json!({"org.matrix.msc4429.profile_fields": {"ids": ids}});
    let mut rows = Vec::new();
    for (name, ids) in
        [("names", json!(["displayname"])), ("more", json!(["avatar_url", "my.field"])), ("no", json!([]))]
    {
        let mut lazy = fields(ids.clone());
        lazy["room"] = json!({"state": {"lazy_load_members": true}, "timeline": {"limit": 3}});
        for user in ["bob", "heidi"] {
            for (how, filter) in [("", fields(ids.clone())), (", lazy", lazy.clone())] {
                let filter = filter.to_string();
                rows.push(sync(&format!("{name} profiles{how}, initial by {user}"), user).query("filter", &filter));
                for from in SINCES {
                    let name = format!("{name} profiles{how}, from {from} by {user}");
                    rows.push(since(sync(&name, user).query("filter", &filter), from));
                }
            }
        }
    }
    let bad = json!({"org.matrix.msc4429.profile_fields": {"ids": [1]}}).to_string();
    rows.push(sync("profile fields that are none", "bob").query("filter", &bad).status(400));
    rows
}

/// What was acknowledged is gone, whoever deleted it.
fn to_device() -> Vec<Row> {
    vec![
        sync("to-device, initial", "bob2").has("/to_device/events/0").keep("inbox:bob2", "/next_batch"),
        sync("to-device, again", "bob2").has("/to_device/events/0"),
        sync("to-device, acknowledged to Myelin", "bob2").query("since", "<inbox:bob2>").myelin_first(),
        sync("to-device, gone", "bob2"),
    ]
}
