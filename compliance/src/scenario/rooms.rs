//! Acts of a scenario: rooms, their state and who is in them.

#![expect(clippy::unnecessary_wraps, reason = "all acts stand in one table: some are not always possible")]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::step::Act;
use super::world::{Is, Room, World};

pub fn create(world: &mut World) -> Option<Vec<Act>> {
    let creator = world.user();
    let version = world.random.one(["10", "11", "12"]);
    let name = world.fresh("r");
    let mut members = BTreeMap::from([(creator, Is::Joined)]);
    let mut body = json!({"room_version": version,
        "preset": world.random.one(["private_chat", "public_chat", "public_chat", "trusted_private_chat"])});
    if world.random.percent(60) {
        body["name"] = format!("Room {}", world.number).into();
    }
    if world.random.percent(60) {
        let invited: Vec<_> = (0..=world.random.below(3)).map(|_| world.other(creator)).collect();
        members.extend(invited.iter().map(|user| (*user, Is::Invited)));
        body["invite"] = invited.iter().map(|user| format!("<@{user}>")).collect();
        body["is_direct"] = world.random.percent(30).into();
    }
    let mut state = Vec::new();
    if world.random.percent(40) {
        let visibility = world.random.one(["invited", "joined", "shared", "world_readable"]);
        state.push(json!({"type": "m.room.history_visibility", "content": {"history_visibility": visibility}}));
    }
    if world.random.percent(25) {
        let algorithm = json!({"algorithm": "m.megolm.v1.aes-sha2"});
        state.push(json!({"type": "m.room.encryption", "content": algorithm}));
    }
    if world.random.percent(15) {
        state.push(json!({"type": "m.room.join_rules", "content": {"join_rule": "knock"}}));
    }
    body["initial_state"] = state.into();
    let device = world.device_of(creator);
    world.rooms.push(Room::new(&name, version, creator, members));
    Some(vec![Act::new(device, "POST", "v3/createRoom", body).keep(&name, "/room_id")])
}

/// Somebody who is not in a room comes, invited or not.
pub fn join(world: &mut World) -> Option<Vec<Act>> {
    let room = world.room()?;
    let user = world.user();
    if world.rooms[room].members.get(user) == Some(&Is::Joined) && world.random.percent(90) {
        return None;
    }
    world.rooms[room].members.insert(user, Is::Joined);
    let device = world.device_of(user);
    Some(vec![Act::new(device, "POST", format!("v3/join/<{}>", world.rooms[room].name), json!({}))])
}

pub fn leave(world: &mut World) -> Option<Vec<Act>> {
    let is = world.random.one([Is::Joined, Is::Joined, Is::Invited, Is::Knocked]);
    let (room, user) = world.member(is)?;
    world.rooms[room].members.insert(user, Is::Left);
    let device = world.device_of(user);
    Some(vec![Act::new(device, "POST", format!("v3/rooms/<{}>/leave", world.rooms[room].name), json!({}))])
}

fn membership(world: &mut World, action: &str, becomes: Is) -> Option<Vec<Act>> {
    let (room, by) = world.mighty()?;
    let user = world.other(by);
    world.rooms[room].members.insert(user, becomes);
    let device = world.device_of(by);
    let mut body = json!({"user_id": format!("<@{user}>")});
    if world.random.percent(50) {
        body["reason"] = "a test".into();
    }
    Some(vec![Act::new(device, "POST", format!("v3/rooms/<{}>/{action}", world.rooms[room].name), body)])
}

pub fn invite(world: &mut World) -> Option<Vec<Act>> {
    membership(world, "invite", Is::Invited)
}

pub fn kick(world: &mut World) -> Option<Vec<Act>> {
    membership(world, "kick", Is::Left)
}

pub fn ban(world: &mut World) -> Option<Vec<Act>> {
    membership(world, "ban", Is::Banned)
}

pub fn unban(world: &mut World) -> Option<Vec<Act>> {
    membership(world, "unban", Is::Left)
}

pub fn knock(world: &mut World) -> Option<Vec<Act>> {
    let room = world.room()?;
    let user = world.user();
    if world.rooms[room].members.get(user) == Some(&Is::Joined) {
        return None;
    }
    world.rooms[room].members.insert(user, Is::Knocked);
    let device = world.device_of(user);
    Some(vec![Act::new(device, "POST", format!("v3/knock/<{}>", world.rooms[room].name), json!({"reason": "please"}))])
}

