//! `GET /rooms/{room_id}/timestamp_to_event`.

use crate::row::{Row, get};

fn lookup(name: &str, room: &str) -> Row {
    get(&format!("timestamp_to_event/{name}"), &format!("/_matrix/client/v1/rooms/<{room}>/timestamp_to_event"))
}

pub fn rows() -> Vec<Row> {
    let far = "9999999999999";
    vec![
        lookup("the first", "general").by("bob").query("ts", "0").has("/event_id"),
        lookup("the first, forwards", "busy").by("bob").query("ts", "1").query("dir", "f").has("/origin_server_ts"),
        lookup("the last", "general").by("bob").query("ts", far).query("dir", "b").has("/event_id"),
        lookup("the last of a fork", "fork").by("bob").query("ts", far).query("dir", "b").has("/event_id"),
        lookup("after the last", "general").by("bob").query("ts", far).status(404),
        lookup("older than the room keeps", "forgetful").by("bob").query("ts", far).query("dir", "b").has("/event_id"),
        lookup("before the first", "general").by("bob").query("ts", "0").query("dir", "b").status(404),
        lookup("without a time", "general").by("bob").status(400),
        lookup("odd time", "general").by("bob").query("ts", "x").status(400),
        lookup("beyond 64 bits", "general").by("bob").query("ts", "99999999999999999999").status(404).passed_on(),
        lookup("negative time", "general").by("bob").query("ts", "-1").status(400),
        lookup("dir x", "general").by("bob").query("ts", "0").query("dir", "x").status(400),
        lookup("guest", "general").by("guest").query("ts", "0").status(403),
        lookup("world readable", "world_readable").by("heidi").query("ts", "0").has("/event_id"),
        lookup("after leaving", "left").by("bob").query("ts", "0").status(403),
        lookup("not a member", "not ours").by("bob").query("ts", "0").status(403),
        lookup("not a member, without a time", "not ours").by("bob").status(403),
        lookup("nobody", "general").query("ts", "0").status(401),
    ]
}
