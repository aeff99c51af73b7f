//! `GET /rooms/{room_id}/context/{event_id}`.

use serde_json::json;

use crate::row::{Row, get};

fn context(name: &str, room: &str, event: &str) -> Row {
    get(&format!("context/{name}"), &format!("/_matrix/client/v3/rooms/<{room}>/context/<{room}:{event}>"))
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        context("message", "busy", "m30").by("bob").has("/events_before/4").has("/events_after/4").has("/state/5"),
        context("limit 0", "busy", "m30").by("bob").query("limit", "0").has("/start"),
        context("limit 1", "busy", "m30").by("bob").query("limit", "1").has("/events_after/0"),
        context("limit 3", "busy", "m30").by("bob").query("limit", "3").has("/events_before/0"),
        context("limit 1000", "busy", "m30").by("bob").query("limit", "1000").has("/events_before/20"),
        context("negative limit", "busy", "m30").by("bob").query("limit", "-1").status(400),
        context("odd limit", "busy", "m30").by("bob").query("limit", "x").status(400),
        context("a huge limit", "busy", "m30").by("bob").query("limit", "20000").passed_on(),
        context("own message", "general", "first").by("alice"),
        context("other device", "general", "first").by("alice2"),
        context("state", "general", "name").by("bob"),
        context("older than the room keeps", "forgetful", "gone").by("bob").status(403),
        context("state beside what is older", "forgetful", "retention").by("bob").query("limit", "30").has("/end"),
    ];
    rows.extend(who_asks());
    let filters = [
        ("types", json!({"types": ["m.room.message"]})),
        ("not_types", json!({"not_types": ["m.room.message"]})),
        ("senders", json!({"senders": ["<@alice>"]})),
        ("lazy", json!({"lazy_load_members": true})),
        ("lazy, redundant", json!({"lazy_load_members": true, "include_redundant_members": true})),
        ("lazy types", json!({"lazy_load_members": true, "types": ["m.room.message"]})),
        ("nothing", json!({"types": []})),
        ("empty", json!({})),
        ("federation", json!({"event_format": "federation"})),
        ("related", json!({"related_by_rel_types": ["m.thread"]})),
    ];
    for (name, filter) in filters {
        for (room, event) in [("busy", "m30"), ("threads", "edited"), ("general", "of erin")] {
            let row = context(&format!("filter {name} in {room}"), room, event).by("bob");
            rows.push(row.query("filter", &filter.to_string()));
        }
    }
    rows.push(context("filter nonsense", "busy", "m30").by("bob").query("filter", "{x").status(400));
    for name in ["root", "reply 1", "edited", "edit 1", "reacted", "redacted", "redaction of redacted", "doomed state"]
    {
        for user in ["alice", "bob", "carol"] {
            rows.push(context(&format!("{name} by {user}"), "threads", name).by(user).query("limit", "30"));
        }
    }
    for version in ["v6", "v10", "v12"] {
        rows.push(context(&format!("version {version}"), version, "first").by("alice").query("limit", "50"));
    }
    for room in ["world_readable", "shared", "invited", "joined"] {
        for name in ["before", "invited", "joined", "left"] {
            for user in ["bob", "carol", "heidi", "guest"] {
                let row = context(&format!("{room}, {name}, {user}"), room, name).by(user);
                rows.push(Row { status: 0, ..row.query("limit", "30") });
            }
        }
    }
    rows
}

/// Members, strangers, and what each may see.
fn who_asks() -> Vec<Row> {
    vec![
        context("guest", "general", "first").by("guest"),
        context("puppet", "general", "first").by("bridge").query("user_id", "<@puppet>"),
        context("of an ignored user", "general", "of mallory").by("bob").status(403),
        context("left before", "general", "last").by("erin").status(403),
        context("left after", "general", "of erin").by("erin"),
        context("banned", "general", "news").by("dave").status(403),
        context("not a member", "not ours", "first").by("bob").status(403),
        context("only invited", "open invite", "first").by("bob").status(403),
        context("after leaving", "left", "after").by("bob").status(403),
        context("while there", "left", "of bob").by("bob"),
        context("of an erased user", "with nina", "of nina").by("bob"),
        context("world readable to a stranger", "world_readable", "joined").by("heidi"),
        context("world readable to a guest", "world_readable", "joined").by("guest"),
        context("admin", "unnamed", "first").by("root").status(403),
        context("nobody", "general", "first").status(401),
        get("context/of another room", "/_matrix/client/v3/rooms/<busy>/context/<general:first>").by("bob").status(404),
        get("context/of a foreign room", "/_matrix/client/v3/rooms/<busy>/context/<not ours:first>")
            .by("bob")
            .status(403),
        get("context/unknown", "/_matrix/client/v3/rooms/<general>/context/$unknown").by("bob").status(404),
        get("context/empty", "/_matrix/client/v3/rooms/<general>/context/").by("bob").status(404),
        get("context/unknown room", "/_matrix/client/v3/rooms/!no:myelin.test/context/$x").by("bob").status(404),
        get("context/api v1", "/_matrix/client/api/v1/rooms/<general>/context/<general:first>").by("bob"),
    ]
}
