//! `/publicRooms`, `/room_summary`, `/rooms/{room_id}/hierarchy` and `/user_directory/search`.

use serde_json::{Value, json};

use crate::row::{Row, get, post};

fn list(name: &str) -> Row {
    get(&format!("public_rooms/{name}"), "/_matrix/client/v3/publicRooms")
}

fn search(name: &str, body: &Value) -> Row {
    post(&format!("public_rooms/search {name}"), "/_matrix/client/v3/publicRooms").by("bob").json(body)
}

fn summary(name: &str, room: &str) -> Row {
    get(&format!("room_summary/{name}"), &format!("/_matrix/client/v1/room_summary/{room}"))
}

/// One asker gets ten pages at once.
fn hierarchy(name: &str, room: &str) -> Row {
    get(&format!("hierarchy/{name}"), &format!("/_matrix/client/v1/rooms/{room}/hierarchy"))
}

fn find(name: &str, body: &Value) -> Row {
    post(&format!("user_directory/{name}"), "/_matrix/client/v3/user_directory/search").by("bob").json(body)
}

pub fn rows() -> Vec<Row> {
    [lists(), searches(), summaries(), hierarchies(), users()].into_iter().flatten().collect()
}

fn lists() -> Vec<Row> {
    vec![
        list("all").by("bob").has("/chunk/4"),
        list("guest").by("guest"),
        list("puppet").by("bridge").query("user_id", "<@puppet>"),
        list("nobody").status(401),
        list("bad token").token("nonsense").status(401),
        list("locked").by("locked").status(401),
        list("limited").by("bob").query("limit", "2").keep("public:next", "/next_batch"),
        list("next page")
            .by("bob")
            .query("limit", "2")
            .query("since", "<public:next>")
            .keep("public:prev", "/prev_batch"),
        list("page before").by("bob").query("limit", "1").query("since", "<public:prev>").has("/next_batch"),
        list("last page").by("bob").query("limit", "50").query("since", "<public:next>").has("/prev_batch"),
        list("no limit").by("bob").query("limit", "0"),
        list("odd limit").by("bob").query("limit", "x").status(400),
        list("negative limit").by("bob").query("limit", "-1").status(400),
        list("empty token").by("bob").query("since", ""),
        list("bad token of a page").by("bob").query("since", "x").status(500).passed_on(),
        list("our own server").by("bob").query("server", "myelin.test"),
        list("bad server").by("bob").query("server", "a b").status(400),
        list("server not ASCII").by("bob").query("server", "\u{e4}").status(400),
    ]
}

fn searches() -> Vec<Row> {
    let term = |term: &str| json!({"filter": {"generic_search_term": term}});
    vec![
        search("nothing", &json!({})).has("/chunk/0"),
        search("name", &term("FIND")).has("/chunk/0/avatar_url"),
        search("topic and alias", &term("needle")).has("/chunk/1"),
        search("wildcards", &term("f_nd%me")),
        search("no such room", &term("zzz")),
        search("empty term", &term("")),
        search("null filter", &json!({"filter": null, "since": null})),
        search("types", &json!({"filter": {"room_types": ["m.space"]}})).has("/chunk/0/room_type"),
        search("no types", &json!({"filter": {"room_types": []}})),
        search("untyped", &json!({"filter": {"room_types": [null]}})),
        search("all types", &json!({"filter": {"room_types": [null, "m.space", "x"]}})),
        search("limit", &json!({"limit": 1})).keep("public:search", "/next_batch"),
        search("next page", &json!({"limit": 1, "since": "<public:search>"})).has("/prev_batch"),
        search("no limit", &json!({"limit": 0})),
        search("many", &json!({"limit": 1000})),
        search("all networks", &json!({"include_all_networks": true})),
        search("a network", &json!({"third_party_instance_id": "bridge|irc"})),
        search("an empty network", &json!({"third_party_instance_id": "|irc"})),
        search("a bad network", &json!({"third_party_instance_id": "irc"})).status(400).passed_on(),
        search("both networks", &json!({"third_party_instance_id": "a|b", "include_all_networks": true})).status(400),
        search("negative limit", &json!({"limit": -1})).passed_on(),
        search("text limit", &json!({"limit": "2"})).passed_on(),
        search("guest", &json!({})).by("guest"),
        search("bad server", &json!({})).query("server", "a b").status(400),
        post("public_rooms/search nobody", "/_matrix/client/v3/publicRooms").json(&json!({})).status(401),
        post("public_rooms/search no JSON", "/_matrix/client/v3/publicRooms").by("bob").body(b"{").status(400),
        post("public_rooms/search no object", "/_matrix/client/v3/publicRooms").by("bob").body(b"[]").status(400),
    ]
}