/// And sometimes come back, or hear more of the room in between.
pub fn forget(world: &mut World) -> Option<Vec<Act>> {
    let is = world.random.one([Is::Left, Is::Left, Is::Banned]);
    let (room, user) = world.member(is)?;
    let (device, name) = (world.device_of(user), world.rooms[room].name.clone());
    let mut acts = vec![Act::new(device, "POST", format!("v3/rooms/<{name}>/forget"), json!({}))];
    if world.random.percent(30) {
        world.rooms[room].members.insert(user, Is::Joined);
        acts.push(Act::new(device, "POST", format!("v3/join/<{name}>"), json!({})));
    }
    Some(acts)
}

/// In, out and in again before anybody asks.
pub fn bounce(world: &mut World) -> Option<Vec<Act>> {
    let (room, user) = world.member(Is::Joined)?;
    let (device, name) = (world.device_of(user), world.rooms[room].name.clone());
    let mut acts = vec![Act::new(device, "POST", format!("v3/rooms/<{name}>/leave"), json!({}))];
    if world.random.percent(60) {
        acts.push(Act::new(device, "POST", format!("v3/join/<{name}>"), json!({})));
    } else {
        world.rooms[room].members.insert(user, Is::Left);
    }
    if world.random.percent(30) {
        acts.push(Act::new(device, "POST", format!("v3/rooms/<{name}>/leave"), json!({})));
        world.rooms[room].members.insert(user, Is::Left);
    }
    Some(acts)
}

pub fn state(world: &mut World) -> Option<Vec<Act>> {
    let (room, user) = world.mighty()?;
    let number = world.number;
    let (path, content) = match world.random.below(16) {
        0..=2 => ("state/m.room.name", json!({"name": format!("Name {number}")})),
        3 => ("state/m.room.name", json!({})),
        4..=5 => ("state/m.room.topic", json!({"topic": format!("Topic {number}")})),
        6..=8 => {
            let visibility = world.random.one(["invited", "joined", "shared", "world_readable"]);
            ("state/m.room.history_visibility", json!({"history_visibility": visibility}))
        }
        9..=10 => ("state/m.room.join_rules", {
            let rule = world.random.one(["public", "public", "invite", "knock"]);
            json!({"join_rule": rule})
        }),
        11 => ("state/m.room.canonical_alias", json!({})),
        12 => ("state/m.room.encryption", json!({"algorithm": "m.megolm.v1.aes-sha2"})),
        13 => ("state/m.room.guest_access", json!({"guest_access": "can_join"})),
        _ => ("state/my.state/key", json!({"value": world.random.below(3)})),
    };
    Some(vec![world.event(room, user, path, content)])
}

pub fn power(world: &mut World) -> Option<Vec<Act>> {
    let (room, by) = world.mighty()?;
    let raised = world.user();
    let here = &world.rooms[room];
    let mut users = serde_json::Map::new();
    if here.has_creators_in_power_levels() {
        users.insert(format!("<@{}>", here.creator), 100.into());
    }
    if here.has_creators_in_power_levels() || raised != here.creator {
        users.insert(format!("<@{raised}>"), world.random.one([0, 50, 99, 100]).into());
    }
    let content = json!({"users": Value::from(users), "users_default": 0, "events_default": 0, "state_default": 50,
        "ban": 50, "kick": 50, "redact": 50, "invite": world.random.one([0, 50]),
        "notifications": {"room": world.random.one([0, 50])}});
    Some(vec![world.event(room, by, "state/m.room.power_levels", content)])
}

pub fn upgrade(world: &mut World) -> Option<Vec<Act>> {
    let (room, by) = world.mighty()?;
    let version = world.random.one(["10", "11", "12"]);
    let (name, old, device) = (world.fresh("r"), world.rooms[room].name.clone(), world.device_of(by));
    let members = BTreeMap::from([(by, Is::Joined)]);
    world.rooms.push(Room::new(&name, version, by, members));
    let body = json!({"new_version": version});
    Some(vec![Act::new(device, "POST", format!("v3/rooms/<{old}>/upgrade"), body).keep(&name, "/replacement_room")])
}

/// Named so that no other play knows it.
pub fn alias(world: &mut World) -> Option<Vec<Act>> {
    let (room, user) = world.mighty()?;
    let (device, name) = (world.device_of(user), world.rooms[room].name.clone());
    let path = format!("v3/directory/room/%23{}-<play>:myelin.test", world.fresh("alias"));
    Some(vec![Act::new(device, "PUT", path, json!({"room_id": format!("<{name}>")}))])
}
