//! `GET /register/available`, `/register/m.login.registration_token/validity`.

use crate::row::{Row, get};

/// Each asks from an address of its own: whom Synapse knows it makes wait.
fn available(name: &str, address: u8) -> Row {
    let row = get(&format!("register/available, {name}"), "/_matrix/client/v3/register/available");
    row.header("X-Forwarded-For", &format!("192.0.2.{address}"))
}

fn validity(name: &str) -> Row {
    let path = "/_matrix/client/v1/register/m.login.registration_token/validity";
    get(&format!("register/validity, {name}"), path)
}

pub fn rows() -> Vec<Row> {
    let long = "x".repeat(300);
    let mut rows = Vec::new();
    for (address, (name, username, status)) in (1..).zip([
        ("free", "somebody-else", 200),
        ("taken", "alice", 400),
        ("taken in capitals", "ALICE", 400),
        ("taken by a guest", "1", 400),
        ("number", "12345", 400),
        ("empty", "", 400),
        ("underscore", "_x", 400),
        ("space", "a b", 400),
        ("not ASCII", "\u{e4}", 400),
        ("all that is allowed", "a=_-./+9", 200),
        ("too long", &long, 400),
        ("of an application service", "bridge_two", 400),
        ("the application service itself", "bridge", 400),
    ]) {
        rows.push(available(name, address).query("username", username).status(status));
    }
    rows.push(available("no name", 100).status(400));
    rows.push(available("with a token", 101).by("bob").query("username", "x"));
    rows.push(available("api v1", 102).status(404).at("/_matrix/client/api/v1/register/available"));
    // The second one waits.
    rows.push(available("again", 1).query("username", "alice").status(400));
    for token in ["open", "last", "taken", "old", "young", "zero", "none", ""] {
        rows.push(validity(token).query("token", token).has("/valid"));
    }
    rows.push(validity("not ASCII").query("token", "\u{e4}").status(400));
    rows.push(validity("no token").status(400));
    rows.push(
        validity("unstable")
            .query("token", "open")
            .at("/_matrix/client/unstable/register/m.login.registration_token/validity"),
    );
    rows
}
