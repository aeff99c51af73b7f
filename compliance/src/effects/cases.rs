//! What is written.

use serde_json::{Value, json};

use super::Case;
use crate::row::By;
use crate::sign::Signing;

const ACCOUNT_DATA: &str = "/_matrix/client/v3/user/<@me>/account_data/my.effect";
const ROOM_DATA: &str = "/_matrix/client/v3/user/<@me>/rooms/<room:me>/account_data/my.effect";
const TAGS: &str = "/_matrix/client/v3/user/<@me>/rooms/<room:me>/tags";
const FULLY_READ: &str = "/_matrix/client/v3/user/<@me>/rooms/<room:me>/account_data/m.fully_read";

pub(super) fn case(name: &str, method: &'static str, path: &str, body: Value) -> Case {
    Case {
        name: format!("effects/{name}"),
        by: By::User("me".to_owned()),
        method,
        path: format!("/_matrix/client/v3/{path}"),
        body,
        status: 200,
        reads: Vec::new(),
        tables: Vec::new(),
        wakes: None,
        needless: None,
    }
}

impl Case {
    pub(super) fn reads(mut self, path: &'static str) -> Self {
        self.reads.push(path);
        self
    }

    pub(super) fn rows(self, table: &'static str) -> Self {
        self.rows_by(table, "user_id")
    }

    pub(super) fn rows_by(mut self, table: &'static str, column: &'static str) -> Self {
        self.tables.push((table, column));
        self
    }

    pub(super) fn wakes(self, pointer: &'static str) -> Self {
        Self { wakes: Some(pointer), ..self }
    }

    fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

pub fn cases() -> Vec<Case> {
    [data(), tags_and_markers(), profiles(), devices(), backups(), keys(), super::signatures::cases()]
        .into_iter()
        .flatten()
        .collect()
}

fn data() -> Vec<Case> {
    let global = |name: &str, body| {
        case(name, "PUT", "user/<@me>/account_data/my.effect", body).reads(ACCOUNT_DATA).rows("account_data")
    };
    let room = |name: &str, body| {
        case(name, "PUT", "user/<@me>/rooms/<room:me>/account_data/my.effect", body)
            .reads(ROOM_DATA)
            .rows("room_account_data")
    };
    vec![
        global("account data", json!({"b": 1.5, "a": "\u{e4}"})).wakes("/account_data/events/0/content/b"),
        global("account data again", json!({"b": 1.5, "a": "\u{e4}"})),
        global("other account data", json!({"c": {}})).wakes("/account_data/events/0/content/c"),
        global("empty account data", json!({})),
        case(
            "ignored users",
            "PUT",
            "user/<@me>/account_data/m.ignored_user_list",
            json!({"ignored_users": {"<@nina>": {}}}),
        )
        .rows("account_data"),
        room("room account data", json!({"x": [null]})).wakes("/rooms/join/<room:me>/account_data/events/0/content/x"),
        room("empty room account data", json!({})),
    ]
}

fn tags_and_markers() -> Vec<Case> {
    let tag = |name: &str, method, body| {
        case(name, method, "user/<@me>/rooms/<room:me>/tags/u.effect", body)
            .reads(TAGS)
            .rows("room_tags")
            .rows("room_tags_revisions")
    };
    let marker = |name: &str, event: &str| {
        let body = json!({ "m.fully_read": event });
        case(name, "POST", "rooms/<room:me>/read_markers", body).reads(FULLY_READ).rows("room_account_data")
    };
    vec![
        tag("tag", "PUT", json!({"order": 0.25})).wakes("/rooms/join/<room:me>/account_data/events/0/content/tags"),
        tag("other tag", "PUT", json!({"order": 0.5})),
        tag("no tag", "DELETE", json!({})),
        tag("no tag twice", "DELETE", json!({})),
        marker("first marker", "<room:me:first>"),
        marker("second marker", "<room:me:second>")
            .wakes("/rooms/join/<room:me>/account_data/events/0/content/event_id"),
        marker("marker does not go back", "<room:me:first>"),
        marker("same marker", "<room:me:second>"),
    ]
}

fn profiles() -> Vec<Case> {
    const NAME: &str = "/_matrix/client/v3/profile/<@me>/displayname";
    const ALL: &str = "/_matrix/client/v3/profile/<@me>";
    let field = |name: &str, method, field: &str, body| {
        case(name, method, &format!("profile/<@me>/{field}"), body).reads(ALL).rows_by("profiles", "full_user_id")
    };
    vec![
        field("name", "PUT", "displayname", json!({"displayname": "A name"})).reads(NAME),
        field("avatar", "PUT", "avatar_url", json!({"avatar_url": "mxc://myelin.test/effect"})),
        field("field", "PUT", "org.example.effect", json!({"org.example.effect": {"z": [1, 2.50]}})),
        field("field away", "DELETE", "org.example.effect", json!({})),
        field("avatar away", "DELETE", "avatar_url", json!({})),
        case("presence", "PUT", "presence/<@me>/status", json!({"presence": "unavailable", "status_msg": "away"})),
    ]
}

fn devices() -> Vec<Case> {
    const DEVICE: &str = "/_matrix/client/v3/devices/<device:me>";
    let rename = |name: &str, body| case(name, "PUT", "devices/<device:me>", body).reads(DEVICE).rows("devices");
    vec![
        rename("device's name", json!({"display_name": "Renamed \u{2764}"})),
        rename("device's empty name", json!({"display_name": ""})),
        rename("device's name stays", json!({})),
    ]
}

fn backups() -> Vec<Case> {
    const LATEST: &str = "/_matrix/client/v3/room_keys/version";
    const KEYS: &str = "/_matrix/client/v3/room_keys/keys?version=1";
    let backup = |name: &str, method, path: &str, body| {
        let path = format!("room_keys/{path}");
        case(name, method, &path, body).reads(LATEST).reads(KEYS).rows("e2e_room_keys").rows("e2e_room_keys_versions")
    };
    let key = |index: i32, forwarded: i32, verified: bool, data: &str| {
        json!({"first_message_index": index, "forwarded_count": forwarded, "is_verified": verified,
            "session_data": {"ciphertext": data, "mac": "\u{e4} / \""}})
    };
    let keys =
        |name: &str, session: &str, body| backup(name, "PUT", &format!("keys/<room:me>/{session}?version=1"), body);
    let info =
        |auth: &str| json!({"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": auth}});
    vec![
        backup("new backup", "POST", "version", info("a")),
        backup("other authentication", "PUT", "version/1", info("b")),
        keys("first key", "s1", key(5, 2, false, "first")),
        keys("worse key", "s1", key(6, 3, false, "worse")),
        keys("same key", "s1", key(5, 2, false, "same")),
        keys("lower index", "s1", key(4, 9, false, "lower")),
        keys("fewer forwards", "s1", key(9, 8, false, "fewer")),
        keys("verified", "s1", key(99, 99, true, "verified")),
        keys("verified again", "s1", key(99, 99, true, "again")),
        keys("no longer verified", "s1", key(98, 99, false, "lower index")),
        backup(
            "many keys",
            "PUT",
            "keys?version=1",
            json!({"rooms": {
            "<room:me>": {"sessions": {"s1": key(98, 99, false, "x"), "s2": key(0, 0, false, "s2")}},
            "!other:myelin.test": {"sessions": {"s3": key(0, 0, true, "s3")}},
            "!empty:myelin.test": {"sessions": {}}}}),
        ),
        backup(
            "keys of a room",
            "PUT",
            "keys/!other:myelin.test?version=1",
            json!({"sessions": {"s4": key(1, 1, true, "s4")}}),
        ),
        backup("no keys", "PUT", "keys?version=1", json!({"rooms": {}})),
        backup("session away", "DELETE", "keys/<room:me>/s1?version=1", json!({})),
        backup("unknown session away", "DELETE", "keys/<room:me>/none?version=1", json!({})),
        backup("room away", "DELETE", "keys/!other:myelin.test?version=1", json!({})),
        backup("second backup", "POST", "version", info("c")),
        keys("key of an old version", "s1", key(0, 0, true, "old")).status(403),
        backup("all away", "DELETE", "keys?version=1", json!({})),
        backup("version away", "DELETE", "version/2", json!({})),
        backup("version away twice", "DELETE", "version/2", json!({})),
        backup("third backup", "POST", "version", info("d")),
        backup("key of a deleted version", "PUT", "keys?version=2", json!({"rooms": {}})).status(404),
    ]
}

