//! The second kind of scenario: other servers come into rooms, talk, are thrown out and kept out, and after every step
//! ask for what they may see of it.

#![expect(clippy::unnecessary_wraps, reason = "all acts stand in one table: some are not always possible")]

use serde_json::{Value, json};

use super::step::{Act, Step};
use super::world::{Is, SERVERS, World};
use super::{PASSWORD, rooms, server_questions, settings, talk};

type Deed = fn(&mut World) -> Option<Vec<Act>>;

const ASKS: usize = 6;
/// Who is erased, and at which step.
const ERASED: &str = "e";
const ERASE_AT: usize = 30;

#[rustfmt::skip]
const DEEDS: [(usize, Deed); 28] = [
    (10, talk::say), (2, talk::burst), (2, talk::edit), (6, talk::redact), (2, talk::at_once),
    (2, create), (4, rooms::join), (3, rooms::leave), (2, rooms::invite), (1, rooms::kick), (1, rooms::ban),
    (8, rooms::state), (2, rooms::power), (1, rooms::upgrade), (2, rooms::alias),
    (2, settings::profile), (2, settings::upload_keys), (1, settings::device),
    (14, join), (10, say), (5, redact), (5, fork), (4, leave), (4, topic), (4, invite), (5, throw_out), (6, acl),
    (4, find),
];

pub fn step(world: &mut World) -> Step {
    world.next_step();
    let deed: Deed = match world.number {
        1 | 4 => create,
        2 => rooms::join,
        3 | 5 | 6 => join,
        ERASE_AT => erase,
        _ => world.random.weighted(&DEEDS),
    };
    let at_once = std::ptr::fn_addr_eq(deed, talk::at_once as Deed);
    let acts = deed(world).or_else(|| join(world)).or_else(|| create(world)).unwrap_or_default();
    let asks = (0..ASKS).filter_map(|_| server_questions::ask(world)).collect();
    Step { number: world.number, at_once, poll: None, acts, asks }
}

/// Mostly for everybody.
fn create(world: &mut World) -> Option<Vec<Act>> {
    let mut acts = rooms::create(world)?;
    if world.random.percent(80) {
        acts.first_mut()?.body["preset"] = "public_chat".into();
    }
    Some(acts)
}

fn joined(world: &mut World) -> Option<(usize, &'static str)> {
    let room = world.room()?;
    let servers: Vec<_> = world.rooms[room].servers.iter().filter(|(_, is)| **is == Is::Joined).collect();
    let server = world.random.pick(&servers).map(|(server, _)| **server)?;
    Some((room, server))
}

/// An event of the server's user.
fn event(world: &mut World, room: usize, server: &str, mut event: Value) -> Act {
    let name = world.fresh("e");
    event["sender"] = format!("<@{server}>").into();
    let room = &mut world.rooms[room];
    room.events.push(name.clone());
    Act::new(server, "EVENT", format!("<{}>", room.name), event).keep(&name, "/event_id")
}

pub fn join(world: &mut World) -> Option<Vec<Act>> {
    let room = world.room()?;
    let server = world.random.one(SERVERS);
    if world.rooms[room].servers.get(server) == Some(&Is::Joined) && world.random.percent(80) {
        return None;
    }
    let name = world.fresh("e");
    let room = &mut world.rooms[room];
    room.servers.insert(server, Is::Joined);
    room.events.push(name.clone());
    Some(vec![Act::new(server, "JOIN", format!("<{}>", room.name), json!({})).keep(&name, "/event_id")])
}

fn message(world: &World) -> Value {
    json!({"type": "m.room.message", "content": {"msgtype": "m.text", "body": format!("afar {}", world.number)}})
}

pub fn say(world: &mut World) -> Option<Vec<Act>> {
    let (room, server) = joined(world)?;
    let count = 1 + world.random.below(3);
    let acts = (0..count).map(|_| {
        let message = message(world);
        event(world, room, server, message)
    });
    Some(acts.collect())
}

/// After an older event.
pub fn fork(world: &mut World) -> Option<Vec<Act>> {
    let (room, server) = joined(world)?;
    let events = world.rooms[room].events.clone();
    let recent = &events[events.len().saturating_sub(8)..];
    let after = world.random.pick(recent)?.clone();
    let mut content = message(world);
    content["after"] = format!("<{after}>").into();
    Some(vec![event(world, room, server, content)])
}

