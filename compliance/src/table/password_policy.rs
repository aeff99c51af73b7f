//! `GET /password_policy`.

use crate::row::{Row, get};

pub fn rows() -> Vec<Row> {
    vec![
        get("password_policy/nobody", "/_matrix/client/v3/password_policy").has("/m.minimum_length"),
        get("password_policy/with a token", "/_matrix/client/r0/password_policy").by("bob"),
        get("password_policy/with a wrong token", "/_matrix/client/v3/password_policy").token("wrong"),
    ]
}
