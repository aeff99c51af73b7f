//! `GET /initialSync` and `/rooms/{room_id}/initialSync`.

use crate::row::{Row, get};

fn all(name: &str) -> Row {
    get(&format!("initial_sync/all, {name}"), "/_matrix/client/v3/initialSync")
}

fn room(name: &str, room: &str) -> Row {
    get(&format!("initial_sync/room, {name}"), &format!("/_matrix/client/v3/rooms/{room}/initialSync"))
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        all("guest").by("guest").status(403),
        all("nobody").status(401),
        all("one event").by("bob").query("limit", "1").has("/rooms/0"),
        all("no events").by("bob").query("limit", "0"),
        all("archived").by("bob").query("archived", "true").query("limit", "2"),
        all("archived, left").by("erin").query("archived", "true"),
        all("raw").by("bob").query("raw", "1").query("limit", "3"),
        all("puppet").by("bridge").query("user_id", "<@puppet>"),
        all("odd archived").by("bob").query("archived", "x").status(400),
        all("odd limit").by("bob").query("limit", "x").status(400),
        all("odd direction").by("bob").query("dir", "x").status(400),
        all("odd token").by("bob").query("from", "x").status(400),
        get("initial_sync/all, api v1", "/_matrix/client/api/v1/initialSync").by("carol"),
        room("one event", "<general>").by("bob").query("limit", "1"),
        room("no events", "<general>").by("bob").query("limit", "0"),
        room("many events", "<busy>").by("bob").query("limit", "1000").has("/messages/chunk/50"),
        room("retention", "<forgetful>").by("bob"),
        room("left", "<left>").by("bob").has("/state"),
        room("left, one event", "<left>").by("bob").query("limit", "1"),
        room("kicked", "<kicked>").by("bob"),
        room("banned", "<banned>").by("bob").status(403),
        room("rejected", "<rejected>").by("bob"),
        room("forgotten", "<forgotten>").by("bob").status(403),
        room("only invited", "<open invite>").by("bob").status(403),
        room("not a member", "<not ours>").by("bob").status(403),
        room("unknown", "!unknown:myelin.test").by("bob").status(403),
        room("nonsense", "nonsense").by("bob").status(403),
        room("blocked", "<blocked>").by("bob").status(403),
        room("peeking", "<world_readable>").by("heidi").has("/messages"),
        room("peeking, guest", "<world_readable>").by("guest").has("/messages"),
        room("guest", "<general>").by("guest"),
        room("puppet", "<general>").by("bridge").query("user_id", "<@puppet>"),
        room("nobody", "<general>").status(401),
        room("odd limit", "<general>").by("bob").query("limit", "-1").status(400),
        room("odd token", "<general>").by("bob").query("to", "x").status(400),
    ];
    for user in ["alice", "bob", "carol", "heidi", "grace", "judy"] {
        rows.push(all(user).by(user).has("/end"));
    }
    for name in ["general", "busy", "threads", "dm", "secret", "v6", "v12", "with nina", "unnamed", "back"] {
        rows.push(room(name, &format!("<{name}>")).by("bob").has("/state/0"));
    }
    rows
}
