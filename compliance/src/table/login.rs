//! `GET /login`.

use crate::row::{Row, get};

pub fn rows() -> Vec<Row> {
    vec![
        get("login/nobody", "/_matrix/client/v3/login").has("/flows/1"),
        get("login/with a token", "/_matrix/client/v3/login").by("bob"),
        get("login/with a wrong token", "/_matrix/client/v3/login").token("wrong"),
        get("login/api v1", "/_matrix/client/api/v1/login"),
        get("login/slash", "/_matrix/client/v3/login/").status(404),
    ]
}
