//! Questions of a scenario to the native routes other than /sync.

#![expect(clippy::unnecessary_wraps, reason = "all questions stand in one table: some are not always possible")]

use serde_json::{Map, Value, json};

use super::rare;
use super::step::Ask;
use super::world::{DEVICES, USERS, World};

/// Of a hundred questions, how many are spoiled.
const ODD: usize = 10;

pub type Make = fn(&mut World, &str) -> Option<Ask>;

#[rustfmt::skip]
const ROUTES: [(usize, Make); 13] = [
    (6, members), (5, state), (5, event), (1, joined_rooms), (6, history), (5, relations), (3, of_the_room), (6, own), (2, users),
    (3, lists), (3, keys), (1, server), (26, rare::any),
];

pub fn other(world: &mut World) -> Option<Ask> {
    let by = world.random.one(DEVICES);
    let ask = world.random.weighted(&ROUTES)(world, by)?;
    Some(if world.random.percent(ODD) { spoil(world, ask) } else { ask })
}

/// With one thing in it that no client would ask for on purpose.
fn spoil(world: &mut World, mut ask: Ask) -> Ask {
    const VALUES: [&str; 20] = [
        "",
        "x",
        "-1",
        "0",
        "99999999999999999999",
        "s",
        "t1-",
        "t-1-1",
        "s1_",
        "s1",
        "m1~2.3",
        "t5-5_0_0_0_0_0_0_0_0_0_0_0",
        "s999999_0_0_0_0_0_0_0_0_0_0_0",
        "tsx",
        "1/x",
        "true",
        "null",
        "{}",
        "[",
        "\u{e4}\u{1f600}",
    ];
    const SEGMENTS: [&str; 7] =
        ["x", "!nothing:myelin.test", "$nothing", "@nobody:myelin.test", "@a:other.test", "%20", "%F0%9F%98%80"];
    ask.odd = true;
    let value = world.random.one(VALUES);
    if ask.body.is_some() && world.random.percent(50) {
        ask.body = Some(
            world
                .random
                .pick(&[
                    json!(null),
                    json!([]),
                    json!({}),
                    json!({"limit": "x"}),
                    json!({"search_categories": {"room_events": {"search_term": 5}}}),
                    json!({"device_keys": {"x": []}}),
                    json!({"filter": {"room_types": 5}}),
                ])
                .cloned()
                .unwrap_or_default(),
        );
    } else if let Some(at) = (!ask.query.is_empty()).then(|| world.random.below(ask.query.len())) {
        value.clone_into(&mut ask.query[at].1);
        if ask.query[at].0 == "dir" {
            // Its error lists what is allowed in the order of a set.
            ask.name = format!("{}/dir", ask.name.split('/').next().unwrap_or_default());
        }
    } else {
        let segment = world.random.one(SEGMENTS);
        let mut segments: Vec<&str> = ask.path.split('/').collect();
        let at = world.random.below(segments.len());
        segments[at] = segment;
        ask.path = segments.join("/");
        if ask.name == "presence/of oneself" {
            "presence/of another".clone_into(&mut ask.name);
        }
    }
    ask
}

/// Mostly a room of which something is known.
pub fn room(world: &mut World) -> Option<String> {
    world.room().map(|at| world.rooms[at].name.clone())
}

/// A room and one of its events.
pub fn pick(world: &mut World) -> Option<(String, String)> {
    let room = world.room()?;
    let event = world.random.pick(&world.rooms[room].events)?.clone();
    Some((world.rooms[room].name.clone(), event))
}

/// After some step.
pub fn token(world: &mut World) -> String {
    format!("<t{}>", world.random.below(world.number + 1))
}

fn members(world: &mut World, by: &str) -> Option<Ask> {
    let path = format!("v3/rooms/<{}>/members", room(world)?);
    Some(match world.random.below(5) {
        0 => Ask::new("members/all", by, path),
        1..=2 => Ask::new("members/at", by, path).query("at", &token(world)),
        3 => Ask::new("members/not left", by, path).query("not_membership", "leave"),
        _ => Ask::new("joined_members/all", by, path.replace("/members", "/joined_members")),
    })
}