fn summaries() -> Vec<Row> {
    let mut rows = vec![
        summary("joined", "<general>").by("bob").has("/membership"),
        summary("older", "").by("bob").at("/_matrix/client/unstable/im.nheko.summary/summary/<general>"),
        summary("oldest", "").by("bob").at("/_matrix/client/unstable/im.nheko.summary/rooms/<general>/summary"),
        summary("alias", "%23general:myelin.test").by("bob").has("/room_id"),
        summary("alias for nobody", "%23general:myelin.test"),
        summary("unknown alias", "%23nothing:myelin.test").by("bob").status(404),
        summary("nobody", "<general>").has("/join_rule"),
        summary("nobody, private", "<secret>").status(404),
        summary("nobody, knock", "<knock>"),
        summary("bad token", "<general>").token("nonsense").status(401),
        summary("mixed tokens", "<general>").by("bob").query("access_token", "x"),
        summary("locked", "<general>").by("locked").status(401),
        summary("guest", "<general>").by("guest"),
        summary("puppet", "<general>").by("bridge").query("user_id", "<@puppet>"),
        summary("invited", "<open invite>").by("bob").has("/membership"),
        summary("banned", "<banned>").by("bob").status(404),
        summary("left", "<left>").by("bob").status(404),
        summary("restricted, allowed", "<restricted>").by("carol").has("/allowed_room_ids"),
        summary("restricted, not allowed", "<restricted>").by("judy").status(404),
        summary("encrypted", "<secret>").by("alice").has("/encryption"),
        summary("with via", "<general>").by("bob").query("via", "x"),
        summary("unknown", "!nothing:myelin.test").by("bob").status(400),
        summary("unknown with via", "!nothing:myelin.test")
            .by("bob")
            .query("via", "myelin.test")
            .status(404)
            .passed_on(),
        summary("via not ASCII", "<general>").by("bob").query("via", "\u{e4}").status(400),
        summary("no id", "general").by("bob").status(400),
        summary("a user", "<@bob>").by("bob").status(400),
        summary("empty", "").by("bob").status(400),
    ];
    for room in ["v6", "v10", "v12", "world_readable", "joined", "unnamed", "space", "old", "upgraded", "busy", "dm"] {
        rows.push(summary(&format!("of {room}"), &format!("<{room}>")).by("carol").status(0));
    }
    rows
}

fn hierarchies() -> Vec<Row> {
    vec![
        hierarchy("tree", "<tree>").by("alice").has("/rooms/3/children_state"),
        hierarchy("for another", "<tree>").by("bob").has("/rooms/1"),
        hierarchy("for an outsider", "<tree>").by("judy"),
        hierarchy("guest", "<tree>").by("guest"),
        hierarchy("puppet", "<tree>").by("bridge").query("user_id", "<@puppet>"),
        hierarchy("depth 0", "<tree>").by("alice").query("max_depth", "0"),
        hierarchy("depth 1", "<tree>").by("alice").query("max_depth", "1"),
        hierarchy("suggested", "<tree>").by("alice").query("suggested_only", "true"),
        hierarchy("limit", "<tree>").by("alice").query("limit", "2").has("/next_batch"),
        hierarchy("limit 0", "<tree>").by("alice").query("limit", "0").has("/next_batch"),
        hierarchy("wide", "<wide>").by("carol").has("/rooms/3"),
        hierarchy("no space", "<general>").by("carol").has("/rooms/0"),
        hierarchy("a private room", "<secret>").by("carol").status(403),
        hierarchy("banned", "<banned>").by("grace").status(403),
        hierarchy("unknown", "!nothing:myelin.test").by("grace").status(403),
        hierarchy("elsewhere", "<far space>").by("grace").passed_on(),
        hierarchy("elsewhere, but not that deep", "<far space>").by("grace").query("max_depth", "0"),
        hierarchy("empty token", "<tree>").by("heidi").query("from", ""),
        hierarchy("unknown token", "<tree>").by("heidi").query("from", "x").status(400),
        hierarchy("odd depth", "<tree>").by("heidi").query("max_depth", "x").status(400),
        hierarchy("negative depth", "<tree>").by("heidi").query("max_depth", "-1").status(400),
        hierarchy("odd limit", "<tree>").by("heidi").query("limit", "x").status(400),
        hierarchy("odd flag", "<tree>").by("heidi").query("suggested_only", "1").status(400),
        hierarchy("nobody", "<tree>").status(401),
        hierarchy("locked", "<tree>").by("locked").status(401),
        hierarchy("first page", "<tree>").by("ivan").query("limit", "1").keep("tree:next", "/next_batch"),
        hierarchy("next page", "<tree>").by("ivan").query("limit", "1").query("from", "<tree:next>").has("/rooms/0"),
        hierarchy("the rest", "<tree>").by("ivan").query("from", "<tree:next>").has("/rooms/0"),
        hierarchy("another depth", "<tree>")
            .by("ivan")
            .query("max_depth", "1")
            .query("from", "<tree:next>")
            .status(400),
        hierarchy("another's token", "<tree>").by("judy").query("from", "<tree:next>").status(400),
    ]
}

