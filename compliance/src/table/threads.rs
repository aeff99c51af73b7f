//! `GET /rooms/{room_id}/threads`.

use crate::row::{Row, get};

fn threads(name: &str, room: &str) -> Row {
    get(&format!("threads/{name}"), &format!("/_matrix/client/v1/rooms/<{room}>/threads"))
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        threads("limit 1", "threads").by("bob").query("limit", "1").keep("threads:next", "/next_batch"),
        threads("next page", "threads").by("bob").query("limit", "1").query("from", "<threads:next>").has("/chunk/0"),
        threads("limit 0", "threads").by("bob").query("limit", "0").status(500),
        threads("limit 0 of nothing", "busy").by("bob").query("limit", "0"),
        threads("negative limit", "threads").by("bob").query("limit", "-1").status(400),
        threads("odd limit", "threads").by("bob").query("limit", "x").status(400),
        threads("include nonsense", "threads").by("bob").query("include", "x").status(400),
        threads("from nonsense", "threads").by("bob").query("from", "x").status(400),
        threads("from one number", "threads").by("bob").query("from", "1").status(400),
        threads("from three numbers", "threads").by("bob").query("from", "1_2_3").status(400),
        threads("from the beginning", "threads").by("bob").query("from", "0_0"),
        threads("from below", "threads").by("bob").query("from", "-1_-1"),
        threads("from blanks", "threads").by("bob").query("from", " 99 _ 999999 "),
        threads("from empty", "threads").by("bob").query("from", ""),
        threads("none", "busy").by("bob"),
        threads("older than the room keeps", "forgetful").by("bob").has("/chunk"),
        threads("guest", "threads").by("guest").status(403),
        threads("not a member", "not ours").by("bob").status(403),
        threads("world readable", "world_readable").by("heidi"),
        threads("after leaving", "left").by("bob"),
        threads("nobody", "threads").status(401),
        get("threads/r0", "/_matrix/client/r0/rooms/<threads>/threads").by("bob").status(404),
        get("threads/unknown room", "/_matrix/client/v1/rooms/!no:myelin.test/threads").by("bob").status(403),
    ];
    for user in ["alice", "bob", "carol"] {
        for include in ["all", "participated"] {
            let row = threads(&format!("{include} by {user}"), "threads").by(user).query("include", include);
            rows.push(row.has("/chunk"));
        }
    }
    rows
}
