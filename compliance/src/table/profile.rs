//! `GET /profile/{user_id}[/{field_name}]`.

use crate::row::{Row, get};

fn profile(name: &str, path: &str) -> Row {
    get(&format!("profile/{name}"), &format!("/_matrix/client/v3/profile/{path}"))
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        profile("nobody asks", "<@alice>").has("/avatar_url"),
        profile("with a token", "<@bob>").by("carol").has("/displayname"),
        profile("with a wrong token", "<@bob>").token("wrong").status(401),
        profile("guest", "<@bob>").by("guest"),
        profile("locked", "<@bob>").by("locked").status(401),
        profile("never changed", "<@ivan>"),
        profile("erased", "<@nina>").status(404),
        profile("of a guest", "<@guest>"),
        profile("puppet", "<@puppet>"),
        profile("unknown", "@unknown:myelin.test").status(404),
        profile("nonsense", "nonsense").status(400),
        profile("without a server", "@bob").status(400),
        profile("a bad server", "@bob:my_elin").status(400),
        profile("empty", "").status(400),
        profile("with a custom field", "<@carol>").has("/displayname"),
        get("profile/api v1", "/_matrix/client/api/v1/profile/<@bob>"),
        get("profile/api v1, field", "/_matrix/client/api/v1/profile/<@bob>/displayname"),
        get("profile/r0, custom field", "/_matrix/client/r0/profile/<@carol>/org.example.field").status(404),
        profile("name of an unknown user", "@unknown:myelin.test/displayname").status(404),
        profile("custom field of an unknown user", "@unknown:myelin.test/org.example.field").status(404),
        profile("custom field", "<@carol>/org.example.field").has("/org.example.field"),
        profile("custom field that is null", "<@carol>/org.example.null").has("/org.example.null"),
        profile("custom field that is missing", "<@carol>/org.example.missing").status(404),
        profile("custom field of one who has none", "<@ivan>/org.example.field").status(404),
        profile("empty field", "<@bob>/").status(400),
        profile("field with capitals", "<@bob>/Displayname").status(400),
        profile("field with an umlaut", "<@bob>/%C3%A4").status(400),
        profile("long field", &format!("<@bob>/{}", "a".repeat(256))).status(400),
        profile("longest field", &format!("<@bob>/{}", "a".repeat(255))).status(404),
        profile("field of nonsense", "nonsense/displayname").status(400),
    ];
    for user in ["alice", "bob", "carol", "ivan", "nina", "guest"] {
        for field in ["displayname", "avatar_url"] {
            let row = profile(&format!("{field} of {user}"), &format!("<@{user}>/{field}"));
            rows.push(Row { status: 0, ..row });
        }
    }
    rows
}
