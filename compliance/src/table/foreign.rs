//! Somebody asks for what is another's: a room that they are not in, a device, an account, a backup. Every route with a
//! parameter in its path that Myelin serves must have a case here, or a reason to have none.

use serde_json::json;

use crate::row::{Row, get, post, send};

/// Bob is in many rooms, and not in this one.
const ROOMS: [(&str, u16); 18] = [
    ("v3/rooms/<not ours>/state/m.room.name/", 403),
    ("v3/rooms/<not ours>/state/m.room.name", 403),
    ("v3/rooms/<not ours>/state", 403),
    ("v3/rooms/<not ours>/members", 403),
    ("v3/rooms/<not ours>/joined_members", 403),
    ("v3/rooms/<not ours>/messages", 403),
    ("v3/rooms/<not ours>/context/<not ours:first>", 403),
    ("v3/rooms/<not ours>/event/<not ours:first>", 404),
    ("v3/rooms/<not ours>/aliases", 403),
    ("unstable/org.matrix.msc2432/rooms/<not ours>/aliases", 403),
    ("v3/rooms/<not ours>/initialSync", 403),
    ("v3/events/<not ours:first>", 403),
    ("v1/rooms/<not ours>/hierarchy", 403),
    ("v1/rooms/<not ours>/threads", 403),
    ("v1/rooms/<not ours>/relations/<not ours:first>", 403),
    ("v1/rooms/<not ours>/timestamp_to_event?ts=0", 403),
    ("unstable/io.element.msc4306/rooms/<not ours>/thread/<not ours:first>/subscription", 404),
    ("unstable/io.element.msc4502/rooms/<not ours>/is_joined?mxid=@mallory:myelin.test", 403),
];
/// What bob asks of accounts and rooms by other names.
const OTHERS: [(&str, u16); 11] = [
    ("/_matrix/client/v1/room_summary/<not ours>", 404),
    ("/_matrix/client/unstable/im.nheko.summary/summary/<not ours>", 404),
    ("/_matrix/client/unstable/im.nheko.summary/rooms/<not ours>/summary", 404),
    ("/_matrix/client/v3/user/<@alice>/filter/0", 403),
    ("/_matrix/client/v3/user/<@alice>/rooms/<general>/tags", 403),
    ("/_matrix/client/v3/user/<@alice>/account_data/my.settings", 403),
    ("/_matrix/client/v3/user/<@alice>/rooms/<general>/account_data/my.room", 403),
    ("/_matrix/client/v3/devices/<device:alice>", 404),
    ("/_synapse/admin/v1/rooms/<general>", 403),
    ("/_synapse/admin/v2/users/<@alice>", 403),
    ("/_matrix/client/v3/events/<general:of mallory>", 403),
];
/// What is bob's, asked for by alice, who has neither backup nor delayed events.
const OF_BOB: [&str; 4] = [
    "/_matrix/client/v3/room_keys/keys/<general>/s1?version=1",
    "/_matrix/client/v3/room_keys/version/1",
    "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/<delayed:later>",
    "/_matrix/client/v3/devices/<device:bob>",
];

pub fn rows() -> Vec<Row> {
    let name = |path: &str| format!("foreign/{path}");
    let mut rows = Vec::new();
    for (path, status) in ROOMS {
        let path = format!("/_matrix/client/{path}");
        rows.push(get(&name(&path), &path).by("bob").status(status));
    }
    rows.extend(OTHERS.map(|(path, status)| get(&name(path), path).by("bob").status(status)));
    rows.extend(OF_BOB.map(|path| get(&name(path), path).by("alice").status(404)));
    let filter = "/_matrix/client/v3/user/<@alice>/filter";
    rows.push(post(&name(filter), filter).by("bob").json(&json!({})).status(403));
    let tag = "/_matrix/client/v3/user/<@alice>/rooms/<general>/tags/u.work";
    rows.push(send("PUT", &name(tag), tag).by("bob").json(&json!({})).status(403));
    rows
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use myelin_rest::routes::{Found, Mounts, Resource, Table, all};

    use super::*;

    /// Of everybody, or of nobody but who asks.
    const NO_SECRET: [(&str, &str); 10] = [
        ("{A}/profile/{user_id}/{field_name=displayname}", "profiles are public"),
        ("{A}/profile/{user_id}/{field_name=avatar_url}", "profiles are public"),
        ("/_matrix/client/v3/profile/{user_id}/{field_name}", "profiles are public"),
        ("{A}/profile/{user_id}", "profiles are public"),
        ("{A}/directory/room/{room_alias}", "aliases are public"),
        ("{A}/{path=pushrules/.*}", "the path names no user"),
        ("{R}/rooms/{room_id}/read_markers", "the marker is its own user's, in whatever room"),
        ("{U}/org.matrix.msc3391/user/{user_id}/account_data/{account_data_type}", "off; as account_data"),
        (
            "{U}/org.matrix.msc3391/user/{user_id}/rooms/{room_id}/account_data/{account_data_type}",
            "off; as account_data",
        ),
        ("{A}/presence/{user_id}/status", "a Python worker fails for all others; see presence.rs"),
    ];

    /// `{A}` and its like are prefixes.
    fn has_parameter(pattern: &str) -> bool {
        pattern.match_indices('{').any(|(at, _)| pattern[at + 1..].starts_with(|c: char| c.is_ascii_lowercase()))
    }

    #[test]
    fn every_route_with_a_parameter_has_a_case_of_somebody_else() {
        let (table, mounts) = (Table::new().unwrap(), Mounts::new(&["client".to_owned()]));
        let mut asked = BTreeSet::new();
        for row in rows() {
            assert!(matches!(row.status, 401 | 403 | 404), "{} is no refusal", row.name);
            let path: String = row.path.split(['<', '>']).collect::<Vec<_>>().join("").replace([' ', '@', ':'], "x");
            let path = path.split('?').next().unwrap_or_default().to_owned();
            match table.find(&mounts, &row.method, &path) {
                Found::Route(route, _) => asked.insert(route.pattern),
                other => panic!("{}: {other:?}", row.name),
            };
        }
        let methods = ["GET", "POST", "PUT", "DELETE"];
        let native = all().filter(|route| {
            route.resource == Resource::Client && methods.iter().any(|method| route.endpoint(method).is_some())
        });
        for route in native.filter(|route| has_parameter(route.pattern)) {
            let known = NO_SECRET.iter().any(|(pattern, _)| *pattern == route.pattern);
            assert!(known || asked.contains(route.pattern), "nobody asks for another's {}", route.pattern);
        }
    }
}
