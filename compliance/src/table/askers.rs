//! Every native read, asked by those who are somehow special: guests, application services for themselves, for a puppet
//! and for somebody who is none of theirs, and suspended, shadow-banned and locked users. Whether they may is Python's to
//! say.

use serde_json::{Value, json};

use crate::row::{Row, get, post};

/// How the names of rows begin, because of `allowed-differences.toml`, and a path below `/_matrix/client/`.
const READS: [(&str, &str); 60] = [
    ("versions", "versions"),
    ("capabilities", "v3/capabilities"),
    ("whoami", "v3/account/whoami"),
    ("threepids", "v3/account/3pid"),
    ("joined_rooms", "v3/joined_rooms"),
    ("members", "v3/rooms/<punished>/members"),
    ("members", "v3/rooms/<punished>/joined_members"),
    ("members", "v3/rooms/<world_readable>/members"),
    ("state", "v3/rooms/<punished>/state"),
    ("state", "v3/rooms/<world_readable>/state"),
    ("state_event", "v3/rooms/<punished>/state/m.room.name"),
    ("state_event", "v3/rooms/<general>/state/m.room.name"),
    ("event", "v3/rooms/<punished>/event/<punished:first>"),
    ("event", "v3/rooms/<general>/event/<general:first>"),
    ("event_anywhere", "v3/events/<punished:first>"),
    ("event_anywhere", "v3/events/<general:first>"),
    ("messages", "v3/rooms/<punished>/messages?dir=b"),
    ("messages", "v3/rooms/<general>/messages?dir=b&limit=3"),
    ("context", "v3/rooms/<punished>/context/<punished:first>"),
    ("context", "v3/rooms/<world_readable>/context/<world_readable:before>"),
    ("relations", "v1/rooms/<punished>/relations/<punished:first>"),
    ("relations", "v1/rooms/<general>/relations/<general:first>?recurse=true"),
    ("threads", "v1/rooms/<punished>/threads"),
    ("threads", "v1/rooms/<threads>/threads"),
    ("timestamp_to_event", "v1/rooms/<punished>/timestamp_to_event?ts=0&dir=f"),
    ("timestamp_to_event", "v1/rooms/<world_readable>/timestamp_to_event?ts=0&dir=f"),
    ("hierarchy", "v1/rooms/<punished>/hierarchy"),
    ("hierarchy", "v1/rooms/<space>/hierarchy"),
    ("room_summary", "v1/room_summary/<punished>"),
    ("room_summary", "unstable/im.nheko.summary/summary/<general>"),
    ("directory", "v3/rooms/<punished>/aliases"),
    ("directory", "v3/directory/room/%23general:myelin.test"),
    ("public_rooms", "v3/publicRooms?limit=5"),
    ("initial_sync", "v3/initialSync?limit=2"),
    ("initial_sync", "v3/rooms/<punished>/initialSync?limit=2"),
    ("initial_sync", "v3/rooms/<world_readable>/initialSync?limit=2"),
    ("account_data", "v3/user/<@suspended>/account_data/m.direct"),
    ("account_data", "v3/user/<@puppet>/account_data/m.direct"),
    ("account_data", "v3/user/<@shadow>/rooms/<punished>/account_data/m.fully_read"),
    ("tags", "v3/user/<@suspended>/rooms/<punished>/tags"),
    ("push_rules", "v3/pushrules/"),
    ("push_rules", "v3/pushrules/global/override/.m.rule.master/enabled"),
    ("devices", "v3/devices"),
    ("notifications", "v3/notifications"),
    ("profile", "v3/profile/<@suspended>"),
    ("profile", "v3/profile/<@shadow>/displayname"),
    ("presence/of another", "v3/presence/<@suspended>/status"),
    ("turn_server", "v3/voip/turnServer"),
    ("password_policy", "v3/password_policy"),
    ("login", "v3/login"),
    ("room_keys", "v3/room_keys/version"),
    ("room_keys", "v3/room_keys/keys?version=1"),
    ("keys_changes", "v3/keys/changes?from=<since:talk>"),
    ("thread_subscriptions", "unstable/io.element.msc4306/rooms/<threads>/thread/<threads:root>/subscription"),
    ("thread_subscriptions", "unstable/io.element.msc4308/thread_subscriptions?dir=b"),
    ("delayed_events", "unstable/org.matrix.msc4140/delayed_events"),
    ("small", "unstable/org.matrix.msc4143/rtc/transports"),
    ("small", "v1/media/config"),
    ("filter", "v3/user/<@suspended>/filter/0"),
    ("sync", "v3/sync?set_presence=offline"),
];

