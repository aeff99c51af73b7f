//! `GET /account/whoami`, and every way to show who one is.

use crate::row::{Row, get};

const PATH: &str = "/_matrix/client/v3/account/whoami";

pub fn rows() -> Vec<Row> {
    vec![
        get("whoami/user", PATH).by("alice").has("/device_id"),
        get("whoami/second device", PATH).by("alice2"),
        get("whoami/r0", "/_matrix/client/r0/account/whoami").by("alice"),
        get("whoami/guest", PATH).by("guest").has("/is_guest"),
        get("whoami/application service", PATH).by("bridge"),
        get("whoami/puppet by its own token", PATH).by("puppet"),
        get("whoami/puppet", PATH).by("bridge").query("user_id", "<@puppet>"),
        get("whoami/puppet's device", PATH)
            .by("bridge")
            .query("user_id", "<@puppet>")
            .query("device_id", "<device:puppet>"),
        get("whoami/puppet's old device parameter", PATH)
            .by("bridge")
            .query("user_id", "<@puppet>")
            .query("org.matrix.msc3202.device_id", "<device:puppet>"),
        get("whoami/puppet's unknown device", PATH)
            .by("bridge")
            .query("user_id", "<@puppet>")
            .query("device_id", "NONE")
            .status(400),
        get("whoami/sender with a device", PATH).by("bridge").query("device_id", "NONE").status(500),
        get("whoami/not the bridge's user", PATH).by("bridge").query("user_id", "<@alice>").status(403),
        get("whoami/unregistered puppet", PATH).by("bridge").query("user_id", "@bridge_two:myelin.test").status(403),
        get("whoami/malformed puppet", PATH).by("bridge").query("user_id", "bridge_one").status(403),
        get("whoami/user_id of a user means nothing", PATH).by("alice").query("user_id", "<@bob>"),
        get("whoami/token in the query", PATH).query("access_token", "<token:alice>"),
        get("whoami/bad token in the query", PATH).query("access_token", "x").status(401),
        get("whoami/empty token in the query", PATH).query("access_token", "").status(401),
        get("whoami/token in both", PATH).by("alice").query("access_token", "<token:alice>").status(401),
        get("whoami/two tokens in the query", PATH).query("access_token", "<token:alice>").query("access_token", "x"),
        get("whoami/nobody", PATH).status(401),
        get("whoami/bad token", PATH).token("nonsense").status(401),
        get("whoami/looks like a macaroon", PATH).token("MDAxYWxvY2F0aW9uIG15ZWxpbi50ZXN0").status(401),
        get("whoami/after logout", PATH).by("gone").status(401),
        get("whoami/locked", PATH).by("locked").status(401),
        get("whoami/deactivated", PATH).by("nina").status(401),
        get("whoami/admin", PATH).by("root"),
        get("whoami/lower-case scheme", PATH).header("Authorization", "bearer <token:alice>").status(401),
        get("whoami/two spaces", PATH).header("Authorization", "Bearer  <token:alice>").status(401),
        get("whoami/no token", PATH).header("Authorization", "Bearer").status(401),
        get("whoami/empty header", PATH).header("Authorization", "").status(401),
        get("whoami/basic", PATH).header("Authorization", "Basic abc").status(401),
        get("whoami/two headers", PATH).by("alice").header("Authorization", "Bearer x").status(401),
    ]
}
