//! `GET /health`.

use crate::row::{Row, get, send};

pub fn rows() -> Vec<Row> {
    vec![get("health/ok", "/health"), get("health/query", "/health?x=1"), send("HEAD", "health/head", "/health")]
}
