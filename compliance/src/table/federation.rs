//! What other servers ask of the server and of its users, and how their signatures are checked.

use serde_json::json;

use crate::row::{Row, get, post};
use crate::sign::Signing;

const PROFILE: &str = "/_matrix/federation/v1/query/profile";

fn profile(name: &str) -> Row {
    get(&format!("federation/{name}"), PROFILE).query("user_id", "@alice:myelin.test")
}

pub fn rows() -> Vec<Row> {
    [open(), signatures(), rotated_keys(), headers(), queries(), bodies(), devices(), claims(), notary()]
        .into_iter()
        .flatten()
        .collect()
}

fn open() -> Vec<Row> {
    let version = |name: &str| get(&format!("federation/version, {name}"), "/_matrix/federation/v1/version");
    vec![
        version("nobody asks").has("/server/version"),
        version("signed").signed("other.test"),
        version("malformed").header("Authorization", "X-Matrix origin=other.test").status(400),
        version("a wrong signature").signed_as(Signing { key_of: "third.test".to_owned(), ..by_other() }).status(401),
        version("a client's token").by("alice").status(403),
        get("federation/own keys", "/_matrix/key/v2/server").has("/signatures/myelin.test"),
        get("federation/own keys, by id", "/_matrix/key/v2/server/ed25519%3Aa_test"),
        get("federation/own keys, by another id", "/_matrix/key/v2/server/x"),
        post("federation/own keys, POST", "/_matrix/key/v2/server").json(&json!({})).status(405),
    ]
}

fn by_other() -> Signing {
    Signing::by("other.test")
}

fn signatures() -> Vec<Row> {
    let text = |text: &str| Some(text.to_owned());
    let lie = |name: &str, signing: Signing, status: u16| profile(name).signed_as(signing).status(status);
    vec![
        profile("signed").signed("other.test").has("/displayname"),
        profile("signed by another").signed("third.test").has("/displayname"),
        profile("signed by ourselves").signed("myelin.test").has("/displayname"),
        profile("an escaped path")
            .at("/_matrix/federation/v1/query/%70rofile")
            .signed("other.test")
            .has("/displayname"),
        profile("HEAD").signed("other.test"),
        lie("no destination", Signing { sent_destination: None, ..by_other() }, 200),
        lie("another destination", Signing { sent_destination: text("x.test"), ..by_other() }, 401),
        lie("a quoted destination", Signing { sent_destination: text("it's \\\"x\\\""), ..by_other() }, 401),
        lie("signed for another destination", Signing { destination: "x.test".to_owned(), ..by_other() }, 401),
        lie(
            "both for another destination",
            Signing { destination: "x.test".to_owned(), sent_destination: None, ..by_other() },
            401,
        ),
        lie("another path", Signing { uri: text("/_matrix/federation/v1/query/profile"), ..by_other() }, 401),
        lie("another method", Signing { method: text("POST"), ..by_other() }, 401),
        lie("a body that is not sent", Signing { content: Some(json!({})), ..by_other() }, 401),
        lie("another's key", Signing { key_of: "third.test".to_owned(), ..by_other() }, 401),
        lie(
            "another's key by our name",
            Signing { key_of: "third.test".to_owned(), ..Signing::by("myelin.test") },
            401,
        ),
        lie("no base64", Signing { signature: text("!"), ..by_other() }, 401),
        lie("one character", Signing { signature: text("x"), ..by_other() }, 401),
        lie("short", Signing { signature: text("AAAA"), ..by_other() }, 401),
        lie("zeros", Signing { signature: text(&"A".repeat(86)), ..by_other() }, 401),
        lie("an unknown algorithm", Signing { key_id: text("rsa:a_oth"), ..by_other() }, 400),
        lie("signed, a key that nobody has", Signing { key_id: text("ed25519:unknown"), ..by_other() }, 401),
        lie("signed, a key that nobody has, without id", Signing { key_id: text("ed25519"), ..by_other() }, 401),
        lie("signed, a key that nobody has any more", Signing::by("expired.test"), 401),
        lie("signed, a key that nobody has, nor the server", Signing::by("unknown.test"), 401),
        lie(
            "sent to another server, and again to us",
            Signing { destination: "third.test".to_owned(), sent_destination: text("third.test"), ..by_other() },
            401,
        ),
        lie(
            "another query",
            Signing { uri: text(&format!("{PROFILE}?user_id=%40bob%3Amyelin.test")), ..by_other() },
            401,
        ),
        lie(
            "the same query in other letters",
            Signing { uri: text(&format!("{PROFILE}?user_id=@alice:myelin.test")), ..by_other() },
            401,
        ),
        lie("not on the whitelist", Signing::by("stranger.test"), 403),
    ]
}

