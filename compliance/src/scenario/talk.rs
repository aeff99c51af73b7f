//! Acts of a scenario: messages and what refers to them.

use serde_json::{Value, json};

use super::step::Act;
use super::world::{Is, World};

pub fn say(world: &mut World) -> Option<Vec<Act>> {
    let (room, user) = world.member(Is::Joined)?;
    Some(vec![message(world, room, user)])
}

fn message(world: &mut World, room: usize, user: &str) -> Act {
    let text = format!("message {} for {}", world.number, world.random.one(["all", "a", "b", "c", "nobody"]));
    let mut content = json!({"msgtype": "m.text", "body": text});
    match world.random.below(12) {
        0 => content["url"] = "mxc://myelin.test/abc".into(),
        1 => content["m.mentions"] = json!({"user_ids": [format!("<@{}>", world.user())]}),
        2 => content["msgtype"] = "m.notice".into(),
        3 => content["n"] = json!(12_345_678_901_u64),
        4 => content["org.matrix.labels"] = json!(["#fun"]),
        5 => content["m.mentions"] = json!({"room": true}),
        _ => {}
    }
    let kind = if world.random.percent(6) { "send/m.room.encrypted" } else { "send/m.room.message" };
    let act = world.event(room, user, kind, content);
    if let [.., (name, _)] = &act.keep[..] {
        world.rooms[room].messages.push(name.clone());
    }
    act
}

/// More than a timeline holds, often by several users.
pub fn burst(world: &mut World) -> Option<Vec<Act>> {
    let room = world.room()?;
    let users = world.rooms[room].who(Is::Joined);
    let most = if world.random.percent(30) { 24 } else { 9 };
    let count = 2 + world.random.below(most);
    let mut acts = Vec::new();
    for _ in 0..count {
        let user = *world.random.pick(&users)?;
        acts.push(message(world, room, user));
    }
    Some(acts)
}

fn target(world: &mut World, of_threads: bool) -> Option<(usize, &'static str, String)> {
    let (room, user) = world.member(Is::Joined)?;
    let here = &world.rooms[room];
    let from = if of_threads && !here.roots.is_empty() { here.roots.clone() } else { here.messages.clone() };
    // Mostly one of the last, sometimes the oldest.
    let recent = if world.random.percent(80) { &from[from.len().saturating_sub(6)..] } else { &from[..] };
    let event = world.random.pick(recent)?.clone();
    Some((room, user, event))
}

fn relates(world: &mut World, room: usize, user: &str, kind: &str, relation: &Value, text: &str) -> Act {
    let mut content = json!({"msgtype": "m.text", "body": text, "m.relates_to": relation});
    if relation["rel_type"] == "m.replace" {
        content["m.new_content"] = json!({"msgtype": "m.text", "body": format!("new {text}")});
    }
    world.event(room, user, kind, content)
}

pub fn edit(world: &mut World) -> Option<Vec<Act>> {
    let (room, user, event) = target(world, false)?;
    let relation = json!({"rel_type": "m.replace", "event_id": format!("<{event}>")});
    let text = format!("edit {}", world.number);
    Some(vec![relates(world, room, user, "send/m.room.message", &relation, &text)])
}

pub fn react(world: &mut World) -> Option<Vec<Act>> {
    let (room, user, event) = target(world, false)?;
    let key = world.random.one(["👍", "x", "❤"]);
    let content = json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": format!("<{event}>"), "key": key}});
    Some(vec![world.event(room, user, "send/m.reaction", content)])
}

pub fn thread(world: &mut World) -> Option<Vec<Act>> {
    let old = world.random.percent(70);
    let (room, user, event) = target(world, old)?;
    let relation = json!({"rel_type": "m.thread", "event_id": format!("<{event}>")});
    if !world.rooms[room].roots.contains(&event) {
        world.rooms[room].roots.push(event);
    }
    let text = format!("reply {}", world.number);
    let act = relates(world, room, user, "send/m.room.message", &relation, &text);
    // Replies are edited, reacted to and redacted as well.
    world.rooms[room].messages.push(act.keep[0].0.clone());
    Some(vec![act])
}

pub fn refer(world: &mut World) -> Option<Vec<Act>> {
    let (room, user, event) = target(world, false)?;
    let relation = match world.random.below(3) {
        0 => json!({"rel_type": "m.reference", "event_id": format!("<{event}>")}),
        1 => json!({"m.in_reply_to": {"event_id": format!("<{event}>")}}),
        _ => json!({"rel_type": "my.relation", "event_id": format!("<{event}>"), "key": 1}),
    };
    Some(vec![relates(world, room, user, "send/m.room.message", &relation, "refers")])
}

/// Of anything: messages, replies, reactions, redactions, state.
pub fn redact(world: &mut World) -> Option<Vec<Act>> {
    let (room, user) = world.mighty()?;
    let events = &world.rooms[room].events;
    let recent = events[events.len().saturating_sub(12)..].to_vec();
    let event = world.random.pick(&recent)?.clone();
    let path = format!("redact/<{event}>");
    Some(vec![world.event(room, user, &path, json!({"reason": "a test"}))])
}

/// Events that do not know of each other: messages, state, and what takes away the right to either, so that the
/// resolution of the forks may reset what was already told.
pub fn at_once(world: &mut World) -> Option<Vec<Act>> {
    let room = world.room()?;
    let users = world.rooms[room].who(Is::Joined);
    let creator = world.rooms[room].creator;
    let mut acts = Vec::new();
    for at in 0..2 + world.random.below(5) {
        let user = *world.random.pick(&users)?;
        acts.push(match world.random.below(8) {
            0..=1 => world.event(room, user, "state/m.room.topic", json!({"topic": format!("topic {at}")})),
            2 => world.event(room, user, "state/my.state/at_once", json!({"at": at})),
            3 => {
                let action = world.random.one(["kick", "ban", "invite"]);
                let path = format!("v3/rooms/<{}>/{action}", world.rooms[room].name);
                Act::new(world.device_of(creator), "POST", path, json!({"user_id": format!("<@{user}>")}))
            }
            4 => {
                let powers = if world.rooms[room].has_creators_in_power_levels() {
                    json!({format!("<@{creator}>"): 100, format!("<@{user}>"): world.random.one([0, 100])})
                } else {
                    json!({})
                };
                let content = json!({"users": powers, "state_default": world.random.one([0, 50])});
                world.event(room, creator, "state/m.room.power_levels", content)
            }
            _ => message(world, room, user),
        });
    }
    Some(acts)
}
