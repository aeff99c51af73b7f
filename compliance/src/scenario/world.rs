//! What a scenario's maker believes of the server: rough, because nobody asks whether an act was allowed.

use std::collections::BTreeMap;

use serde_json::Value;

use super::random::Random;
use super::step::Act;

pub const USERS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// An administrator, who is in no room and does nothing.
pub const ADMIN: &str = "r1";

/// A device's name begins with its user's.
pub const DEVICES: [&str; 8] = ["a1", "a2", "b1", "b2", "c1", "d1", "e1", "e2"];

/// Other servers: the user `<@other.test>` acts, `<@v:other.test>` is only ever invited.
pub const SERVERS: [&str; 4] = ["other.test", "third.test", "left.test", "banned.test"];

/// Whether a name is a server's, not a device's.
pub fn is_server(name: &str) -> bool {
    name.contains('.')
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    Joined,
    Invited,
    Knocked,
    Left,
    Banned,
}

pub struct Room {
    pub name: String,
    pub version: &'static str,
    pub creator: &'static str,
    pub members: BTreeMap<&'static str, Is>,
    pub servers: BTreeMap<&'static str, Is>,
    /// Names of its events, oldest first.
    pub events: Vec<String>,
    pub messages: Vec<String>,
    pub roots: Vec<String>,
}

pub struct World {
    pub random: Random,
    /// Of the step that is being made.
    pub number: usize,
    pub rooms: Vec<Room>,
    /// Names of delayed events.
    pub delayed: Vec<String>,
    /// Names given in this step.
    given: usize,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), number: 0, rooms: Vec::new(), delayed: Vec::new(), given: 0 }
    }

    pub fn next_step(&mut self) {
        self.number += 1;
        self.given = 0;
    }

    /// A name for an event, a transaction or a rule that no other step gives.
    pub fn fresh(&mut self, kind: &str) -> String {
        self.given += 1;
        format!("{kind}{}.{}", self.number, self.given)
    }

    pub fn user(&mut self) -> &'static str {
        self.random.one(USERS)
    }

    pub fn other(&mut self, than: &str) -> &'static str {
        loop {
            let user = self.user();
            if user != than {
                return user;
            }
        }
    }

    pub fn device_of(&mut self, user: &str) -> &'static str {
        let own: Vec<_> = DEVICES.into_iter().filter(|device| device.starts_with(user)).collect();
        self.random.pick(&own).copied().unwrap_or(DEVICES[0])
    }

    pub fn device(&mut self) -> &'static str {
        self.random.one(DEVICES)
    }

    /// The younger a room, the more happens in it.
    pub fn room(&mut self) -> Option<usize> {
        let count = self.rooms.len();
        let at = self.random.below(count).max(self.random.below(count));
        (count > 0).then_some(at)
    }

    /// A room and one who is `is` in it.
    pub fn member(&mut self, is: Is) -> Option<(usize, &'static str)> {
        let room = self.room()?;
        let users = self.rooms[room].who(is);
        self.random.pick(&users).map(|user| (room, *user))
    }

    /// A room and one who may probably change its state: mostly its creator.
    pub fn mighty(&mut self) -> Option<(usize, &'static str)> {
        let (room, user) = self.member(Is::Joined)?;
        let creator = self.rooms[room].creator;
        let rules = self.rooms[room].members.get(creator) == Some(&Is::Joined) && self.random.percent(85);
        Some((room, if rules { creator } else { user }))
    }

    /// An event to be sent by the user, by path below the room: `send/m.room.message`, `state/m.room.name`.
    pub fn event(&mut self, room: usize, user: &str, path: &str, content: Value) -> Act {
        let name = self.fresh("e");
        let device = self.device_of(user);
        let path = if path.starts_with("state/") { path.to_owned() } else { format!("{path}/{}", self.fresh("t")) };
        let room = &mut self.rooms[room];
        room.events.push(name.clone());
        Act::new(device, "PUT", format!("v3/rooms/<{}>/{path}", room.name), content).keep(&name, "/event_id")
    }
}

impl Room {
    pub fn new(name: &str, version: &'static str, creator: &'static str, members: BTreeMap<&'static str, Is>) -> Self {
        let (servers, events, messages, roots) = (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
        Self { name: name.to_owned(), version, creator, members, servers, events, messages, roots }
    }

    pub fn who(&self, is: Is) -> Vec<&'static str> {
        self.members.iter().filter(|(_, state)| **state == is).map(|(user, _)| *user).collect()
    }

    /// Every joined member may speak, so the powers are those of the creator alone and of whom he raises.
    pub fn has_creators_in_power_levels(&self) -> bool {
        self.version != "12"
    }
}
