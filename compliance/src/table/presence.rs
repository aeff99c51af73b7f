//! `GET` and `PUT /presence/{user_id}/status`.

use serde_json::json;

use crate::row::{Row, get, send};

fn presence(name: &str, user: &str) -> Row {
    get(&format!("presence/{name}"), &format!("/_matrix/client/v3/presence/{user}/status"))
}

fn set(name: &str, user: &str) -> Row {
    send("PUT", &format!("presence_put/{name}"), &format!("/_matrix/client/v3/presence/{user}/status"))
        .json(&json!({"presence": "unavailable", "status_msg": "away"}))
}

/// Who may write, and what: a worker lets a user do so once in ten seconds, mistakes included.
fn writes() -> Vec<Row> {
    vec![
        set("with a message", "<@olga>").by("olga"),
        presence("with a message", "<@olga>").by("olga").has("/status_msg"),
        set("again", "<@olga>").by("olga").status(0),
        set("unknown", "<@oscar>").by("oscar").json(&json!({"presence": "asleep"})).status(400),
        set("busy", "<@otto>").by("otto").json(&json!({"presence": "org.matrix.msc3026.busy"})).status(400),
        set("no string", "<@paula>").by("paula").json(&json!({"presence": "online", "status_msg": 5})).status(400),
        set("something else", "<@peggy>").by("peggy").json(&json!({"presence": "online", "x": 5})).status(400),
        set("nothing", "<@judy>").by("judy").json(&json!({})).status(400),
        set("no JSON", "<@ivan>").by("ivan").body(b"{").status(400),
        set("of another", "<@alice>").by("olga").status(403),
        set("of nobody", "nonsense").by("olga").status(400),
        set("guest", "<@guest>").by("guest").status(403),
        set("nobody", "<@olga>").status(401),
        set("puppet", "<@puppet>").by("bridge").query("user_id", "<@puppet>"),
        set("puppet again", "<@puppet>").by("bridge").query("user_id", "<@puppet>"),
    ]
}

pub fn rows() -> Vec<Row> {
    [reads(), writes()].into_iter().flatten().collect()
}

fn reads() -> Vec<Row> {
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
