//! What other servers read of rooms: each route, asked by each server about each kind of event.

use serde_json::{Value, json};

use crate::row::{Row, get, post};
use crate::seed::remote::{EVENTS, ROOMS};

const F: &str = "/_matrix/federation/v1";
/// Servers whose users are in the rooms, and those of whom nobody is, any more or at all.
const INSIDE: [&str; 3] = ["other.test", "third.test", "myelin.test"];
const OUTSIDE: [&str; 3] = ["left.test", "banned.test", "acl.test"];

pub fn rows() -> Vec<Row> {
    [events(), walks(), refused(), odd(), others()].into_iter().flatten().collect()
}

fn event(name: &str, room: &str, id: &str) -> Row {
    get(&format!("fed_event/{name}"), &format!("{F}/event/<{room}:{id}>"))
}

fn state(name: &str, room: &str, id: &str) -> Row {
    get(&format!("fed_state/{name}"), &format!("{F}/state/<{room}>")).query("event_id", &format!("<{room}:{id}>"))
}

fn state_ids(name: &str, room: &str, id: &str) -> Row {
    get(&format!("fed_state_ids/{name}"), &format!("{F}/state_ids/<{room}>"))
        .query("event_id", &format!("<{room}:{id}>"))
}

fn event_auth(name: &str, room: &str, id: &str) -> Row {
    get(&format!("fed_event_auth/{name}"), &format!("{F}/event_auth/<{room}>/<{room}:{id}>"))
}

fn backfill(name: &str, room: &str, id: &str, limit: &str) -> Row {
    get(&format!("fed_backfill/{name}"), &format!("{F}/backfill/<{room}>"))
        .query("limit", limit)
        .query("v", &format!("<{room}:{id}>"))
}

fn missing(name: &str, room: &str, body: &Value) -> Row {
    post(&format!("fed_missing/{name}"), &format!("{F}/get_missing_events/<{room}>")).json(body)
}

/// `<room:event>` is filled in in bodies, too.
fn between(room: &str, earliest: &str, latest: &str, limit: i64) -> Value {
    json!({"earliest_events": [format!("<{room}:{earliest}>")], "latest_events": [format!("<{room}:{latest}>")],
        "limit": limit})
}

/// Every event, as every server sees it.
fn events() -> Vec<Row> {
    let mut rows = Vec::new();
    for (room, ..) in ROOMS {
        for id in EVENTS {
            let name = |server: &str| format!("{room}, {id}, {server}");
            for server in INSIDE {
                rows.push(event(&name(server), room, id).signed(server).has("/pdus/0/hashes"));
            }
            let name = name("other.test");
            rows.push(state_ids(&name, room, id).signed("other.test").has("/pdu_ids/0"));
            rows.push(state(&name, room, id).signed("other.test").has("/pdus/0"));
            rows.push(event_auth(&name, room, id).signed("other.test").has("/auth_chain/0"));
        }
        for id in ["rejected", "soft-failed"] {
            rows.push(event(&format!("{room}, {id}"), room, id).signed("other.test").has("/pdus/0/hashes"));
            let status = if id == "rejected" { 404 } else { 200 };
            let name = format!("{room}, {id}");
            rows.push(state_ids(&name, room, id).signed("third.test").status(status));
            rows.push(state(&name, room, id).signed("third.test").status(status));
            rows.push(event_auth(&name, room, id).signed("third.test").status(status));
        }
    }
    rows
}

/// Walks through the graph: all of it, parts, and from forks.
fn walks() -> Vec<Row> {
    let mut rows = Vec::new();
    for (room, ..) in ROOMS {
        for server in INSIDE {
            for limit in ["1", "3", "8", "100", "1000"] {
                rows.push(
                    backfill(&format!("{room}, {limit}, {server}"), room, "end", limit).signed(server).has("/pdus/0"),
                );
            }
            for (earliest, latest, limit) in
                [("merged", "end", 10), ("before", "end", 20), ("before", "end", 1000), ("other topic", "merged", 10)]
            {
                let name = format!("{room}, {earliest} to {latest}, {limit}, {server}");
                rows.push(
                    missing(&name, room, &between(room, earliest, latest, limit)).signed(server).has("/events/0"),
                );
            }
        }
        for id in ["forked", "merged", "rejected", "soft-failed", "before", "with other"] {
            rows.push(backfill(&format!("{room}, from {id}"), room, id, "50").signed("third.test"));
            let body = json!({"latest_events": [format!("<{room}:{id}>")]});
            rows.push(missing(&format!("{room}, from {id}"), room, &body).signed("third.test"));
        }
        let two =
            backfill(&format!("{room}, from two"), room, "forked", "50").query("v", &format!("<{room}:other topic>"));
        rows.push(two.signed("third.test"));
    }
    rows
}

