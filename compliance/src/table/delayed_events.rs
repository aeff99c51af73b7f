//! `GET /delayed_events` and `/delayed_events/{delay_id}`.

use crate::row::{Row, get};

fn delayed(name: &str, rest: &str) -> Row {
    let path = format!("/_matrix/client/unstable/org.matrix.msc4140/delayed_events{rest}");
    get(&format!("delayed_events/{name}"), &path)
}

pub fn rows() -> Vec<Row> {
    vec![
        delayed("all", "").by("bob").has("/delayed_events/2/state_key"),
        delayed("none", "").by("alice").has("/delayed_events"),
        delayed("other device", "").by("bob2").has("/delayed_events/2"),
        delayed("puppet", "").by("bridge").query("user_id", "<@puppet>"),
        delayed("guest", "").by("guest").status(403),
        delayed("nobody", "").status(401),
        delayed("one", "/<delayed:later>").by("bob").has("/content/body"),
        delayed("state", "/<delayed:state>").by("bob").has("/state_key"),
        delayed("of another user", "/<delayed:later>").by("alice").status(404),
        delayed("unknown", "/nonsense").by("bob").status(404),
        delayed("slash", "/").by("bob").status(404),
        delayed("one, guest", "/<delayed:later>").by("guest").status(403),
        delayed("one, nobody", "/<delayed:later>").status(401),
    ]
}
