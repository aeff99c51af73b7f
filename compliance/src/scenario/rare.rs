//! Questions of a scenario to the native routes that clients ask now and then, with what is meant for something else.

#![expect(clippy::unnecessary_wraps, reason = "all questions stand in one table: some are not always possible")]

use serde_json::{Value, json};

use super::routes::{Make, pick, room, token};
use super::step::Ask;
use super::world::{ADMIN, World};

#[rustfmt::skip]
const ROUTES: [(usize, Make); 13] = [
    (6, search), (4, initial_sync), (3, event_anywhere), (4, mixed_up), (5, pages), (3, thread_subscriptions),
    (2, delayed_events), (3, push_rules), (3, profile_fields), (3, backups), (2, admin), (3, lists),
    (3, events),
];

pub fn any(world: &mut World, by: &str) -> Option<Ask> {
    world.random.weighted(&ROUTES)(world, by)
}

fn search(world: &mut World, by: &str) -> Option<Ask> {
    let term = world.random.one([
        "message",
        "message -nobody",
        "\"for all\"",
        "edit",
        "reply or refers",
        "nothing",
        "name",
        "\u{2764}",
    ]);
    // By rank the database gives those that are equally good in any order.
    let mut events = json!({"search_term": term, "order_by": "recent"});
    match world.random.below(7) {
        0 => events["event_context"] = json!({"before_limit": 1, "after_limit": 2, "include_profile": true}),
        1 => events["include_state"] = true.into(),
        2 => events["groupings"] = json!({"group_by": [{"key": world.random.one(["room_id", "sender"])}]}),
        3 => events["keys"] = json!([world.random.one(["content.body", "content.name", "content.topic"])]),
        _ => {}
    }
    let limit = world.random.one([1, 3, 10]);
    events["filter"] = match world.random.below(5) {
        0 => json!({"limit": limit, "rooms": [format!("<{}>", room(world)?)]}),
        1 => json!({"limit": limit, "senders": [format!("<@{}>", world.user())]}),
        2 => json!({"limit": limit, "not_rooms": [format!("<{}>", room(world)?)], "types": ["m.room.message"]}),
        _ => json!({ "limit": limit }),
    };
    let ask = Ask::new("search/some", by, "v3/search").body(json!({"search_categories": {"room_events": events}}));
    let name = format!("search:{by}");
    Some(if world.random.percent(30) {
        ask.query("next_batch", &format!("<{name}>"))
    } else {
        Ask { keep: Some((name, "/search_categories/room_events/next_batch".to_owned())), ..ask }
    })
}

/// Not of one room: to a Python worker that is what the user's next /sync is about, too.
fn events(world: &mut World, by: &str) -> Option<Ask> {
    let ask = Ask::new("events/since", by, "v3/events").query("timeout", "0").query("from", &token(world));
    Some(if world.random.percent(30) { ask.query("limit", "3") } else { ask })
}

fn initial_sync(world: &mut World, by: &str) -> Option<Ask> {
    let limit = world.random.one(["0", "1", "5", "30"]);
    let ask = if world.random.percent(65) {
        Ask::new("initial_sync/of a room", by, format!("v3/rooms/<{}>/initialSync", room(world)?))
    } else {
        let ask = Ask::new("initial_sync/of all", by, "v3/initialSync");
        if world.random.percent(30) { ask.query("archived", "true") } else { ask }
    };
    Some(ask.query("limit", limit))
}

fn event_anywhere(world: &mut World, by: &str) -> Option<Ask> {
    let (_, event) = pick(world)?;
    Some(Ask::new("event_anywhere/one", by, format!("v3/events/<{event}>")))
}

/// An event that is another room's.
fn mixed_up(world: &mut World, by: &str) -> Option<Ask> {
    let (room, (_, event)) = (room(world)?, pick(world)?);
    Some(match world.random.below(4) {
        0 => Ask::new("event/elsewhere", by, format!("v3/rooms/<{room}>/event/<{event}>")),
        1 => Ask::new("context/elsewhere", by, format!("v3/rooms/<{room}>/context/<{event}>")),
        2 => Ask::new("relations/elsewhere", by, format!("v1/rooms/<{room}>/relations/<{event}>")),
        _ => Ask::new("thread_subscriptions/elsewhere", by, subscription(&room, &event)),
    })
}