/// A server that has another key than before.
fn rotated_keys() -> Vec<Row> {
    let rotated = || Signing::by("rotated.test");
    let old_id = || Some("ed25519:b_rot".to_owned());
    let lie = |name: &str, signing: Signing, status: u16| profile(name).signed_as(signing).status(status);
    vec![
        profile("a key after another").signed("rotated.test").has("/displayname"),
        // It is known, was good until an hour ago, and whom to ask for a newer one is not there.
        lie(
            "signed, a key that nobody has, but once had",
            Signing { key_of: "before rotated.test".to_owned(), key_id: old_id(), ..rotated() },
            401,
        ),
        lie(
            "the key before under the new one's id",
            Signing { key_of: "before rotated.test".to_owned(), ..rotated() },
            401,
        ),
        lie("signed, a key that nobody has, with the new one", Signing { key_id: old_id(), ..rotated() }, 401),
    ]
}

fn headers() -> Vec<Row> {
    let header = |name: &str, value: &str, status: u16| {
        profile(&format!("header, {name}")).header("Authorization", value).status(status)
    };
    vec![
        profile("header, none").status(401),
        header("a client's token", "Bearer x", 403),
        header("basic", "Basic eDp4", 403),
        header("bare", "X-Matrix", 400),
        header("no space", "X-Matrixorigin=other.test,key=k,sig=s", 400),
        header("no key", "X-Matrix origin=other.test,sig=s", 400),
        header("a comma too many", "X-Matrix origin=other.test,key=k,sig=s,", 400),
        header("no name", "X-Matrix origin=\"\",key=k,sig=s", 400),
        header("a bad name", "X-Matrix origin=my_elin,key=k,sig=s", 400),
        header("a literal address", "X-Matrix origin=\"[::1]:8448\",key=\"ed25519:k\",sig=s", 403),
        header("lower case", "x-matrix origin=other.test,key=k,sig=s", 403),
        // The second one is who asks.
        profile("header, two servers")
            .header("Authorization", "X-Matrix origin=third.test,key=\"ed25519:x\",sig=s")
            .signed("other.test"),
        profile("header, a token too").header("Authorization", "Bearer x").signed("other.test"),
        profile("header, a wrong key too")
            .header("Authorization", "X-Matrix origin=other.test,key=\"rsa:x\",sig=s")
            .signed("other.test"),
    ]
}

fn queries() -> Vec<Row> {
    let query = |name: &str, path: &str| {
        get(&format!("federation/query, {name}"), &format!("/_matrix/federation/v1/query/{path}")).signed("other.test")
    };
    let profile = |name: &str, user: &str| query(&format!("profile, {name}"), "profile").query("user_id", user);
    let alias = |name: &str, alias: &str| query(&format!("directory, {name}"), "directory").query("room_alias", alias);
    let mut rows = vec![
        query("unknown", "unknown").status(404),
        query("empty", "").status(404),
        query("client_keys", "client_keys").passed_on(),
        query("profile, nobody", "profile").status(500),
        profile("with a custom field", "<@carol>").has("/displayname"),
        profile("never changed", "<@ivan>"),
        profile("erased", "<@nina>").status(404),
        profile("unknown", "@unknown:myelin.test").status(404),
        profile("another server's", "@x:other.test").status(400),
        profile("nonsense", "nonsense").status(400),
        query("directory, none", "directory").status(500),
        alias("of a room", "#general:myelin.test").has("/servers/0"),
        alias("unknown", "#unknown:myelin.test").status(404),
        alias("another server's", "#x:other.test").status(400),
        alias("nonsense", "nonsense").status(400),
        profile("not UTF-8", "<@alice>").at("/_matrix/federation/v1/query/profile?field=%ff").status(500),
    ];
    for field in ["displayname", "avatar_url", "org.example.field", "org.example.null", "org.example.missing", ""] {
        for user in ["alice", "carol", "ivan", "unknown"] {
            let user_id = format!("@{user}:myelin.test");
            let row = profile(&format!("{field} of {user}"), &user_id).query("field", field);
            rows.push(Row { status: 0, ..row });
        }
    }
    rows
}