fn state(world: &mut World, by: &str) -> Option<Ask> {
    let path = format!("v3/rooms/<{}>/state", room(world)?);
    Some(match world.random.below(4) {
        0 => Ask::new("state/all", by, path),
        1..=2 => {
            let key = world.random.one(["m.room.name", "my.state/key", "m.room.power_levels", "m.room.member/<@b>"]);
            Ask::new("state_event/one", by, format!("{path}/{key}"))
        }
        _ => Ask::new("state_event/event", by, format!("{path}/m.room.create")).query("format", "event"),
    })
}

fn event(world: &mut World, by: &str) -> Option<Ask> {
    let (room, event) = pick(world)?;
    Some(Ask::new("event/one", by, format!("v3/rooms/<{room}>/event/<{event}>")))
}

fn joined_rooms(_: &mut World, by: &str) -> Option<Ask> {
    Some(Ask::new("joined_rooms/all", by, "v3/joined_rooms"))
}

/// What came before and after something.
fn history(world: &mut World, by: &str) -> Option<Ask> {
    let limit = world.random.one(["1", "3", "10", "50"]);
    let filter = world.random.one([
        "",
        "",
        r#"{"lazy_load_members":true}"#,
        r#"{"types":["m.room.message"]}"#,
        r#"{"related_by_rel_types":["m.thread"]}"#,
        r#"{"contains_url":true}"#,
    ]);
    let ask = if world.random.percent(60) {
        let dir = world.random.one(["b", "b", "f"]);
        let mut ask = Ask::new("messages/one page", by, format!("v3/rooms/<{}>/messages", room(world)?));
        ask = ask.query("dir", dir);
        if world.random.percent(60) {
            ask = ask.query("from", &token(world));
        }
        if world.random.percent(20) { ask.query("to", &token(world)) } else { ask }
    } else {
        let (room, event) = pick(world)?;
        Ask::new("context/of one", by, format!("v3/rooms/<{room}>/context/<{event}>"))
    };
    let ask = ask.query("limit", limit);
    Some(if filter.is_empty() { ask } else { ask.query("filter", filter) })
}

fn relations(world: &mut World, by: &str) -> Option<Ask> {
    let (room, event) = pick(world)?;
    let limit = world.random.one(["1", "2", "20"]);
    if world.random.percent(35) {
        // Not those alone in which the asker takes part: Python forgets to forget who did not.
        return Some(Ask::new("threads/some", by, format!("v1/rooms/<{room}>/threads")).query("limit", limit));
    }
    let roots = world.rooms.iter().find(|known| known.name == room).map(|known| known.roots.clone());
    let root = world.random.pick(&roots.unwrap_or_default()).cloned();
    let kind = world.random.one(["", "", "/m.thread", "/m.annotation", "/m.replace", "/m.reference"]);
    let path = format!("v1/rooms/<{room}>/relations/<{}>{kind}", root.unwrap_or(event));
    let ask = Ask::new("relations/some", by, path).query("limit", limit);
    let ask = ask.query("dir", world.random.one(["b", "b", "f"]));
    Some(if world.random.percent(30) { ask.query("recurse", "true") } else { ask })
}

fn of_the_room(world: &mut World, by: &str) -> Option<Ask> {
    let room = room(world)?;
    if world.random.percent(30) {
        return Some(Ask::new("aliases/all", by, format!("v3/rooms/<{room}>/aliases")));
    }
    let time = format!("<time:t{}>", world.random.below(world.number + 1));
    let ask = Ask::new("timestamp_to_event/some", by, format!("v1/rooms/<{room}>/timestamp_to_event"));
    Some(ask.query("ts", &time).query("dir", world.random.one(["b", "f"])))
}