/// Those who are not in the room, or may not be there.
fn refused() -> Vec<Row> {
    let mut rows = Vec::new();
    for (room, ..) in ROOMS {
        for server in OUTSIDE {
            let name = format!("{room}, {server}");
            // An event is not asked for by its room: its ACL does not matter.
            let seen = if server == "acl.test" { 200 } else { 403 };
            rows.extend([
                event(&name, room, "before").signed(server).status(seen),
                state(&name, room, "end").signed(server).status(403),
                state_ids(&name, room, "end").signed(server).status(403),
                event_auth(&name, room, "end").signed(server).status(403),
                backfill(&name, room, "end", "5").signed(server).status(403),
                missing(&name, room, &between(room, "before", "end", 5)).signed(server).status(403),
                timestamp(&name, room).query("ts", "0").query("dir", "f").signed(server).status(403),
            ]);
        }
    }
    // Never was there; and what nobody knows.
    for (room, id) in [("not ours", "first"), ("general", "first")] {
        let name = format!("{room}, never there");
        rows.extend([
            event(&name, room, id).signed("other.test").status(403),
            state(&name, room, id).signed("other.test").status(403),
            state_ids(&name, room, id).signed("other.test").status(403),
            event_auth(&name, room, id).signed("other.test").status(403),
            backfill(&name, room, id, "5").signed("other.test").status(403),
            missing(&name, room, &json!({})).signed("other.test").status(403),
        ]);
    }
    let unknown = format!("{F}/state/%21unknown%3Aother.test?event_id=%24x");
    rows.push(get("fed_state/unknown room", &unknown).signed("other.test").status(403));
    rows.push(get("fed_event/unknown", &format!("{F}/event/%24unknown")).signed("other.test").status(404));
    rows.push(
        get("fed_event/unknown, with a slash", &format!("{F}/event/%24unknown/")).signed("other.test").status(404),
    );
    rows.push(get("fed_event/unsigned", &format!("{F}/event/<fed shared:end>")).status(401));
    rows
}