fn keys() -> Vec<Case> {
    const MINE: &str = "/_matrix/client/v3/keys/query with {\"device_keys\": {\"<@me>\": []}}";
    const COUNTS: &str = "/_matrix/client/v3/keys/upload with {}";
    let signatures = || json!({"<@me>": {"ed25519:<device:me>": "x"}});
    let signed = |key: &str| json!({"signatures": signatures(), "key": key});
    let device = |key: &str| {
        json!({"device_keys": {"user_id": "<@me>", "device_id": "<device:me>", "algorithms": ["m.olm"],
            "keys": {"curve25519:<device:me>": key}, "signatures": signatures(), "extra": "\u{e4}"}})
    };
    let upload = |name: &str, body| {
        // That the device is there is written anew.
        Case { needless: Some("\"get_device\""), ..case(name, "POST", "keys/upload", body) }
            .reads(MINE)
            .reads(COUNTS)
            .rows("e2e_device_keys_json")
            .rows("e2e_one_time_keys_json")
            .rows("e2e_fallback_keys_json")
    };
    let claim = |name: &str, algorithm: &str| {
        let case = case(name, "POST", "keys/claim", json!({"one_time_keys": {"<@me>": {"<device:me>": algorithm}}}))
            .reads(COUNTS)
            .rows("e2e_one_time_keys_json")
            .rows("e2e_fallback_keys_json");
        Case { by: By::User("bob".to_owned()), ..case }
    };
    let server = |name: &str, algorithm: &str| Case {
        path: "/_matrix/federation/v1/user/keys/claim".to_owned(),
        by: By::Server(Signing::by("other.test")),
        ..claim(&format!("a server's {name}"), algorithm)
    };
    vec![
        upload("device keys", device("one")).wakes("/device_lists/changed"),
        upload("same device keys", device("one")),
        upload("other device keys", device("two")),
        upload(
            "one-time keys",
            json!({"one_time_keys": {"signed_curve25519:1": signed("1"), "signed_curve25519:2": signed("2"),
                "curve25519:1": "plain"}}),
        ),
        upload("same one-time keys", json!({"one_time_keys": {"signed_curve25519:1": signed("1")}})),
        upload(
            "fallback key",
            json!({"fallback_keys": {"signed_curve25519:fb": {"key": "f", "fallback": true,
            "signatures": signatures()}}}),
        ),
        claim("claim", "signed_curve25519"),
        server("claim", "signed_curve25519"),
        server("claim of the fallback key", "signed_curve25519"),
        server("claim of none", "x"),
        claim("claim of the fallback key", "signed_curve25519"),
        claim("claim of it again", "signed_curve25519"),
        claim("claim of a plain key", "curve25519"),
        claim("claim of none", "curve25519"),
        upload(
            "same fallback key",
            json!({"fallback_keys": {"signed_curve25519:fb": {"fallback": true, "key": "f",
            "signatures": signatures()}}}),
        ),
        upload("other fallback key", json!({"fallback_keys": {"signed_curve25519:fc": signed("g")}})),
        server("claim of that", "signed_curve25519"),
    ]
}