const KEYS: &str = "/_matrix/federation/v1/user/keys/query";

/// What takes no key; what takes one is among the effects.
fn claims() -> Vec<Row> {
    let claim = |name: &str, query: serde_json::Value| {
        post(&format!("federation/claim, {name}"), "/_matrix/federation/v1/user/keys/claim")
            .json(&json!({"one_time_keys": query}))
            .signed("other.test")
    };
    vec![
        claim("nothing", json!({})).has("/one_time_keys"),
        claim("of unknown devices", json!({"<@alice>": {"X": "signed_curve25519"}, "<@bob>": {"Y": "z"}})),
        claim("of an unknown user", json!({"@unknown:myelin.test": {"X": "signed_curve25519"}})),
        claim("of another server's", json!({"@x:other.test": {"X": "y"}})).status(400),
        claim("of another server's, without a device", json!({"@x:other.test": {}, "nonsense": {}})),
        claim("of nonsense", json!({"nonsense": {"X": "y"}})).status(400),
        claim("ours first", json!({"<@alice>": {"X": "y"}, "@x:other.test": {"X": "y"}})).status(400),
        claim("odd", json!([])).status(500).passed_on(),
        claim("odd devices", json!({"<@alice>": []})).status(500).passed_on(),
        post("federation/claim, no keys", "/_matrix/federation/v1/user/keys/claim")
            .json(&json!({}))
            .signed("other.test"),
    ]
}

/// Bodies are read before anybody looks at the signature.
fn bodies() -> Vec<Row> {
    let keys = |name: &str| post(&format!("federation/body, {name}"), KEYS);
    let body = json!({"device_keys": {"@alice:myelin.test": []}});
    let big = json!({"device_keys": {}, "n": [1.0, 1e30, -0.5], "\u{e4}": "\u{7f}\u{1}"});
    let huge = br#"{"device_keys": {}, "n": 123456789012345678901234567890, "a": -0, "f": 1e22}"#;
    vec![
        keys("of nobody").json(&body).status(401),
        keys("not JSON, of nobody").body(b"{x").status(400),
        keys("not an object").body(b"[]").signed("other.test").status(400),
        keys("none").signed("other.test").status(400),
        keys("numbers and texts").json(&big).signed("other.test"),
        keys("integers of any size").body(huge).signed("other.test"),
        keys("spaces").body(b" { \"z\" : 1 ,\n\"device_keys\":{} } ").signed("other.test"),
        keys("another").json(&body).signed_as(Signing { content: Some(json!({"x": 1})), ..by_other() }).status(401),
        keys("changed")
            .json(&body)
            .signed_as(Signing { content: Some(json!({"device_keys": {}})), ..by_other() })
            .status(401),
        keys("an infinite number")
            .body(b"{\"n\": 1e999}")
            .signed_as(Signing { signature: Some("A".repeat(86)), ..by_other() })
            .status(500),
        keys("deep").body(deep(100).as_bytes()).signed("other.test"),
        keys("deeper").body(deep(5_000).as_bytes()).signed("other.test").status(400).passed_on(),
    ]
}

fn deep(levels: usize) -> String {
    format!("{{\"device_keys\": {{}}, \"d\": {}{}}}", "[".repeat(levels), "]".repeat(levels))
}

fn devices() -> Vec<Row> {
    let devices = |name: &str, user: &str| {
        let path = format!("/_matrix/federation/v1/user/devices/{user}");
        get(&format!("federation/devices, {name}"), &path).signed("other.test")
    };
    let keys = |name: &str, query: serde_json::Value| {
        post(&format!("federation/keys, {name}"), KEYS).json(&json!({"device_keys": query})).signed("other.test")
    };
    vec![
        devices("of a user with keys", "<@alice>").has("/devices/0/keys").has("/master_key/keys"),
        devices("of a user without", "<@ivan>").has("/stream_id"),
        devices("of bob", "<@bob>").has("/devices/0"),
        devices("of an unknown user", "@unknown:myelin.test"),
        devices("of another server's", "@x:other.test").status(400),
        devices("of nonsense", "nonsense").status(400),
        keys("all", json!({"<@alice>": [], "<@bob>": null, "<@ivan>": []})).has("/device_keys/<@alice>/<device:alice>"),
        keys("one", json!({"<@alice>": ["<device:alice>", "X"]})).has("/master_keys/<@alice>"),
        keys("nobody", json!({})),
        keys("another server's", json!({"@x:other.test": []})).status(400),
        keys("nonsense", json!({"nonsense": []})).status(400),
        keys("odd", json!([])).status(500).passed_on(),
        post("federation/keys, nothing", KEYS).json(&json!({})).signed("other.test"),
        get("federation/openid, no token", "/_matrix/federation/v1/openid/userinfo").status(401),
    ]
}