/// Parameters and bodies that are not as they should be.
fn odd() -> Vec<Row> {
    let room = "fed shared";
    let by = |row: Row| row.signed("other.test");
    let bare = |name: &str, route: &str| by(get(&format!("fed_{route}/{name}"), &format!("{F}/{route}/<{room}>")));
    let odd_missing = |name: &str, body: Value| by(missing(name, room, &body));
    let of_another = |room: &str| format!("<{room}:end>");
    vec![
        bare("no event", "state").status(400),
        bare("no event", "state_ids").status(400),
        bare("empty event", "state").query("event_id", "").status(404),
        bare("empty event", "state_ids").query("event_id", "").status(500),
        bare("unknown event", "state").query("event_id", "$x").status(404),
        bare("unknown event", "state_ids").query("event_id", "$x").status(404),
        bare("an event of another room", "state").query("event_id", &of_another("fed world")).status(404),
        bare("an event of another room", "state_ids").query("event_id", &of_another("fed world")).status(404),
        by(get("fed_event_auth/an event of another room", &format!("{F}/event_auth/<{room}>/<fed world:end>")))
            .status(404),
        by(get("fed_event_auth/unknown event", &format!("{F}/event_auth/<{room}>/%24x"))).status(404),
        bare("nothing", "backfill").status(500),
        bare("no limit", "backfill").query("v", "<fed shared:end>").status(400),
        bare("limit 0", "backfill").query("v", "<fed shared:end>").query("limit", "0").status(400),
        bare("limit -1", "backfill").query("v", "<fed shared:end>").query("limit", "-1").status(400),
        bare("limit x", "backfill").query("v", "<fed shared:end>").query("limit", "x").status(400),
        bare("limit beyond all numbers", "backfill")
            .query("v", "<fed shared:end>")
            .query("limit", "99999999999999999999"),
        bare("no versions", "backfill").query("limit", "5").status(500),
        bare("a version not in ASCII", "backfill").query("v", "é").query("limit", "5").status(500),
        bare("unknown version", "backfill").query("v", "$x").query("limit", "5"),
        bare("an event of another room", "backfill").query("v", &of_another("fed world")).query("limit", "5"),
        odd_missing("nothing", json!({})),
        odd_missing("limit -1", json!({"latest_events": ["<fed shared:end>"], "limit": -1})),
        odd_missing("limit 0", json!({"latest_events": ["<fed shared:end>"], "limit": 0})),
        odd_missing("a million", json!({"latest_events": ["<fed shared:end>"], "limit": 1_000_000})),
        odd_missing("unknown", json!({"latest_events": ["$x"], "earliest_events": ["$y"]})),
        odd_missing("of another room", json!({"latest_events": ["<fed world:end>"]})),
        odd_missing(
            "the same",
            json!({"latest_events": ["<fed shared:end>"], "earliest_events": ["<fed shared:end>"]}),
        ),
        odd_missing("limit as a text", json!({"latest_events": ["<fed shared:end>"], "limit": "5"})).passed_on(),
        odd_missing("a number as an event", json!({"latest_events": [1]})).status(500).passed_on(),
        by(post("fed_missing/no object", &format!("{F}/get_missing_events/<{room}>")).body(b"[]")).status(0),
    ]
}

fn timestamp(name: &str, room: &str) -> Row {
    get(&format!("fed_timestamp/{name}"), &format!("{F}/timestamp_to_event/<{room}>"))
}

fn others() -> Vec<Row> {
    let far = "9999999999999";
    let lookup = |name: &str| timestamp(name, "fed shared").signed("other.test");
    let complexity = |name: &str, room: &str| {
        let path = format!("/_matrix/federation/unstable/rooms/<{room}>/complexity");
        get(&format!("fed_complexity/{name}"), &path).signed("other.test")
    };
    let extremities = "/_matrix/federation/unstable/org.matrix.msc4370/extremities/<fed shared>";
    vec![
        lookup("the first").query("ts", "0").query("dir", "f").has("/event_id"),
        lookup("the last").query("ts", far).query("dir", "b").has("/event_id"),
        lookup("after the last").query("ts", far).query("dir", "f").status(404),
        lookup("before the first").query("ts", "0").query("dir", "b").status(404),
        lookup("beyond 64 bits").query("ts", "99999999999999999999").query("dir", "f").status(404).passed_on(),
        lookup("no time").query("dir", "b").status(400),
        lookup("no direction").query("ts", "0").status(400),
        lookup("dir x").query("ts", "0").query("dir", "x").status(400),
        complexity("public", "general").has("/v1"),
        complexity("of ours", "fed joined").has("/v1"),
        complexity("private", "not ours").status(404),
        get("fed_complexity/unknown", "/_matrix/federation/unstable/rooms/%21x/complexity")
            .signed("other.test")
            .status(404),
        get("fed_extremities/not enabled", extremities).signed("other.test").status(404),
        get("fed_extremities/not enabled, unsigned", extremities).status(404),
        // Written by others: the template is made, and the signature still holds, where it is passed on to.
        get("fed_make/join", &format!("{F}/make_join/<fed shared>/%40v%3Aother.test?ver=10")).signed("other.test"),
        get("fed_make/join, other version", &format!("{F}/make_join/<fed shared>/%40v%3Aother.test?ver=1"))
            .signed("other.test")
            .status(400),
        get("fed_make/leave", &format!("{F}/make_leave/<fed shared>/%40u%3Aother.test")).signed("other.test"),
        get("fed_make/knock", &format!("{F}/make_knock/<knock>/%40u%3Aother.test?ver=11")).signed("other.test"),
        get("fed_make/join, unsigned", &format!("{F}/make_join/<fed shared>/%40v%3Aother.test?ver=10")).status(401),
    ]
}
