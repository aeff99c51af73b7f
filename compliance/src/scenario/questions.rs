//! What both workers are asked after a step.

use serde_json::{Value, json};

use super::routes;
use super::step::{Act, Ask};
use super::world::{DEVICES, World};

const SYNCS: usize = 2;
const OTHERS: usize = 2;
const STATE_AFTER: &str = "org.matrix.msc4222.use_state_after";

pub fn after(world: &mut World, acts: &[Act]) -> Vec<Ask> {
    let mut asks = Vec::new();
    for _ in 0..SYNCS {
        asks.push(sync(world, acts));
    }
    for _ in 0..OTHERS {
        asks.extend(routes::other(world));
    }
    asks
}

fn asker(world: &mut World, acts: &[Act]) -> String {
    match world.random.pick(acts) {
        Some(act) if world.random.percent(25) => act.by.clone(),
        _ => world.random.one(DEVICES).to_owned(),
    }
}

/// From nothing, from a moment of before, or from what the device was last told.
fn sync(world: &mut World, acts: &[Act]) -> Ask {
    let by = asker(world, acts);
    let chain = format!("chain:{by}");
    let since = match world.random.below(100) {
        0..=9 => None,
        10..=44 => Some(chain.clone()),
        45..=69 => Some(format!("t{}", world.number - 1)),
        70..=79 => Some(format!("t{}", world.number)),
        _ => Some(format!("t{}", world.random.below(world.number))),
    };
    let (mut name, filter, option) = variant(world);
    match &since {
        Some(since) if name == "full_state" => name = format!("full_state, from {since}"),
        Some(since) => name = format!("{name}, from {since}"),
        None => name = format!("{name}, initial"),
    }
    let mut ask = Ask::new(&format!("sync/{name}"), &by, "v3/sync").query("set_presence", "offline");
    if let Some(option) = option {
        ask = ask.query(option, "true");
    }
    if !filter.is_null() {
        ask = ask.query("filter", &filter.to_string());
    }
    if let Some(since) = &since {
        ask = ask.query("since", &format!("<{since}>"));
    }
    if since.is_none_or(|since| since == chain) {
        ask.keep = Some((chain, "/next_batch".to_owned()));
    }
    ask
}

/// Name, filter (or null) and a parameter that is `true`.
fn variant(world: &mut World) -> (String, Value, Option<&'static str>) {
    let room = world.room().map_or("r1.1".to_owned(), |at| world.rooms[at].name.clone());
    let (room, user) = (format!("<{room}>"), format!("<@{}>", world.user()));
    let limit = world.random.one([1, 2, 5]);
    let small = json!({ "limit": limit });
    let lazy = json!({"lazy_load_members": true});
    let of = |filter: Value| json!({ "room": filter });
    let plain = |name: &str, filter: Value| (name.to_owned(), filter, None);
    match world.random.below(28) {
        0..=4 => plain("plain", Value::Null),
        5..=8 => plain("lazy", of(json!({"rooms": [room], "state": lazy, "timeline": small}))),
        9..=10 => {
            let state = json!({"lazy_load_members": true, "include_redundant_members": true});
            plain("redundant", of(json!({"state": state, "timeline": small})))
        }
        11..=12 => plain("small", of(json!({ "timeline": small }))),
        13 => plain("leave", of(json!({"include_leave": true}))),
        14 => plain("leave, lazy", of(json!({"include_leave": true, "rooms": [room], "state": lazy}))),
        15 => ("full_state".to_owned(), Value::Null, Some("full_state")),
        16..=17 => ("state_after".to_owned(), of(json!({"timeline": small})), Some(STATE_AFTER)),
        18 => {
            let filter = of(json!({"rooms": [room], "state": lazy, "timeline": small}));
            ("state_after, lazy".to_owned(), filter, Some(STATE_AFTER))
        }
        19 => plain("threads", of(json!({"timeline": {"unread_thread_notifications": true, "limit": limit}}))),
        // What tells which event of which key it is, and who comes and goes.
        20 => plain(
            "some fields",
            json!({"event_fields": ["type", "state_key", "event_id", "origin_server_ts", "content.body",
                "content.membership", "sender", "unsigned"]}),
        ),
        21 => plain("federation format", json!({"event_format": "federation"})),
        22 => plain("types", of(json!({"timeline": {"types": ["m.room.message"], "limit": limit}}))),
        23 => {
            plain("not types", of(json!({"timeline": {"not_types": ["m.room.m*"]}, "state": {"types": ["m.room.*"]}})))
        }
        // Not of the state: of two events of a key Python takes either, which need not have the same sender.
        24 => plain("senders", of(json!({"timeline": {"senders": [user], "limit": limit}}))),
        25 => plain("not one room", of(json!({"not_rooms": [room]}))),
        26 => plain("related", of(json!({"timeline": {"related_by_rel_types": ["m.thread", "m.annotation"]}}))),
        _ => plain(
            "labels",
            of(json!({"timeline": {"org.matrix.labels": ["#fun"]}, "ephemeral": {"types": ["m.receipt"]}})),
        ),
    }
}