/// What is the asker's alone.
fn own(world: &mut World, by: &str) -> Option<Ask> {
    let user = format!("v3/user/<@{}>", &by[..1]);
    let kind = world.random.one(["my.settings", "my.other", "m.direct", "m.ignored_user_list", "m.push_rules"]);
    Some(match world.random.below(11) {
        0 => Ask::new("account_data/global", by, format!("{user}/account_data/{kind}")),
        1 => {
            let kind = world.random.one(["my.settings", "my.other", "m.fully_read", "m.tag"]);
            Ask::new("account_data/of a room", by, format!("{user}/rooms/<{}>/account_data/{kind}", room(world)?))
        }
        2 => Ask::new("tags/all", by, format!("{user}/rooms/<{}>/tags", room(world)?)),
        3 => Ask::new("push_rules/all", by, "v3/pushrules/"),
        4 => Ask::new("devices/all", by, "v3/devices"),
        5 => Ask::new("devices/one", by, format!("v3/devices/<device:{}>", world.device_of(&by[..1]))),
        6..=7 => {
            let ask = Ask::new("notifications/all", by, "v3/notifications");
            let ask = ask.query("limit", world.random.one(["2", "50"]));
            if world.random.percent(30) { ask.query("only", "highlight") } else { ask }
        }
        8 => Ask::new("presence/of oneself", by, format!("v3/presence/<@{}>/status", &by[..1])),
        9 => {
            let path = world.random.one(["", "/<r1.1>"]);
            Ask::new("room_keys/some", by, format!("v3/room_keys/keys{path}")).query("version", "1")
        }
        _ => Ask::new("room_keys/version", by, "v3/room_keys/version"),
    })
}

fn users(world: &mut World, by: &str) -> Option<Ask> {
    let user = world.user();
    let field = world.random.one(["", "/displayname", "/avatar_url"]);
    Some(if world.random.percent(75) {
        Ask::new("profile/of one", by, format!("v3/profile/<@{user}>{field}"))
    } else {
        Ask::new("whoami/user", by, "v3/account/whoami")
    })
}

/// Of rooms and people, for whoever looks for some.
fn lists(world: &mut World, by: &str) -> Option<Ask> {
    Some(match world.random.below(5) {
        0 => Ask::new("public_rooms/all", by, "v3/publicRooms").query("limit", world.random.one(["1", "3", "100"])),
        1 => {
            let filters = [json!({}), json!({"generic_search_term": "name"}), json!({"room_types": [null]})];
            let filter = world.random.pick(&filters);
            let body = json!({"limit": 5, "filter": filter});
            Ask::new("public_rooms/search", by, "v3/publicRooms").body(body)
        }
        2 => Ask::new("room_summary/of one", by, format!("v1/room_summary/<{}>", room(world)?)),
        3 => {
            let ask = Ask::new("hierarchy/of one", by, format!("v1/rooms/<{}>/hierarchy", room(world)?));
            ask.query("limit", world.random.one(["1", "10"]))
        }
        _ => {
            // So that few are found: of many that are equally good the database gives any.
            let term = world.random.one(["a_of_<play>", "of_<play>", "<@c>", "nobody"]);
            let body = json!({"search_term": term, "limit": 50});
            Ask::new("user_directory/some", by, "v3/user_directory/search").body(body)
        }
    })
}

fn keys(world: &mut World, by: &str) -> Option<Ask> {
    if world.random.percent(40) {
        let (from, to) = (token(world), token(world));
        return Some(Ask::new("keys_changes/some", by, "v3/keys/changes").query("from", &from).query("to", &to));
    }
    let mut of = Map::new();
    for user in USERS {
        let devices = match world.random.below(3) {
            0 => continue,
            1 => json!([]),
            _ => json!([format!("<device:{}>", world.device_of(user))]),
        };
        of.insert(format!("<@{user}>"), devices);
    }
    Some(Ask::new("keys_query/some", by, "v3/keys/query").body(json!({"device_keys": Value::Object(of)})))
}

/// What does not depend on anything that was done.
fn server(world: &mut World, by: &str) -> Option<Ask> {
    let path = world.random.one(["v3/capabilities", "versions", "v3/login", "v3/voip/turnServer", "v3/account/3pid"]);
    let name = match path {
        "v3/voip/turnServer" => "turn_server/scenario",
        _ => "server/some",
    };
    Some(Ask::new(name, by, path))
}