/// From where an earlier answer ended, which may have been another room's, another route's, or to somebody else.
fn pages(world: &mut World, by: &str) -> Option<Ask> {
    let (room, event) = pick(world)?;
    let limit = world.random.one(["0", "1", "3", "1000"]);
    let dir = world.random.one(["b", "f"]);
    let (ask, end) = match world.random.below(4) {
        0..=1 => (Ask::new("messages/next page", by, format!("v3/rooms/<{room}>/messages")).query("dir", dir), "/end"),
        2 => {
            let path = format!("v1/rooms/<{room}>/relations/<{event}>");
            (Ask::new("relations/next page", by, path).query("dir", dir), "/next_batch")
        }
        _ => (Ask::new("threads/next page", by, format!("v1/rooms/<{room}>/threads")), "/next_batch"),
    };
    let page = format!("page{}", world.random.below(3));
    let mut ask = ask.query("limit", limit);
    ask = match world.random.below(5) {
        0..=1 => ask.query("from", &format!("<{page}>")),
        2 => ask.query("from", &token(world)),
        _ => ask,
    };
    Some(Ask { keep: Some((page, end.to_owned())), ..ask })
}

pub fn subscription(room: &str, root: &str) -> String {
    format!("unstable/io.element.msc4306/rooms/<{room}>/thread/<{root}>/subscription")
}

fn thread_subscriptions(world: &mut World, by: &str) -> Option<Ask> {
    if world.random.percent(40) {
        let limit = world.random.one(["1", "10"]);
        let ask = Ask::new("thread_subscriptions/all", by, "unstable/io.element.msc4308/thread_subscriptions");
        return Some(ask.query("dir", "b").query("limit", limit));
    }
    let at = world.room()?;
    let root = world.random.pick(&world.rooms[at].roots)?.clone();
    Some(Ask::new("thread_subscriptions/one", by, subscription(&world.rooms[at].name, &root)))
}

fn delayed_events(world: &mut World, by: &str) -> Option<Ask> {
    let path = "unstable/org.matrix.msc4140/delayed_events";
    if world.random.percent(50) {
        return Some(Ask::new("delayed_events/all", by, path));
    }
    let id = world.random.pick(&world.delayed)?.clone();
    Some(Ask::new("delayed_events/one", by, format!("{path}/<{id}>")))
}

fn push_rules(world: &mut World, by: &str) -> Option<Ask> {
    let kind = world.random.one(["override", "content", "room", "sender", "underride", "device", ""]);
    let rule = world.random.one(["all", ".m.rule.master", ".m.rule.message", ""]);
    let attribute = world.random.one(["", "/enabled", "/actions", "/conditions", "/x"]);
    let path = match world.random.below(4) {
        0 => "global/".to_owned(),
        1 => format!("global/{kind}/"),
        2 => format!("global/room/<{}>{attribute}", room(world)?),
        _ => format!("global/{kind}/{rule}{attribute}"),
    };
    Some(Ask::new("push_rules/some", by, format!("v3/pushrules/{path}")))
}

fn profile_fields(world: &mut World, by: &str) -> Option<Ask> {
    let field = world.random.one(["org.example.mood", "m.tz", "displayname", "avatar_url", "nothing"]);
    let version = world.random.one(["v3", "v3", "r0"]);
    Some(Ask::new("profile/a field", by, format!("{version}/profile/<@{}>/{field}", world.user())))
}

fn backups(world: &mut World, by: &str) -> Option<Ask> {
    let session = world.random.one(["", "/session0", "/session2"]);
    let version = world.random.one(["1", "1", "2", "0"]);
    Some(match world.random.below(4) {
        0 => Ask::new("room_keys/of a version", by, format!("v3/room_keys/version/{version}")),
        1 => Ask::new("room_keys/all", by, "v3/room_keys/keys").query("version", version),
        _ => {
            let path = format!("v3/room_keys/keys/<{}>{session}", room(world)?);
            Ask::new("room_keys/of a room", by, path).query("version", version)
        }
    })
}

/// Mostly of somebody who may.
fn admin(world: &mut World, by: &str) -> Option<Ask> {
    let by = if world.random.percent(75) { ADMIN } else { by };
    Some(if world.random.percent(50) {
        Ask::new("admin/room", by, format!("/_synapse/admin/v1/rooms/<{}>", room(world)?))
    } else {
        Ask::new("admin/user", by, format!("/_synapse/admin/v2/users/<@{}>", world.user()))
    })
}

fn lists(world: &mut World, by: &str) -> Option<Ask> {
    Some(match world.random.below(3) {
        0 => {
            let ask = Ask::new("hierarchy/some", by, format!("v1/rooms/<{}>/hierarchy", room(world)?));
            ask.query("suggested_only", "true").query("max_depth", world.random.one(["0", "1", "3"]))
        }
        1 => Ask::new("room_summary/older path", by, format!("unstable/im.nheko.summary/summary/<{}>", room(world)?)),
        _ => {
            let term: Value = world.random.one(["a_of_<play>", "\u{e4}\u{5bff}", "@", ""]).into();
            let body = json!({"search_term": term, "limit": world.random.one([0, 1, 50])});
            Ask::new("user_directory/some", by, "v3/user_directory/search").body(body)
        }
    })
}