fn users() -> Vec<Row> {
    let term = |term: &str| json!({ "search_term": term });
    vec![
        find("by name", &term("alice")).has("/results/0"),
        find("by the beginning", &term("AL")).has("/results/0"),
        find("by id", &term("@carol:myelin.test")).has("/results/0"),
        find("by display name", &term("the builder")),
        find("server", &term("myelin.test")).has("/results/3"),
        find("one", &json!({"search_term": "myelin", "limit": 1})).has("/results/0"),
        find("none", &json!({"search_term": "myelin", "limit": 0})),
        find("negative", &json!({"search_term": "myelin", "limit": -3})),
        find("many", &json!({"search_term": "myelin", "limit": 1000})),
        find("no such user", &term("zzz")),
        find("punctuation", &term("it's (a) & !b | c:* \\ a-b_c.d")),
        find("only punctuation", &term("& | ! :*")),
        find("empty", &term("")),
        find("a symbol", &term("\u{2764}")),
        find("Japanese", &term("\u{5c71}\u{7530}\u{592a}\u{90ce}")),
        find("a Japanese family", &term("\u{5c71}\u{7530}")).has("/results/0"),
        find("Thai", &term("สมชาย")).has("/results/0"),
        find("a Thai beginning", &term("สม")),
        find("accents", &term("élodie")).has("/results/0"),
        find("accents in capitals", &term("ÉLODIE D’ÉTÉ")).has("/results/0"),
        find("accents composed of two", &term("E\u{301}lodie")).has("/results/0"),
        find("no accents", &term("elodie été")),
        find("emoji", &term("\u{1f600} smile_y")).has("/results/0"),
        find("between emoji", &term("a\u{1f600}smile_y")),
        find("quotes", &term("o’neil “q”")),
        find("straight quotes", &term("o'neil \"q\"")),
        find("compatible characters", &term("①")).has("/results/0"),
        find("Arabic", &term("د.محمد")),
        find("Hangul", &term("김철수")).has("/results/0"),
        find("sharp s", &term("STRASSE straße")),
        find("very long", &term(&"a".repeat(5000))).status(0).passed_on(),
        find("many words", &term("一 二 三 四 五 六 七 八 九 十 百 千 山田")),
        find("locked", &term("locked")),
        find("by one without rooms", &term("alice")).by("judy"),
        find("puppet", &term("alice")).by("bridge").query("user_id", "<@puppet>"),
        find("guest", &term("alice")).by("guest").status(403),
        find("text limit", &json!({"search_term": "alice", "limit": "3"})).passed_on(),
        find("no term", &json!({})).status(400),
        find("odd term", &json!({"search_term": 5})).status(500).passed_on(),
        find("no object", &json!([])).status(400),
        post("user_directory/nobody", "/_matrix/client/v3/user_directory/search").json(&term("a")).status(401),
        post("user_directory/no JSON", "/_matrix/client/v3/user_directory/search").by("bob").body(b"x").status(400),
    ]
}