fn notary() -> Vec<Row> {
    let query =
        |name: &str, path: &str| get(&format!("federation/notary, {name}"), &format!("/_matrix/key/v2/query/{path}"));
    let all = |name: &str, servers: serde_json::Value| {
        post(&format!("federation/notary, {name}"), "/_matrix/key/v2/query").json(&json!({"server_keys": servers}))
    };
    let any = json!({"ed25519:a_oth": {"minimum_valid_until_ts": null}});
    vec![
        query("all keys", "other.test").has("/server_keys/0/signatures/myelin.test"),
        query("of an unknown server", "elsewhere.test").has("/server_keys"),
        query("of ourselves", "myelin.test").has("/server_keys"),
        query("a key", "third.test/ed25519%3Aa_thi").query("minimum_valid_until_ts", "5").has("/server_keys/0"),
        query("a time that it has", "third.test/ed25519%3Aa_thi")
            .query("minimum_valid_until_ts", "<in an hour>")
            .has("/server_keys/0"),
        all("times that they have", json!({"other.test": {"ed25519:a_oth": {"minimum_valid_until_ts": 5}}}))
            .has("/server_keys/0"),
        post("federation/notary, a time in an hour", "/_matrix/key/v2/query")
            .body(br#"{"server_keys": {"third.test": {"ed25519:a_thi": {"minimum_valid_until_ts": <in an hour>}}}}"#)
            .has("/server_keys/0"),
        // They cannot be fetched: what is known is told.
        query("a time in a month", "third.test/ed25519%3Aa_thi")
            .query("minimum_valid_until_ts", "<in a month>")
            .has("/server_keys/0"),
        post("federation/notary, a time in a month, of two", "/_matrix/key/v2/query")
            .body(br#"{"server_keys": {"third.test": {"ed25519:a_thi": {"minimum_valid_until_ts": <in a month>}}, "rotated.test": {"ed25519:b_rot": {"minimum_valid_until_ts": <in a month>}}}}"#)
            .has("/server_keys/1"),
        query("the last time of all", "third.test/ed25519%3Aa_thi")
            .query("minimum_valid_until_ts", "9223372036854775807")
            .has("/server_keys/0"),
        query("a time before all", "expired.test/ed25519%3Aa_exp").query("minimum_valid_until_ts", "-1").status(400),
        all("a time before all, in a body", json!({"expired.test": {"ed25519:a_exp": {"minimum_valid_until_ts": -1}}}))
            .has("/server_keys/0"),
        query("a key of the past", "rotated.test/ed25519%3Ab_rot").has("/server_keys/0"),
        query("all keys, also of the past", "rotated.test").has("/server_keys/1"),
        query("a far time, not on the whitelist", "stranger.test/ed25519%3Aa_str")
            .query("minimum_valid_until_ts", "<in a month>")
            .has("/server_keys/0"),
        query("a bad time", "third.test/ed25519%3Aa_thi").query("minimum_valid_until_ts", "x").status(400),
        query("an expired key", "expired.test").has("/server_keys/0"),
        query("a key that cannot be fetched", "expired.test/ed25519%3Aa_exp").has("/server_keys/0"),
        query("an unknown key", "other.test/ed25519%3Ax").has("/server_keys"),
        query("an unknown key, not on the whitelist", "stranger.test/ed25519%3Ax"),
        all("two", json!({"other.test": any, "third.test": {}})).has("/server_keys/1"),
        all("none", json!({})).has("/server_keys"),
        all("no time", json!({"other.test": {"ed25519:a_oth": {}}})).status(400).passed_on(),
        post("federation/notary, no query", "/_matrix/key/v2/query").json(&json!({})).status(400).passed_on(),
    ]
}
