//! Unread counts. Answers to `unread_notifs_for_room_id` in `synapse/handlers/sync.py`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::{Handlers, Result};

const MAIN: &str = "main";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotifCounts {
    pub notify: i64,
    pub unread: i64,
    pub highlight: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomNotifCounts {
    /// The main timeline.
    pub main: NotifCounts,
    /// By the root event of the thread.
    pub threads: BTreeMap<Arc<str>, NotifCounts>,
}

impl Handlers {
    pub async fn unread_counts(
        &self,
        user_id: &str,
        room_ids: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, RoomNotifCounts>> {
        if !self.config.server.push_enabled {
            return Ok(HashMap::new());
        }
        let mut rooms: HashMap<Arc<str>, RoomNotifCounts> = HashMap::new();
        for row in self.storage.unread_counts(user_id, room_ids).await? {
            let room = rooms.entry(row.room_id).or_default();
            let counts =
                if &*row.thread_id == MAIN { &mut room.main } else { room.threads.entry(row.thread_id).or_default() };
            counts.notify += row.notify;
            counts.unread += row.unread;
            counts.highlight += row.highlight;
        }
        Ok(rooms)
    }
}
