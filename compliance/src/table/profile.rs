//! `GET /profile/{user_id}`, and `GET`, `PUT` and `DELETE /profile/{user_id}/{field_name}`.

use serde_json::{Value, json};

use crate::row::{Row, get, send};

fn profile(name: &str, path: &str) -> Row {
    get(&format!("profile/{name}"), &format!("/_matrix/client/v3/profile/{path}"))
}

fn put(name: &str, path: &str, body: &Value) -> Row {
    let path = format!("/_matrix/client/v3/profile/{path}");
    send("PUT", &format!("profile_put/{name}"), &path).by("olga").json(body)
}

fn delete(name: &str, path: &str) -> Row {
    send("DELETE", &format!("profile_delete/{name}"), &format!("/_matrix/client/v3/profile/{path}")).by("olga")
}

fn writes() -> Vec<Row> {
    let name = json!({"displayname": "Olga ❤"});
    vec![
        put("name", "<@olga>/displayname", &name),
        profile("written name", "<@olga>/displayname").has("/displayname"),
        put("no name", "<@olga>/displayname", &json!({"displayname": ""})),
        profile("no name", "<@olga>/displayname"),
        put("long name", "<@olga>/displayname", &json!({"displayname": "x".repeat(257)})).status(400),
        put("number", "<@olga>/displayname", &json!({"displayname": 5})).status(400),
        put("null", "<@olga>/displayname", &json!({"displayname": null})).status(0),
        put("other key", "<@olga>/displayname", &json!({"name": 5})).status(400),
        put("avatar", "<@olga>/avatar_url", &json!({"avatar_url": "mxc://myelin.test/x"})),
        put("odd avatar", "<@olga>/avatar_url", &json!({"avatar_url": "x".repeat(1001)})).status(400),
        put("field", "<@olga>/org.example.a", &json!({"org.example.a": {"z": 1.50, "a": ["\u{e4}"]}})),
        profile("written field", "<@olga>").has("/org.example.a"),
        put("null field", "<@olga>/org.example.b", &json!({"org.example.b": null})),
        put("large field", "<@olga>/org.example.c", &json!({"org.example.c": "x".repeat(65_536)})).status(400),
        put("empty field", "<@olga>/", &json!({"": 1})).status(400),
        put("bad field", "<@olga>/A", &json!({"A": 1})).status(400),
        put("long field", &format!("<@olga>/{}", "a".repeat(256)), &json!({})).status(400),
        put("of another", "<@alice>/displayname", &name).status(400),
        put("field of another", "<@alice>/org.example.a", &json!({"org.example.a": 1})).status(0),
        put("of another, by an administrator", "<@peggy>/displayname", &name).by("root"),
        put("of a user elsewhere", "@x:other.test/displayname", &name).status(400),
        put("of nonsense", "nonsense/displayname", &name).status(400),
        put("no JSON", "<@olga>/displayname", &name).body(b"{").status(400),
        put("list", "<@olga>/displayname", &json!([])).status(400),
        put("guest", "<@guest>/displayname", &name).by("guest").status(0),
        put("guest's avatar", "<@guest>/avatar_url", &json!({"avatar_url": "mxc://x/y"})).by("guest").status(403),
        put("nobody", "<@olga>/displayname", &name).token("x").status(401),
        put("puppet", "<@puppet>/displayname", &name).by("bridge").query("user_id", "<@puppet>"),
        delete("field", "<@olga>/org.example.a"),
        delete("unknown field", "<@olga>/org.example.none").status(0),
        profile("deleted field", "<@olga>/org.example.a").status(404),
        delete("name", "<@olga>/displayname"),
        delete("avatar", "<@olga>/avatar_url"),
        profile("after all", "<@olga>"),
        delete("of another", "<@alice>/displayname").status(400),
        delete("field of another", "<@alice>/org.example.a").status(400),
        delete("bad field", "<@olga>/A").status(400),
        delete("nobody", "<@olga>/displayname").token("x").status(401),
    ]
}

pub fn rows() -> Vec<Row> {
    [reads(), writes()].into_iter().flatten().collect()
}

fn reads() -> Vec<Row> {
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
