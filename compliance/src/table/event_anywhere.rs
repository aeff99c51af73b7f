//! `GET /events/{event_id}`.

use crate::row::{Row, get};

fn event(name: &str, event: &str) -> Row {
    get(&format!("event_anywhere/{name}"), &format!("/_matrix/client/v3/events/{event}"))
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        event("message", "<general:first>").by("bob").has("/unsigned/age"),
        event("own message", "<general:first>").by("alice").has("/unsigned/transaction_id"),
        event("state", "<general:power2>").by("bob").has("/unsigned/replaces_state"),
        event("redacted", "<threads:redacted>").by("bob").has("/unsigned/redacted_because"),
        event("with relations", "<threads:root>").by("bob").has("/content"),
        event("of an ignored user", "<general:of mallory>").by("bob").status(403),
        event("older than the room keeps", "<forgetful:gone>").by("bob").status(403),
        event("not a member", "<not ours:first>").by("bob").status(403),
        event("only invited", "<open invite:first>").by("bob").status(403),
        event("after leaving", "<left:after>").by("bob").status(403),
        event("before leaving", "<left:of bob>").by("bob"),
        event("forgotten", "<forgotten:first>").by("bob").status(403),
        event("banned", "<general:news>").by("dave").status(403),
        event("of an erased user", "<with nina:of nina>").by("bob"),
        event("admin", "<unnamed:first>").by("root").status(403),
        event("puppet", "<general:first>").by("bridge").query("user_id", "<@puppet>"),
        event("guest", "<general:first>").by("guest").status(403),
        event("nobody", "<general:first>").status(401),
        event("unknown", "$unknown").by("bob").status(404),
        event("nonsense", "nonsense").by("bob").status(404),
        event("empty", "").by("bob").status(404),
        get("event_anywhere/api v1", "/_matrix/client/api/v1/events/<general:first>").by("bob"),
    ];
    for room in ["world_readable", "shared", "invited", "joined"] {
        for user in ["bob", "carol", "heidi"] {
            let visible = room == "world_readable" || (user == "bob" && room == "shared");
            let status = if visible { 200 } else { 403 };
            rows.push(event(&format!("{room}, {user}"), &format!("<{room}:before>")).by(user).status(status));
        }
    }
    rows
}
