//! `GET /joined_rooms`.

use crate::row::{Row, get, send};

const PATH: &str = "/_matrix/client/v3/joined_rooms";

pub fn rows() -> Vec<Row> {
    vec![
        get("joined_rooms/many", PATH).by("bob").has("/joined_rooms/5"),
        get("joined_rooms/none", PATH).by("watcher"),
        get("joined_rooms/guest", PATH).by("guest"),
        get("joined_rooms/puppet", PATH).by("bridge").query("user_id", "<@puppet>").has("/joined_rooms/0"),
        get("joined_rooms/v1", "/_matrix/client/api/v1/joined_rooms").by("carol"),
        get("joined_rooms/nobody", PATH).status(401),
        send("DELETE", "joined_rooms/delete", PATH).by("bob").status(405),
    ]
}
