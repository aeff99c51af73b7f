//! Acts of a scenario: what users do outside of a room's history.

#![expect(clippy::unnecessary_wraps, reason = "all acts stand in one table: some are not always possible")]

use serde_json::json;

use super::step::Act;
use super::world::{Is, World};

pub fn typing(world: &mut World) -> Option<Vec<Act>> {
    let (room, user) = world.member(Is::Joined)?;
    let device = world.device_of(user);
    let body = json!({"typing": world.random.percent(70), "timeout": 600_000});
    Some(vec![Act::new(device, "PUT", format!("v3/rooms/<{}>/typing/<@{user}>", world.rooms[room].name), body)])
}

/// Public and private, of the room, of the main timeline and of a thread.
pub fn receipt(world: &mut World) -> Option<Vec<Act>> {
    let (room, user) = world.member(Is::Joined)?;
    let events = world.rooms[room].events.clone();
    let recent = &events[events.len().saturating_sub(8)..];
    let event = world.random.pick(recent)?.clone();
    let device = world.device_of(user);
    let name = world.rooms[room].name.clone();
    if world.random.percent(20) {
        let kinds = world.random.one([&["m.fully_read"][..], &["m.fully_read", "m.read"], &["m.read.private"]]);
        let body: serde_json::Map<_, _> =
            kinds.iter().map(|kind| ((*kind).to_owned(), format!("<{event}>").into())).collect();
        return Some(vec![Act::new(device, "POST", format!("v3/rooms/<{name}>/read_markers"), body.into())]);
    }
    let kind = world.random.one(["m.read", "m.read", "m.read.private"]);
    let thread = match world.random.below(3) {
        0 => Some("main".to_owned()),
        1 => world.random.pick(&world.rooms[room].roots).map(|root| format!("<{root}>")),
        _ => None,
    };
    let body = thread.map_or(json!({}), |thread| json!({"thread_id": thread}));
    Some(vec![Act::new(device, "POST", format!("v3/rooms/<{name}>/receipt/{kind}/<{event}>"), body)])
}

pub fn tag(world: &mut World) -> Option<Vec<Act>> {
    let room = world.room()?;
    let device = world.device();
    let tag = world.random.one(["m.favourite", "m.lowpriority", "u.work"]);
    let path = format!("v3/user/<@{}>/rooms/<{}>/tags/{tag}", &device[..1], world.rooms[room].name);
    let delete = world.random.percent(30);
    let order = json!({"order": world.random.one([0.25, 0.5])});
    Some(vec![if delete { Act::new(device, "DELETE", path, json!({})) } else { Act::new(device, "PUT", path, order) }])
}

pub fn account_data(world: &mut World) -> Option<Vec<Act>> {
    let device = world.device();
    let kind = world.random.one(["my.settings", "my.other", "m.direct"]);
    let body = if world.random.percent(25) { json!({}) } else { json!({"number": world.number}) };
    let mut path = format!("v3/user/<@{}>/", &device[..1]);
    if world.random.percent(50) {
        let room = world.room()?;
        path = format!("{path}rooms/<{}>/", world.rooms[room].name);
    }
    Some(vec![Act::new(device, "PUT", format!("{path}account_data/{kind}"), body)])
}

pub fn ignore(world: &mut World) -> Option<Vec<Act>> {
    let device = world.device();
    let ignored = format!("<@{}>", world.other(&device[..1]));
    let users = if world.random.percent(60) { json!({ignored: {}}) } else { json!({}) };
    let path = format!("v3/user/<@{}>/account_data/m.ignored_user_list", &device[..1]);
    Some(vec![Act::new(device, "PUT", path, json!({"ignored_users": users}))])
}

pub fn push_rule(world: &mut World) -> Option<Vec<Act>> {
    let device = world.device();
    let room = world.room()?;
    let room = format!("<{}>", world.rooms[room].name);
    let highlight = json!({"pattern": "all", "actions": ["notify", {"set_tweak": "highlight"}]});
    let (method, path, body) = match world.random.below(7) {
        0 => ("PUT", "content/all".to_owned(), highlight),
        1 => ("DELETE", "content/all".to_owned(), json!({})),
        2 => ("PUT", format!("room/{room}"), json!({"actions": []})),
        3 => ("PUT", format!("room/{room}"), json!({"actions": ["notify"]})),
        4 => ("PUT", "override/.m.rule.master/enabled".to_owned(), json!({"enabled": world.random.percent(20)})),
        5 => ("PUT", "content/all/enabled".to_owned(), json!({"enabled": world.random.percent(50)})),
        _ => ("PUT", "underride/.m.rule.message/actions".to_owned(), json!({"actions": ["notify"]})),
    };
    Some(vec![Act::new(device, method, format!("v3/pushrules/global/{path}"), body)])
}

