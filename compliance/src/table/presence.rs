//! `GET /presence/{user_id}/status`.

use crate::row::{Row, get};

fn presence(name: &str, user: &str) -> Row {
    get(&format!("presence/{name}"), &format!("/_matrix/client/v3/presence/{user}/status"))
}

pub fn rows() -> Vec<Row> {
    vec![
        presence("own", "<@bob>").by("bob").has("/presence"),
        presence("own, never seen", "<@judy>").by("judy").has("/presence"),
        presence("of another", "<@alice>").by("bob").status(500),
        presence("of another, a stranger", "<@judy>").by("ivan").status(500),
        presence("of nobody", "nonsense").by("bob").status(400),
        presence("without a server", "@bob").by("bob").status(400),
        presence("guest", "<@guest>").by("guest").status(403),
        presence("nobody", "<@bob>").status(401),
        get("presence/api v1", "/_matrix/client/api/v1/presence/<@bob>/status").by("bob"),
    ]
}
