//! Who types in which room. Answers to `FollowerTypingHandler` in `synapse/handlers/typing.py`.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashMap;

/// Rooms remembered. Those in which somebody types are few; of the others it is remembered that nobody does any more.
const MAX_ROOMS: usize = 50_000;

/// Who types in a room: the serial of the change and the users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomTyping {
    pub serial: i64,
    pub user_ids: Vec<Arc<str>>,
}

#[derive(Default)]
pub(crate) struct Typing {
    rooms: HashMap<Arc<str>, RoomTyping>,
    by_serial: BTreeSet<(i64, Arc<str>)>,
    /// Changes up to here may be forgotten.
    forgotten: i64,
}

impl Typing {
    pub fn set(&mut self, room_id: &Arc<str>, serial: i64, user_ids: Vec<Arc<str>>) {
        if let Some(old) = self.rooms.insert(Arc::clone(room_id), RoomTyping { serial, user_ids }) {
            self.by_serial.remove(&(old.serial, Arc::clone(room_id)));
        }
        self.by_serial.insert((serial, Arc::clone(room_id)));
        if self.rooms.len() > MAX_ROOMS
            && let Some((oldest, room_id)) = self.by_serial.pop_first()
        {
            self.rooms.remove(&room_id);
            self.forgotten = self.forgotten.max(oldest);
        }
    }

    pub fn of(&self, room_id: &str) -> Option<&RoomTyping> {
        self.rooms.get(room_id)
    }

    /// Of `room_ids`, those that changed after `since` and not after `upto`, and who types there. A client that may
    /// have been told of somebody whose end is forgotten is told that nobody types.
    pub fn changed<'a>(
        &self,
        room_ids: impl IntoIterator<Item = &'a Arc<str>>,
        since: i64,
        upto: i64,
    ) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        let in_doubt = since > 0 && since < self.forgotten;
        if !in_doubt && self.by_serial.last().is_none_or(|(newest, _)| *newest <= since) {
            return Vec::new();
        }
        let changed = |room_id: &Arc<str>| match self.rooms.get(room_id) {
            Some(typing) if typing.serial > since && typing.serial <= upto => {
                Some((Arc::clone(room_id), typing.user_ids.clone()))
            }
            None if in_doubt => Some((Arc::clone(room_id), Vec::new())),
            _ => None,
        };
        room_ids.into_iter().filter_map(changed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(n: usize) -> Arc<str> {
        Arc::from(format!("!r{n}"))
    }

    #[test]
    fn changes_between_two_serials() {
        let mut typing = Typing::default();
        let user_ids = vec![Arc::from("@a:t")];
        typing.set(&room(1), 3, user_ids.clone());
        typing.set(&room(2), 4, Vec::new());
        let rooms = [room(1), room(2), room(3)];
        assert_eq!(typing.changed(&rooms, 2, 4), [(room(1), user_ids), (room(2), Vec::new())]);
        assert_eq!(typing.changed(&rooms, 3, 4), [(room(2), Vec::new())]);
        assert_eq!(typing.changed(&rooms, 2, 3).len(), 1);
        assert_eq!(typing.changed(&rooms, 4, 9), []);
    }

    #[test]
    fn what_is_forgotten_has_ended() {
        let mut typing = Typing::default();
        for n in 0..=MAX_ROOMS {
            typing.set(&room(n), i64::try_from(n).unwrap() + 1, vec![Arc::from("@a:t")]);
        }
        assert_eq!((typing.rooms.len(), typing.by_serial.len()), (MAX_ROOMS, MAX_ROOMS));
        let newest = i64::try_from(MAX_ROOMS).unwrap() + 1;
        // Serial 1 is forgotten: whoever saw it does not know how it ended.
        assert_eq!(typing.changed(&[room(0)], 1, newest), []);
        typing.set(&room(MAX_ROOMS + 1), newest + 1, Vec::new());
        assert_eq!(typing.changed(&[room(0)], 1, newest), [(room(0), Vec::new())]);
        // A first look need not be told that nobody types.
        assert_eq!(typing.changed(&[room(0)], 0, newest), []);
    }
}
