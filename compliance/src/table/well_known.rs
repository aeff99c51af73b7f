//! `/.well-known/matrix/…`

use crate::row::{Row, get, send};

pub fn rows() -> Vec<Row> {
    vec![
        get("well_known/client", "/.well-known/matrix/client"),
        get("well_known/server", "/.well-known/matrix/server"),
        send("HEAD", "well_known/client head", "/.well-known/matrix/client"),
        send("OPTIONS", "well_known/client preflight", "/.well-known/matrix/client").status(204),
    ]
}
