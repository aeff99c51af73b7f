//! `GET /rooms/{room_id}/members` and `/joined_members`.

use crate::row::{Row, get};

const MEMBERS: &str = "/_matrix/client/v3/rooms/<general>/members";
const JOINED: &str = "/_matrix/client/v3/rooms/<general>/joined_members";

fn members(name: &str, room: &str) -> Row {
    get(&format!("members/{name}"), &format!("/_matrix/client/v3/rooms/<{room}>/members"))
}

fn joined_members(name: &str, room: &str) -> Row {
    get(&format!("joined_members/{name}"), &format!("/_matrix/client/v3/rooms/<{room}>/joined_members"))
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        members("all", "general").by("bob").has("/chunk/8"),
        get("members/api v1", "/_matrix/client/api/v1/rooms/<general>/members").by("bob"),
        members("guest", "general").by("guest"),
        members("puppet", "general").by("bridge").query("user_id", "<@puppet>"),
        members("version 12", "v12").by("bob"),
        members("restricted", "restricted").by("alice"),
        members("upgraded", "upgraded").by("alice"),
        members("with an erased user", "with nina").by("bob"),
        members("locked", "general").by("locked").status(401),
        members("knocks", "knock").by("alice").has("/chunk/1"),
        members("two", "dm").by("bob"),
        members("after leaving", "left").by("bob"),
        members("after a kick", "kicked").by("bob"),
        members("after a ban", "banned").by("bob").status(403),
        members("after leaving a public room", "general").by("erin"),
        members("after a ban in public", "general").by("dave").status(403),
        members("forgotten", "forgotten").by("bob").status(403),
        members("rejected", "rejected").by("bob"),
        members("only invited", "open invite").by("bob").status(403),
        members("knocked", "knock").by("bob").status(403),
        members("world readable", "world_readable").by("heidi"),
        members("world readable to a guest", "world_readable").by("guest"),
        members("not a member", "not ours").by("bob").status(403),
        members("never a member of a public room", "general").by("ivan").status(403),
        members("nobody", "general").status(401),
        get("members/unknown room", "/_matrix/client/v3/rooms/!no:myelin.test/members").by("bob").status(403),
        get("members/no room", "/_matrix/client/v3/rooms/nonsense/members").by("bob").status(403),
        get("members/empty room", "/_matrix/client/v3/rooms//members").by("bob").status(403),
        get("members/slash", "/_matrix/client/v3/rooms/<general>/members/").by("bob").status(404),
        get("members/unencoded", "/_matrix/client/v3/rooms/!no:my/elin/members").by("bob").status(404),
        members("at nonsense", "general").by("bob").query("at", "zz").status(400),
        members("at empty", "general").by("bob").query("at", "").status(400),
        members("before the room", "general").by("bob").query("at", "<since:nothing>").status(404),
        members("at for a stranger", "not ours").by("bob").query("at", "<since:end>").status(403),
        members("at before joining", "new").by("bob").query("at", "<since:talk>").status(404),
    ];
    for since in ["rooms", "talk", "changes", "end"] {
        for user in ["bob", "erin", "dave"] {
            let row = members(&format!("at {since} by {user}"), "general").by(user);
            let status = if user == "bob" { 200 } else { 403 };
            rows.push(row.query("at", &format!("<since:{since}>")).status(status));
        }
    }
    for membership in ["join", "leave", "ban", "invite", "knock", "nonsense", ""] {
        for parameter in ["membership", "not_membership"] {
            rows.push(members(&format!("{parameter} {membership}"), "general").by("bob").query(parameter, membership));
        }
    }
    rows.push(get("members/both", MEMBERS).by("bob").query("membership", "join").query("not_membership", "join"));
    rows.push(get("members/two values", MEMBERS).by("bob").query("membership", "join").query("membership", "ban"));
    rows.extend(joined());
    rows
}

fn joined() -> Vec<Row> {
    vec![
        joined_members("all", "general").by("bob").has("/joined/<@alice>/avatar_url"),
        joined_members("unnamed", "unnamed").by("alice"),
        joined_members("version 12", "v12").by("alice"),
        joined_members("puppet", "general").by("puppet"),
        joined_members("application service", "general").by("bridge"),
        get("joined_members/guest", JOINED).by("guest").status(403),
        joined_members("after leaving", "left").by("bob").status(403),
        joined_members("after a ban", "general").by("dave").status(403),
        joined_members("invited", "open invite").by("bob").status(403),
        joined_members("world readable", "world_readable").by("heidi"),
        joined_members("not a member", "not ours").by("bob").status(403),
        joined_members("nobody", "general").status(401),
        get("joined_members/unknown room", "/_matrix/client/v3/rooms/!no:myelin.test/joined_members")
            .by("bob")
            .status(403),
    ]
}
