//! `GET /rooms/{room_id}/relations/{parent_id}[/{relation_type}[/{event_type}]]`.

use crate::row::{Row, get};

const PARENTS: [&str; 12] = [
    "root",
    "reply 1",
    "reply 3",
    "edited",
    "edit 1",
    "reacted",
    "redacted",
    "referenced",
    "lonely root",
    "only reply",
    "doomed state",
    "bob 👍",
];

fn relations(name: &str, parent: &str, rest: &str) -> Row {
    let path = format!("/_matrix/client/v1/rooms/<threads>/relations/<threads:{parent}>{rest}");
    get(&format!("relations/{name}"), &path)
}

fn elsewhere(name: &str, room: &str, event: &str) -> Row {
    let path = format!("/_matrix/client/v1/rooms/<{room}>/relations/<{room}:{event}>");
    get(&format!("relations/{name}"), &path)
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        relations("thread", "root", "").by("bob").has("/chunk/2"),
        relations("of a type", "root", "/m.thread").by("bob").has("/chunk/2"),
        relations("of another type", "root", "/m.replace").by("bob"),
        relations("of two types", "root", "/m.thread/m.room.message").by("bob").has("/chunk/2"),
        relations("of another event type", "root", "/m.thread/m.reaction").by("bob"),
        relations("empty type", "root", "/").by("bob"),
        relations("empty event type", "root", "/m.thread/").by("bob"),
        relations("slash", "root", "/m.thread/m.room.message/").by("bob").status(404),
        relations("forwards", "root", "").by("bob").query("dir", "f").has("/chunk/2"),
        relations("limit 1", "root", "").by("bob").query("limit", "1").keep("relations:next", "/next_batch"),
        relations("next page", "root", "")
            .by("bob")
            .query("limit", "1")
            .query("from", "<relations:next>")
            .has("/prev_batch"),
        relations("limit 1 forwards", "root", "")
            .by("bob")
            .query("dir", "f")
            .query("limit", "1")
            .keep("relations:forwards", "/next_batch"),
        relations("next page forwards", "root", "")
            .by("bob")
            .query("dir", "f")
            .query("from", "<relations:forwards>")
            .has("/chunk/0"),
        relations("limit 0", "root", "").by("bob").query("limit", "0").status(500),
        relations("limit 0 of nothing", "bob 👍", "").by("bob").query("limit", "0"),
        relations("negative limit", "root", "").by("bob").query("limit", "-1").status(400),
        relations("dir x", "root", "").by("bob").query("dir", "x").status(400),
        relations("from nonsense", "root", "").by("bob").query("from", "x").status(400),
        relations("to nonsense", "root", "").by("bob").query("to", "x").status(400),
        relations("from the end", "root", "").by("bob").query("from", "<since:end>").has("/chunk/2"),
        relations("from the beginning", "root", "").by("bob").query("from", "<since:nothing>"),
        relations("to the rooms", "root", "").by("bob").query("to", "<since:rooms>").has("/chunk/2"),
        relations("to the end, forwards", "root", "").by("bob").query("dir", "f").query("to", "<since:end>"),
    ];
    rows.extend(recursion());
    for parent in PARENTS {
        for user in ["alice", "bob", "carol"] {
            for (name, recurse) in [("", "false"), (" and on", "true")] {
                let row = relations(&format!("of {parent}{name} by {user}"), parent, "").by(user);
                rows.push(row.query("recurse", recurse).query("limit", "50"));
            }
        }
    }
    rows
}

/// What relates to what relates, and who may ask.
fn recursion() -> Vec<Row> {
    vec![
        relations("recurse", "root", "").by("bob").query("recurse", "true").has("/recursion_depth"),
        relations("recurse forwards", "root", "").by("bob").query("recurse", "true").query("dir", "f"),
        relations("recurse, type", "root", "/m.replace").by("bob").query("recurse", "true").has("/chunk/0"),
        relations("recurse, limit", "root", "")
            .by("bob")
            .query("recurse", "true")
            .query("limit", "2")
            .has("/next_batch"),
        relations("recurse, old name", "root", "").by("bob").query("org.matrix.msc3981.recurse", "true"),
        relations("recurse maybe", "root", "").by("bob").query("recurse", "maybe").status(400),
        relations("recurse false", "root", "").by("bob").query("recurse", "false"),
        get("relations/unstable", "/_matrix/client/unstable/rooms/<threads>/relations/<threads:edited>")
            .by("bob")
            .has("/original_event"),
        get("relations/r0", "/_matrix/client/r0/rooms/<threads>/relations/<threads:edited>").by("bob").status(404),
        get("relations/of another room", "/_matrix/client/v1/rooms/<busy>/relations/<threads:root>")
            .by("bob")
            .status(404),
        get("relations/unknown", "/_matrix/client/v1/rooms/<threads>/relations/$unknown").by("bob").status(404),
        get("relations/unknown room", "/_matrix/client/v1/rooms/!no:myelin.test/relations/$x").by("bob").status(403),
        get("relations/nobody", "/_matrix/client/v1/rooms/<threads>/relations/<threads:root>").status(401),
        elsewhere("older than the room keeps", "forgetful", "gone").by("bob").status(403),
        elsewhere("of an ignored user", "general", "of mallory").by("bob").status(403),
        elsewhere("left before", "general", "last").by("erin").status(403),
        elsewhere("left after", "general", "of erin").by("erin"),
        elsewhere("not a member", "not ours", "first").by("bob").status(403),
        elsewhere("world readable", "world_readable", "joined").by("heidi"),
        elsewhere("guest", "general", "first").by("guest"),
    ]
}
