//! What other servers ask after a step: each federation read, of any room and any event.

#![expect(clippy::unnecessary_wraps, reason = "all questions stand in one table: some are not always possible")]

use serde_json::{Map, Value, json};

use super::step::Ask;
use super::world::{DEVICES, SERVERS, USERS, World};

const OURSELVES: &str = "myelin.test";

type Make = fn(&mut World, &str) -> Option<Ask>;

#[rustfmt::skip]
const ROUTES: [(usize, Make); 12] = [
    (16, event), (8, state), (8, state_ids), (8, event_auth), (12, backfill), (12, missing), (4, timestamp),
    (5, hierarchy), (3, public_rooms), (4, user), (2, alias), (2, complexity),
];

pub fn ask(world: &mut World) -> Option<Ask> {
    let by = if world.random.percent(12) { OURSELVES } else { world.random.one(SERVERS) };
    world.random.weighted(&ROUTES)(world, by)
}

fn new(route: &str, by: &str, path: String) -> Ask {
    Ask::new(&format!("fed_{route}/any"), by, path)
}

fn room(world: &mut World) -> Option<String> {
    let room = world.room()?;
    Some(if world.random.percent(3) {
        "%21unknown%3Amyelin.test".to_owned()
    } else {
        format!("<{}>", world.rooms[room].name)
    })
}

/// A room and an event, which is mostly one of its own.
fn place(world: &mut World) -> Option<(String, String)> {
    let (at, name) = (world.room()?, room(world)?);
    let of = if world.random.percent(8) { at } else { world.rooms.iter().position(|r| name.contains(&r.name))? };
    let events = world.rooms[of].events.clone();
    let event = match world.random.below(100) {
        0..=3 => "%24unknown".to_owned(),
        4..=49 => format!("<{}>", world.random.pick(&events[events.len().saturating_sub(5)..])?),
        _ => format!("<{}>", world.random.pick(&events)?),
    };
    Some((name, event))
}

/// In a query or a body an unknown id is not encoded.
fn plain(event: &str) -> String {
    event.replace("%24", "$")
}

fn event(world: &mut World, by: &str) -> Option<Ask> {
    let (_, event) = place(world)?;
    Some(new("event", by, format!("v1/event/{event}")))
}

fn state(world: &mut World, by: &str) -> Option<Ask> {
    let (room, event) = place(world)?;
    Some(new("state", by, format!("v1/state/{room}")).query("event_id", &plain(&event)))
}

fn state_ids(world: &mut World, by: &str) -> Option<Ask> {
    let (room, event) = place(world)?;
    Some(new("state_ids", by, format!("v1/state_ids/{room}")).query("event_id", &plain(&event)))
}

fn event_auth(world: &mut World, by: &str) -> Option<Ask> {
    let (room, event) = place(world)?;
    Some(new("event_auth", by, format!("v1/event_auth/{room}/{event}")))
}

fn backfill(world: &mut World, by: &str) -> Option<Ask> {
    let (room, event) = place(world)?;
    let limit = world.random.one(["1", "3", "10", "50", "100"]);
    let mut ask = new("backfill", by, format!("v1/backfill/{room}")).query("limit", limit).query("v", &plain(&event));
    if world.random.percent(25) {
        ask = ask.query("v", &plain(&place(world)?.1));
    }
    Some(ask)
}

fn missing(world: &mut World, by: &str) -> Option<Ask> {
    let (room, latest) = place(world)?;
    let mut body = json!({"latest_events": [plain(&latest)], "limit": 20, "min_depth": world.random.below(20)});
    if world.random.percent(80) {
        body["earliest_events"] = json!([plain(&place(world)?.1)]);
    }
    Some(new("missing", by, format!("v1/get_missing_events/{room}")).body(body))
}

fn timestamp(world: &mut World, by: &str) -> Option<Ask> {
    let (room, direction) = (room(world)?, world.random.one(["f", "b"]));
    let time = format!("<time:t{}>", world.random.below(world.number));
    Some(new("timestamp", by, format!("v1/timestamp_to_event/{room}")).query("ts", &time).query("dir", direction))
}

fn hierarchy(world: &mut World, by: &str) -> Option<Ask> {
    let ask = new("hierarchy", by, format!("v1/hierarchy/{}", room(world)?));
    Some(if world.random.percent(30) { ask.query("suggested_only", "true") } else { ask })
}

fn public_rooms(world: &mut World, by: &str) -> Option<Ask> {
    let ask = new("public_rooms", by, "v1/publicRooms".to_owned());
    Some(if world.random.percent(50) {
        ask.query("limit", world.random.one(["1", "5", "100"]))
    } else {
        ask.body(json!({"limit": 10, "filter": {"generic_search_term": world.random.one(["room", "1", "name 2"])}}))
    })
}

fn user(world: &mut World, by: &str) -> Option<Ask> {
    let device = world.random.one(DEVICES);
    let user = format!("<@{}>", &device[..1]);
    Some(match world.random.below(3) {
        0 => new("profile", by, "v1/query/profile".to_owned()).query("user_id", &user),
        1 => new("devices", by, format!("v1/user/devices/{user}")),
        _ => {
            let ids: Map<String, Value> = USERS.iter().map(|user| (format!("<@{user}>"), json!([]))).collect();
            new("keys", by, "v1/user/keys/query".to_owned()).body(json!({ "device_keys": ids }))
        }
    })
}

/// As `rooms::alias` makes them.
fn alias(world: &mut World, by: &str) -> Option<Ask> {
    let alias = format!("#alias{}.1-<play>:myelin.test", world.random.below(world.number));
    Some(new("directory", by, "v1/query/directory".to_owned()).query("room_alias", &alias))
}

fn complexity(world: &mut World, by: &str) -> Option<Ask> {
    Some(new("complexity", by, format!("unstable/rooms/{}/complexity", room(world)?)))
}
