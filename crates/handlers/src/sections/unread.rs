//! Unread counts. Answers to `unread_notifs_for_room_id` in `synapse/handlers/sync.py`.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use myelin_storage::event_push_actions::UnreadRow;

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
        user_id: &Arc<str>,
        room_ids: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, RoomNotifCounts>> {
        if !self.config.server.push_enabled {
            return Ok(HashMap::new());
        }
        let rooms = self.storage.get_unread_event_push_actions_by_room_for_user(user_id, room_ids).await?;
        Ok(rooms.into_iter().map(|(room_id, rows)| (room_id, counts(&rows))).collect())
    }
}

fn counts(rows: &[UnreadRow]) -> RoomNotifCounts {
    let mut room = RoomNotifCounts::default();
    for row in rows {
        let counts = if &*row.thread_id == MAIN {
            &mut room.main
        } else {
            room.threads.entry(Arc::clone(&row.thread_id)).or_default()
        };
        counts.notify += row.notify;
        counts.unread += row.unread;
        counts.highlight += row.highlight;
    }
    room
}
