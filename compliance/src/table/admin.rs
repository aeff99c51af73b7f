//! `GET /_synapse/admin/v1/rooms/{room_id}` and `/_synapse/admin/v2/users/{user_id}`.

use crate::row::{Row, get};

fn room(name: &str, room: &str) -> Row {
    get(&format!("admin/room, {name}"), &format!("/_synapse/admin/v1/rooms/{room}"))
}

fn user(name: &str, user: &str) -> Row {
    get(&format!("admin/user, {name}"), &format!("/_synapse/admin/v2/users/{user}"))
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        room("upgraded", "<old>").by("root").has("/replacement_room"),
        room("unknown", "!unknown:myelin.test").by("root").status(404),
        room("no room id", "nonsense").by("root").status(404),
        room("empty", "").by("root").status(404),
        room("not an admin", "<general>").by("bob").status(403),
        room("not an admin, unknown", "!unknown:myelin.test").by("bob").status(403),
        room("guest", "<general>").by("guest").status(403),
        room("application service", "<general>").by("bridge").status(403),
        room("nobody", "<general>").status(401),
        user("unknown", "@unknown:myelin.test").by("root").status(404),
        user("of another server", "@alice:other.test").by("root").status(400),
        user("no user id", "alice").by("root").status(400),
        user("no server", "@alice").by("root").status(400),
        user("empty", "").by("root").status(400),
        user("not an admin", "<@alice>").by("bob").status(403),
        user("own, not an admin", "<@bob>").by("bob").status(403),
        user("guest", "<@bob>").by("guest").status(403),
        user("nobody", "<@bob>").status(401),
    ];
    for name in ["general", "forgotten", "deserted", "space", "secret", "v12", "unnamed", "with nina", "upgraded"] {
        rows.push(room(name, &format!("<{name}>")).by("root").has("/joined_local_devices"));
    }
    for name in ["alice", "bob", "carol", "nina", "locked", "root", "guest", "puppet", "bridge", "judy"] {
        let status = if name == "bridge" { 404 } else { 200 };
        rows.push(user(name, &format!("<@{name}>")).by("root").status(status));
    }
    rows
}
