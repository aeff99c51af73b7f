//! `GET /capabilities`.

use crate::row::{Row, get, send};

const PATH: &str = "/_matrix/client/v3/capabilities";

pub fn rows() -> Vec<Row> {
    vec![
        get("capabilities/user", PATH).by("alice").has("/capabilities/m.room_versions"),
        get("capabilities/r0", "/_matrix/client/r0/capabilities").by("alice"),
        get("capabilities/unstable", "/_matrix/client/unstable/capabilities").by("alice"),
        get("capabilities/v1", "/_matrix/client/v1/capabilities").by("alice").status(404),
        get("capabilities/guest", PATH).by("guest"),
        get("capabilities/application service", PATH).by("bridge"),
        get("capabilities/nobody", PATH).status(401),
        get("capabilities/bad token", PATH).token("nonsense").status(401),
        send("PUT", "capabilities/put", PATH).by("alice").body(b"{}").status(405),
    ]
}
