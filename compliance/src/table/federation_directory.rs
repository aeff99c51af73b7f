//! What other servers find here: spaces and the public list.

use serde_json::{Value, json};

use crate::row::{Row, get, post};

const SERVERS: [&str; 5] = ["other.test", "third.test", "left.test", "acl.test", "myelin.test"];

fn hierarchy(name: &str, room: &str) -> Row {
    get(&format!("fed_hierarchy/{name}"), &format!("/_matrix/federation/v1/hierarchy/{room}"))
}

fn list(name: &str) -> Row {
    get(&format!("fed_public_rooms/{name}"), "/_matrix/federation/v1/publicRooms")
}

fn search(name: &str, body: &Value) -> Row {
    post(&format!("fed_public_rooms/search {name}"), "/_matrix/federation/v1/publicRooms")
        .json(body)
        .signed("other.test")
}

pub fn rows() -> Vec<Row> {
    [hierarchies(), lists(), searches()].into_iter().flatten().collect()
}

fn hierarchies() -> Vec<Row> {
    let mut rows = Vec::new();
    for server in SERVERS {
        for room in ["fed space", "fed world", "tree", "wide"] {
            let row = hierarchy(&format!("{room}, {server}"), &format!("<{room}>")).signed(server);
            rows.push(row.has("/room/children_state").has("/inaccessible_children"));
        }
        for room in ["fed restricted", "fed knock", "fed early", "fed asked", "fed den", "secret", "far space"] {
            rows.push(hierarchy(&format!("{room}, {server}"), &format!("<{room}>")).signed(server).status(0));
        }
        let suggested = hierarchy(&format!("suggested, {server}"), "<fed space>").query("suggested_only", "true");
        rows.push(suggested.signed(server).has("/children/1"));
    }
    let by = |row: Row| row.signed("other.test");
    rows.extend([
        by(hierarchy("who is invited", "<fed asked>")).signed("third.test").has("/room/join_rule"),
        by(hierarchy("who may join", "<fed restricted>")).has("/room/allowed_room_ids"),
        by(hierarchy("who may knock", "<fed knock>")).status(404),
        by(hierarchy("ours alone", "<fed den>")).status(404),
        by(hierarchy("unknown", "%21unknown%3Aother.test")).status(404),
        by(hierarchy("no room", "x")).status(404),
        by(hierarchy("all", "<fed space>").query("suggested_only", "false")).has("/children/4"),
        by(hierarchy("odd", "<fed space>").query("suggested_only", "1")).status(400),
        hierarchy("unsigned", "<fed space>").status(401),
    ]);
    rows
}

fn lists() -> Vec<Row> {
    let by = |row: Row| row.signed("other.test");
    let mut rows: Vec<Row> =
        SERVERS.into_iter().map(|server| list(&format!("all, {server}")).signed(server).has("/chunk/4")).collect();
    rows.extend([
        by(list("limited").query("limit", "2")).keep("fed public:next", "/next_batch"),
        by(list("next page").query("limit", "2").query("since", "<fed public:next>"))
            .keep("fed public:prev", "/prev_batch"),
        by(list("page before").query("limit", "1").query("since", "<fed public:prev>")).has("/next_batch"),
        by(list("last page").query("limit", "50").query("since", "<fed public:next>")).has("/prev_batch"),
        // Whoever is kept out of some has pages that end elsewhere.
        list("banned from some").query("limit", "3").signed("third.test").keep("fed banned:1", "/next_batch"),
        list("banned from some, on")
            .query("limit", "3")
            .query("since", "<fed banned:1>")
            .signed("third.test")
            .keep("fed banned:2", "/next_batch"),
        list("banned from some, further")
            .query("limit", "5")
            .query("since", "<fed banned:2>")
            .signed("third.test")
            .keep("fed banned:3", "/prev_batch"),
        list("banned from some, back")
            .query("limit", "2")
            .query("since", "<fed banned:3>")
            .signed("third.test")
            .has("/next_batch"),
        by(list("no limit").query("limit", "0")),
        by(list("odd limit").query("limit", "x")).status(400),
        by(list("negative limit").query("limit", "-1")).status(400),
        by(list("empty token").query("since", "")),
        by(list("bad token").query("since", "x")).status(500).passed_on(),
        by(list("all networks").query("include_all_networks", "true")),
        by(list("all networks, and one").query("include_all_networks", "true").query("third_party_instance_id", "x")),
        by(list("odd networks").query("include_all_networks", "1")).status(400),
        by(list("a network").query("third_party_instance_id", "bridge|irc")),
        by(list("an empty network").query("third_party_instance_id", "")),
        by(list("a bad network").query("third_party_instance_id", "irc")).status(400).passed_on(),
        list("unsigned").status(401),
    ]);
    rows
}

fn searches() -> Vec<Row> {
    let term = |term: &str| json!({"filter": {"generic_search_term": term}});
    vec![
        search("nothing", &json!({})).has("/chunk/0"),
        search("name", &term("LISTED")).has("/chunk/3"),
        search("name, banned from some", &term("LISTED")).signed("third.test").has("/chunk/1"),
        search("what is not federated", &term("home alone")),
        search("types", &json!({"filter": {"room_types": ["m.space"]}})).has("/chunk/0/room_type"),
        search("null filter", &json!({"filter": null, "since": null})),
        search("limit", &json!({"limit": 1})).keep("fed public:search", "/next_batch"),
        search("next page", &json!({"limit": 1, "since": "<fed public:search>"})).has("/prev_batch"),
        search("no limit", &json!({"limit": 0})),
        search("many", &json!({"limit": 1000})),
        search("text as limit", &json!({"limit": "2"})).passed_on(),
        search("odd limit", &json!({"limit": null})).status(500).passed_on(),
        search("all networks", &json!({"include_all_networks": true})),
        search("a network", &json!({"third_party_instance_id": "bridge|irc"})),
        search("both", &json!({"include_all_networks": true, "third_party_instance_id": "bridge|irc"})).status(400),
        search("odd filter", &json!({"filter": []})).passed_on(),
    ]
}
