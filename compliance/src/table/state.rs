//! `GET /rooms/{room_id}/state` and `/state/{type}[/{key}]`.

use crate::row::{Row, get};

fn state(name: &str, room: &str) -> Row {
    get(&format!("state/{name}"), &format!("/_matrix/client/v3/rooms/<{room}>/state"))
}

fn one(name: &str, room: &str, key: &str) -> Row {
    get(&format!("state_event/{name}"), &format!("/_matrix/client/v3/rooms/<{room}>/state/{key}"))
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        state("all", "general").by("bob").has("/8"),
        state("guest", "general").by("guest"),
        state("puppet", "general").by("bridge").query("user_id", "<@puppet>"),
        state("redacted", "threads").by("bob"),
        state("upgraded", "old").by("bob"),
        state("restricted", "restricted").by("bob"),
        state("space", "space").by("alice"),
        state("knock", "knock").by("alice"),
        state("deserted", "deserted").by("bob"),
        state("after leaving", "left").by("bob"),
        state("after a kick", "kicked").by("bob"),
        state("after a ban", "general").by("dave").status(403),
        state("rejected", "rejected").by("bob"),
        state("forgotten", "forgotten").by("bob").status(403),
        state("invited", "open invite").by("bob").status(403),
        state("knocked", "knock").by("bob").status(403),
        state("world readable", "world_readable").by("heidi"),
        state("world readable to a guest", "world_readable").by("guest"),
        state("not a member", "not ours").by("bob").status(403),
        state("nobody", "general").status(401),
        get("state/unknown room", "/_matrix/client/v3/rooms/!no:myelin.test/state").by("bob").status(403),
    ];
    for version in ["v6", "v10", "v12"] {
        rows.push(state(&format!("version {version}"), version).by("alice"));
    }
    rows.extend(single());
    rows
}

fn single() -> Vec<Row> {
    let mut rows = vec![
        one("name", "general", "m.room.name").by("bob"),
        one("name, slash", "general", "m.room.name/").by("bob"),
        one("member", "general", "m.room.member/<@carol>").by("bob"),
        one("member unencoded", "general", "m.room.member/@bob:myelin.test").by("bob"),
        one("banned member", "general", "m.room.member/<@dave>").by("bob"),
        one("key", "general", "my.state/a").by("bob"),
        one("redacted", "threads", "my.state/key").by("bob"),
        one("guest", "general", "m.room.name").by("guest"),
        one("after leaving", "left", "m.room.name").by("bob"),
        one("after leaving, a later change", "v10", "m.room.member/<@bob>").by("bob"),
        one("after a ban", "general", "m.room.name").by("dave").status(403),
        one("forgotten", "forgotten", "m.room.name").by("bob").status(403),
        one("invited", "open invite", "m.room.name").by("bob").status(403),
        one("world readable", "world_readable", "m.room.name").by("heidi"),
        one("world readable to a guest", "world_readable", "m.room.name").by("guest"),
        one("not a member", "not ours", "m.room.name").by("bob").status(403),
        one("missing type", "general", "m.foo").by("bob").status(404),
        one("missing key", "general", "m.room.name/x").by("bob").status(404),
        one("missing after leaving", "left", "m.foo").by("bob").status(404),
        one("nobody", "general", "m.room.name").status(401),
        one("format nonsense", "general", "m.room.name").by("bob").query("format", "zz").status(400),
        one("format empty", "general", "m.room.name").by("bob").query("format", "").status(400),
        one("format nonsense, missing", "general", "m.foo").by("bob").query("format", "zz").status(400),
        get("state_event/unknown room", "/_matrix/client/v3/rooms/!no:myelin.test/state/m.room.name")
            .by("bob")
            .status(403),
        get("state_event/deeper", "/_matrix/client/v3/rooms/<general>/state/a/b/c").by("bob").status(404),
        get("state_event/v1", "/_matrix/client/v1/rooms/<general>/state/m.room.name").by("bob").status(404),
    ];
    for format in ["content", "event"] {
        for (room, key) in [("general", "m.room.create"), ("v12", "m.room.create"), ("general", "my.state/a")] {
            rows.push(one(&format!("{format} of {key} in {room}"), room, key).by("alice").query("format", format));
        }
        rows.push(one(&format!("{format} redacted"), "threads", "my.state/key").by("bob").query("format", format));
        rows.push(one(&format!("{format} after leaving"), "left", "m.room.name").by("bob").query("format", format));
    }
    rows
}