/// Nobody checks the signatures here.
pub fn upload_keys(world: &mut World) -> Option<Vec<Act>> {
    let device = world.device();
    let (user, id) = (format!("<@{}>", &device[..1]), format!("<device:{device}>"));
    let mut body = json!({});
    let signatures = json!({user.clone(): {format!("ed25519:{id}"): "x"}});
    if world.random.percent(60) {
        body["device_keys"] = json!({"user_id": user, "device_id": id, "signatures": signatures,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": {format!("curve25519:{id}"): format!("key{}", world.number)}});
    }
    if world.random.percent(60) {
        let keys = (0..=world.random.below(3)).map(|at| {
            let key = json!({"key": format!("otk{}{at}", world.number), "signatures": signatures});
            (format!("signed_curve25519:{}x{at}", world.number), key)
        });
        body["one_time_keys"] = keys.collect::<serde_json::Map<_, _>>().into();
    }
    if world.random.percent(30) {
        let key = json!({"key": format!("fallback{}", world.number), "fallback": true, "signatures": signatures});
        body["fallback_keys"] = json!({format!("signed_curve25519:f{}", world.number): key});
    }
    Some(vec![Act::new(device, "POST", "v3/keys/upload", body)])
}

pub fn claim_keys(world: &mut World) -> Option<Vec<Act>> {
    let (by, of) = (world.device(), world.device());
    let device = json!({format!("<device:{of}>"): "signed_curve25519"});
    let body = json!({"one_time_keys": {format!("<@{}>", &of[..1]): device}});
    Some(vec![Act::new(by, "POST", "v3/keys/claim", body)])
}

pub fn to_device(world: &mut World) -> Option<Vec<Act>> {
    let (by, to) = (world.device(), world.device());
    let device = if world.random.percent(30) { "*".to_owned() } else { format!("<device:{to}>") };
    let acts = (0..=world.random.below(3)).map(|at| {
        let path = format!("v3/sendToDevice/my.message/{}", world.fresh("t"));
        let messages = json!({format!("<@{}>", &to[..1]): {device.clone(): {"number": world.number, "at": at}}});
        Act::new(by, "PUT", path, json!({"messages": messages}))
    });
    Some(acts.collect())
}

/// Renamed, or gone and logged in anew under the same name here.
pub fn device(world: &mut World) -> Option<Vec<Act>> {
    let device = world.device();
    let path = format!("v3/devices/<device:{device}>");
    if world.random.percent(60) || device.ends_with('1') {
        return Some(vec![Act::new(device, "PUT", path, json!({"display_name": format!("Device {}", world.number)}))]);
    }
    let identifier = json!({"type": "m.id.user", "user": format!("<@{}>", &device[..1])});
    let mut password = json!({"type": "m.login.password", "identifier": identifier, "password": super::PASSWORD});
    let first = format!("{}1", &device[..1]);
    let gone = Act::new(&first, "DELETE", path, json!({"auth": password}));
    password["initial_device_display_name"] = format!("Device {}", world.number).into();
    let back = Act::new(&first, "POST", "v3/login", password);
    let back = back.keep(&format!("token:{device}"), "/access_token").keep(&format!("device:{device}"), "/device_id");
    Some(if world.random.percent(50) { vec![gone, back] } else { vec![back] })
}

pub fn profile(world: &mut World) -> Option<Vec<Act>> {
    let device = world.device();
    let path = format!("v3/profile/<@{}>", &device[..1]);
    Some(vec![if world.random.percent(50) {
        Act::new(device, "PUT", path + "/displayname", json!({"displayname": format!("Name {}", world.number)}))
    } else if world.random.percent(30) {
        let method = world.random.one(["PUT", "PUT", "DELETE"]);
        Act::new(device, method, path + "/org.example.mood", json!({"org.example.mood": {"number": world.number}}))
    } else {
        Act::new(
            device,
            "PUT",
            path + "/avatar_url",
            json!({"avatar_url": format!("mxc://myelin.test/{}", world.number)}),
        )
    }])
}

pub fn presence(world: &mut World) -> Option<Vec<Act>> {
    let device = world.device();
    let mut body = json!({"presence": world.random.one(["online", "unavailable", "offline"])});
    if world.random.percent(40) {
        body["status_msg"] = format!("status {}", world.number).into();
    }
    Some(vec![Act::new(device, "PUT", format!("v3/presence/<@{}>/status", &device[..1]), body)])
}

/// A key backup, which may exist already, and a key for it.
pub fn backup(world: &mut World) -> Option<Vec<Act>> {
    let (device, room) = (world.device(), world.room()?);
    let room = world.rooms[room].name.clone();
    let version = json!({"algorithm": "m.megolm_backup.v1", "auth_data": {"public_key": world.number}});
    let key = json!({"first_message_index": world.random.below(3), "forwarded_count": 0,
        "is_verified": world.random.percent(50), "session_data": {"number": world.number}});
    let path = format!("v3/room_keys/keys/<{room}>/session{}?version=1", world.random.below(3));
    let put = Act::new(device, "PUT", path, key);
    let create = Act::new(device, "POST", "v3/room_keys/version", version);
    Some(if world.random.percent(50) { vec![create, put] } else { vec![put] })
}

/// To follow a thread, by hand or because of a reply, or no more.
pub fn subscribe(world: &mut World) -> Option<Vec<Act>> {
    let (at, user) = world.member(Is::Joined)?;
    let device = world.device_of(user);
    let root = world.random.pick(&world.rooms[at].roots)?.clone();
    let reply = world.random.pick(&world.rooms[at].messages)?.clone();
    let body = if world.random.percent(50) { json!({}) } else { json!({"automatic": format!("<{reply}>")}) };
    let method = world.random.one(["PUT", "PUT", "DELETE"]);
    Some(vec![Act::new(device, method, super::rare::subscription(&world.rooms[at].name, &root), body)])
}

/// Never sent while the scenario lasts.
pub fn delay(world: &mut World) -> Option<Vec<Act>> {
    let (at, user) = world.member(Is::Joined)?;
    let (device, name) = (world.device_of(user), world.fresh("delayed"));
    let transaction = world.fresh("t");
    let path = format!("v3/rooms/<{}>/send/m.room.message/{transaction}", world.rooms[at].name);
    world.delayed.push(name.clone());
    let body = json!({"msgtype": "m.text", "body": "later"});
    let act = Act::new(device, "PUT", path + "?org.matrix.msc4140.delay=80000000", body);
    Some(vec![act.keep(&name, "/delay_id")])
}
