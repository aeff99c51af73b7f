//! `GET /voip/turnServer`.

use crate::row::{Row, get};

fn turn_server(name: &str) -> Row {
    get(&format!("turn_server/{name}"), "/_matrix/client/v3/voip/turnServer")
}

pub fn rows() -> Vec<Row> {
    vec![
        turn_server("user").by("bob").has("/uris/0").has("/ttl"),
        turn_server("guest").by("guest").has("/uris/0"),
        turn_server("nobody").status(401),
        get("turn_server/api v1", "/_matrix/client/api/v1/voip/turnServer").by("bob").has("/username"),
    ]
}
