//! `GET /events`, without waiting; see long_poll.rs for the rest.

use crate::row::{Row, get};

/// The presence of users moves whenever somebody asks; rooms are compared with a token that has its present position.
fn events(name: &str) -> Row {
    get(&format!("events/{name}"), "/_matrix/client/v3/events").query("timeout", "0")
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        events("from now").by("watcher").has("/start"),
        events("of a room").by("bob").query("from", "<since:changes>").query("room_id", "<general>").has("/chunk"),
        events("of a room, empty parameter").by("bob").query("from", "<since:changes>").query("room_id", ""),
        events("of a room to look into")
            .by("heidi")
            .query("from", "<since:rooms>")
            .query("room_id", "<world_readable>"),
        events("of a room of others").by("bob").query("from", "<since:end>").query("room_id", "<not ours>").status(403),
        events("of an unknown room").by("bob").query("room_id", "!unknown:myelin.test").status(403),
        events("of a room that was left").by("bob").query("room_id", "<left>").status(403),
        events("of a blocked room").by("bob").query("room_id", "<blocked>").status(403),
        events("one").by("bob").query("from", "<since:changes>").query("limit", "1").has("/chunk/0"),
        events("no limit").by("bob").query("from", "<since:changes>").query("limit", "0").has("/chunk"),
        events("raw").by("bob").query("from", "<since:changes>").query("raw", "1"),
        events("backwards").by("bob").query("from", "<since:changes>").query("dir", "b"),
        events("guest without a room").by("guest").status(400),
        events("guest").by("guest").query("room_id", "<general>").query("from", "<since:changes>"),
        events("guest in a room of others").by("guest").query("room_id", "<busy>").status(403),
        events("nobody").status(401),
        events("bad token").by("bob").query("from", "x").status(400),
        events("bad direction").by("bob").query("dir", "x").status(400),
        get("events/bad timeout", "/_matrix/client/v3/events").by("bob").query("timeout", "x").status(400),
        events("api v1").at("/_matrix/client/api/v1/events").by("bob").query("from", "<since:changes>"),
    ];
    for user in ["alice", "bob", "carol", "heidi", "judy"] {
        for since in ["rooms", "talk", "changes", "end"] {
            let row = events(&format!("{user} since {since}")).by(user).query("from", &format!("<since:{since}>"));
            rows.push(row.has("/end"));
        }
    }
    rows
}