/// Nothing of it writes what anybody reads later.
fn posts() -> Vec<(&'static str, &'static str, Value)> {
    let events = json!({"search_term": "punished", "order_by": "recent"});
    vec![
        ("public_rooms", "v3/publicRooms", json!({"limit": 3, "filter": {"generic_search_term": "general"}})),
        ("user_directory", "v3/user_directory/search", json!({"search_term": "suspended"})),
        ("search", "v3/search", json!({"search_categories": {"room_events": events}})),
        ("keys_query", "v3/keys/query", json!({"device_keys": {"<@alice>": [], "<@suspended>": []}})),
        ("keys_claim", "v3/keys/claim", json!({"one_time_keys": {"<@suspended>": {"x": "signed_curve25519"}}})),
        ("keys_upload", "v3/keys/upload", json!({})),
        ("signatures_upload", "v3/keys/signatures/upload", json!({"<@suspended>": {"x": {}}, "<@shadow>": {}})),
        ("device_signing", "v3/keys/device_signing/upload", json!({})),
        ("read_markers", "v3/rooms/<punished>/read_markers", json!({"m.fully_read": "<punished:first>"})),
    ]
}

/// (method, path, body): what is the same however often it is written.
fn writes() -> Vec<(&'static str, String, Value)> {
    let mut writes = Vec::new();
    for user in ["suspended", "shadow"] {
        let of = |path: &str| format!("v3/user/<@{user}>/{path}");
        writes.push(("PUT", of("account_data/my.data"), json!({"a": 1})));
        writes.push(("PUT", of("rooms/<punished>/account_data/my.data"), json!({"a": 1})));
        writes.push(("PUT", of("rooms/<punished>/tags/u.x"), json!({"order": 0.5})));
        writes.push(("DELETE", of("rooms/<punished>/tags/u.none"), json!({})));
        for (field, value) in
            [("displayname", "Punished"), ("avatar_url", "mxc://myelin.test/x"), ("org.example.x", "y")]
        {
            writes.push(("PUT", format!("v3/profile/<@{user}>/{field}"), json!({field: value})));
        }
        writes.push(("DELETE", format!("v3/profile/<@{user}>/org.example.none"), json!({})));
        writes.push(("PUT", format!("v3/presence/<@{user}>/status"), json!({"presence": "unavailable"})));
        writes.push(("PUT", format!("v3/devices/<device:{user}>"), json!({"display_name": "Named"})));
    }
    writes
}

fn askers(row: &Row) -> Vec<Row> {
    let named = |who: &str| Row { name: format!("{} as {who}", row.name), ..row.clone() };
    let bridge = |who: &str| named(who).by("bridge");
    vec![
        named("guest").by("guest"),
        named("suspended").by("suspended"),
        named("shadow").by("shadow"),
        named("locked").by("locked"),
        bridge("puppet").query("user_id", "<@puppet>"),
        bridge("sender"),
        bridge("alice").query("user_id", "<@alice>"),
        bridge("unknown puppet").query("user_id", "@bridge_none:myelin.test"),
    ]
}

pub fn rows() -> Vec<Row> {
    let row = |method: fn(&str, &str) -> Row, area: &str, path: &str| {
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        let row = method(&format!("{area}/{path}"), &format!("/_matrix/client/{bare}")).status(0);
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.fold(row, |row, (name, value)| row.query(name, value))
    };
    let mut rows: Vec<Row> = READS.iter().flat_map(|(area, path)| askers(&row(get, area, path))).collect();
    rows.extend(posts().iter().flat_map(|(area, path, body)| askers(&row(post, area, path).json(body))));
    for (method, path, body) in writes() {
        let who = if path.contains("<@suspended>") || path.contains("suspended>") { "suspended" } else { "shadow" };
        let row = row(get, "punished", &path).by(who).json(&body);
        rows.push(Row { method: method.to_owned(), name: format!("punished/{method} {path}"), ..row });
    }
    rows
}
