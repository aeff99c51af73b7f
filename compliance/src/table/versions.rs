//! `GET /_matrix/client/versions`.

use crate::row::{Row, get, send};

const PATH: &str = "/_matrix/client/versions";

pub fn rows() -> Vec<Row> {
    vec![
        get("versions/nobody", PATH).has("/unstable_features"),
        get("versions/user", PATH).by("alice"),
        get("versions/guest", PATH).by("guest"),
        get("versions/bad token", PATH).token("nonsense").status(401),
        get("versions/application service", PATH).by("bridge"),
        get("versions/slash", "/_matrix/client/versions/").status(404),
        get("versions/with a version", "/_matrix/client/v3/versions").status(404),
        send("HEAD", "versions/head", PATH),
        send("POST", "versions/post", PATH).body(b"{}").status(405),
    ]
}