/// Of one's own, or what one may not redact.
pub fn redact(world: &mut World) -> Option<Vec<Act>> {
    let (room, server) = joined(world)?;
    let events = world.rooms[room].events.clone();
    let recent = &events[events.len().saturating_sub(12)..];
    let target = format!("<{}>", world.random.pick(recent)?);
    let redaction = if matches!(world.rooms[room].version, "11" | "12") {
        json!({"type": "m.room.redaction", "content": {"redacts": target, "reason": "afar"}})
    } else {
        json!({"type": "m.room.redaction", "redacts": target, "content": {"reason": "afar"}})
    };
    Some(vec![event(world, room, server, redaction)])
}

pub fn leave(world: &mut World) -> Option<Vec<Act>> {
    let (room, server) = joined(world)?;
    world.rooms[room].servers.insert(server, Is::Left);
    let leave =
        json!({"type": "m.room.member", "state_key": format!("<@{server}>"), "content": {"membership": "leave"}});
    Some(vec![event(world, room, server, leave)])
}

/// What it mostly may not do.
pub fn topic(world: &mut World) -> Option<Vec<Act>> {
    let (room, server) = joined(world)?;
    let kind = world.random.one(["m.room.topic", "my.state"]);
    let state = json!({"type": kind, "state_key": "", "content": {"topic": format!("Afar {}", world.number)}});
    Some(vec![event(world, room, server, state)])
}

/// Somebody of another server.
pub fn invite(world: &mut World) -> Option<Vec<Act>> {
    let (room, server) = joined(world)?;
    let guest = world.random.one(SERVERS);
    let invite =
        json!({"type": "m.room.member", "state_key": format!("<@v:{guest}>"), "content": {"membership": "invite"}});
    Some(vec![event(world, room, server, invite)])
}

pub fn throw_out(world: &mut World) -> Option<Vec<Act>> {
    let (room, by) = world.mighty()?;
    let server = world.random.one(SERVERS);
    let (action, becomes) =
        world.random.one([("kick", Is::Left), ("ban", Is::Banned), ("ban", Is::Banned), ("unban", Is::Left)]);
    world.rooms[room].servers.insert(server, becomes);
    let device = world.device_of(by);
    let body = json!({"user_id": format!("<@{server}>")});
    Some(vec![Act::new(device, "POST", format!("v3/rooms/<{}>/{action}", world.rooms[room].name), body)])
}

pub fn acl(world: &mut World) -> Option<Vec<Act>> {
    let (room, by) = world.mighty()?;
    let allow = world.random.one([&["*"][..], &["*"], &["*.test"], &["myelin.*", "o?her.test"]]);
    let deny = world.random.one([&[][..], &["THIRD.test"], &["other.*", "left.test"], &["l*t.test"]]);
    let content = json!({"allow": allow, "deny": deny, "allow_ip_literals": world.random.percent(50)});
    Some(vec![world.event(room, by, "state/m.room.server_acl", content)])
}

/// A room is listed, or is put in another that becomes a space for servers to look into.
pub fn find(world: &mut World) -> Option<Vec<Act>> {
    let (room, by) = world.mighty()?;
    let device = world.device_of(by);
    let name = world.rooms[room].name.clone();
    if world.random.percent(50) {
        let visibility = world.random.one(["public", "public", "private"]);
        let path = format!("v3/directory/list/room/<{name}>");
        return Some(vec![Act::new(device, "PUT", path, json!({ "visibility": visibility }))]);
    }
    let mut acts = create(world)?;
    let create = acts.first_mut()?;
    create.body["creation_content"] = json!({"type": "m.space"});
    let owner = create.by.clone();
    let made = world.rooms.last()?.name.clone();
    let children: Vec<String> = world.rooms.iter().map(|room| room.name.clone()).collect();
    for child in children.into_iter().rev().take(6) {
        let content = json!({"via": ["myelin.test"], "suggested": world.random.percent(50)});
        let path = format!("v3/rooms/<{made}>/state/m.space.child/<{child}>");
        acts.push(Act::new(&owner, "PUT", path, content));
    }
    Some(acts)
}

/// Who is gone is shown to nobody who was not there.
pub fn erase(_: &mut World) -> Option<Vec<Act>> {
    let identifier = json!({"type": "m.id.user", "user": format!("<@{ERASED}>")});
    let auth = json!({"type": "m.login.password", "identifier": identifier, "password": PASSWORD});
    let body = json!({"auth": auth, "erase": true});
    Some(vec![Act::new(&format!("{ERASED}1"), "POST", "v3/account/deactivate", body)])
}
