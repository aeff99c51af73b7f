//! `GET /rooms/{room_id}/event/{event_id}`.

use crate::row::{Row, get};

fn event(name: &str, room: &str, event: &str) -> Row {
    get(&format!("event/{name}"), &format!("/_matrix/client/v3/rooms/<{room}>/event/<{room}:{event}>"))
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        event("message", "general", "first").by("bob").has("/unsigned/age"),
        event("own message", "general", "first").by("alice").has("/unsigned/transaction_id"),
        event("own message, other device", "general", "first").by("alice2"),
        event("state", "general", "name").by("bob").has("/unsigned/replaces_state"),
        event("state again", "general", "power2").by("bob").has("/unsigned/replaces_state"),
        event("sticky", "busy", "sticks").by("bob").has("/unsigned/msc4354_sticky_duration_ttl_ms"),
        event("sticky and redacted", "busy", "redacted-sticky").by("bob").has("/unsigned/redacted_by"),
        event("topic", "general", "topic").by("bob"),
        event("of an ignored user", "general", "of mallory").by("bob").status(404),
        event("of a banned user", "general", "of dave").by("bob"),
        event("guest", "general", "first").by("guest"),
        event("puppet", "general", "first").by("bridge").query("user_id", "<@puppet>"),
        event("left before", "general", "last").by("erin").status(404),
        event("left after", "general", "of erin").by("erin"),
        event("banned", "general", "news").by("dave").status(404),
        event("not a member", "not ours", "first").by("bob").status(404),
        event("only invited", "open invite", "first").by("bob").status(404),
        event("after leaving", "left", "after").by("bob").status(404),
        event("forgotten", "forgotten", "first").by("bob").status(404),
        event("of an erased user", "with nina", "of nina").by("bob"),
        event("older than the room keeps", "forgetful", "gone").by("bob").status(404),
        event("state older than the room keeps", "forgetful", "retention").by("bob"),
        event("restricted join", "restricted", "first").by("bob"),
        event("admin", "unnamed", "first").by("root").status(404),
        event("nobody", "general", "first").status(401),
        get("event/of another room", "/_matrix/client/v3/rooms/<busy>/event/<general:first>").by("bob").status(404),
        get("event/unknown", "/_matrix/client/v3/rooms/<general>/event/$unknown").by("bob").status(404),
        get("event/nonsense", "/_matrix/client/v3/rooms/<general>/event/nonsense").by("bob").status(404),
        get("event/empty", "/_matrix/client/v3/rooms/<general>/event/").by("bob").status(404),
        get("event/unknown room", "/_matrix/client/v3/rooms/!no:myelin.test/event/$x").by("bob").status(404),
        get("event/slash", "/_matrix/client/v3/rooms/<general>/event/<general:first>/").by("bob").status(404),
    ];
    for version in ["v6", "v10", "v12"] {
        rows.push(event(&format!("version {version}"), version, "first").by("alice"));
    }
    let related = [
        "root",
        "reply 1",
        "reply 3",
        "edited",
        "edit 1",
        "edit 2",
        "edit of reply 3",
        "reacted",
        "bob 👍",
        "redacted",
        "redaction of redacted",
        "referenced",
        "reference",
        "lonely root",
        "only reply",
        "carol x",
        "doomed state",
        "redaction of doomed state",
    ];
    for name in related {
        for user in ["alice", "bob", "carol"] {
            rows.push(event(&format!("{name} by {user}"), "threads", name).by(user));
        }
    }
    rows.extend(visibility());
    rows
}

/// Each visibility, for one who is there, one who came late, one who left and a stranger.
fn visibility() -> Vec<Row> {
    let mut rows = Vec::new();
    for room in ["world_readable", "shared", "invited", "joined"] {
        for name in ["before", "invited", "joined", "left"] {
            for user in ["bob", "carol", "heidi", "guest"] {
                let visible = matches!(
                    (room, user, name),
                    ("world_readable", ..)
                        | (_, "bob", "joined" | "left")
                        | ("shared", "bob", "before" | "invited")
                        | (_, "carol", "joined")
                        | ("invited", "bob", "invited")
                );
                let status = if visible { 200 } else { 404 };
                rows.push(event(&format!("{room}, {name}, {user}"), room, name).by(user).status(status));
            }
        }
    }
    rows.push(event("visibility event", "shared", "hidden").by("bob"));
    rows.push(event("visibility event, gone", "shared", "hidden").by("carol").status(404));
    rows.push(event("after it was hidden", "shared", "secret").by("bob"));
    rows.push(event("after it was hidden, gone", "shared", "secret").by("carol").status(404));
    rows
}
