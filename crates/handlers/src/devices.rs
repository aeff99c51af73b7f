//! A user's own devices, and whose others changed. Answers to `get_devices_by_user`, `get_device` and
//! `get_user_ids_changed` in `synapse/handlers/device.py`.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use myelin_live::Changed;
use myelin_model::{MatrixError, RoomToken, StreamToken};
use myelin_replication::http::Repeat;
use myelin_storage::state_deltas::MembershipDelta;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use crate::sections::device_lists::Changes;
use crate::{Handlers, Result, now_ms};

/// In characters.
const MAX_DEVICE_DISPLAY_NAME_LEN: usize = 100;

type Ids = HashSet<Arc<str>>;

impl Handlers {
    /// All devices of a user, or the one that is named, if there is such a one.
    pub async fn devices(&self, user_id: &str, device_id: Option<&str>) -> Result<Vec<Value>> {
        let devices = self.storage.get_devices_by_user(user_id, device_id).await?;
        let device = |device: myelin_storage::devices::OwnDevice| {
            json!({
                "user_id": user_id,
                "device_id": device.device_id,
                "display_name": device.display_name,
                "last_seen_ts": device.last_seen,
                "last_seen_ip": device.ip,
            })
        };
        Ok(devices.into_iter().map(device).collect())
    }

    /// `update_device`: a new name, if one is given. Its owner's clients and those who share rooms learn of it.
    pub async fn update_device(&self, user_id: &str, device_id: &str, display_name: Option<&str>) -> Result<()> {
        if display_name.is_some_and(|name| name.chars().count() > MAX_DEVICE_DISPLAY_NAME_LEN) {
            let error = format!("Device display name is too long (max {MAX_DEVICE_DISPLAY_NAME_LEN})");
            return Err(MatrixError::new(400, "M_TOO_LARGE", error));
        }
        if let Some(name) = display_name
            && !self.storage.update_device(user_id, device_id, name, now_ms()).await?
        {
            return Err(MatrixError::not_found("Not found"));
        }
        self.notify_device_update(user_id, &[device_id]).await
    }

    /// `notify_device_update`
    pub(crate) async fn notify_device_update(&self, user_id: &str, device_ids: &[&str]) -> Result<()> {
        let body = json!({ "device_ids": device_ids });
        self.ask_device_list_writer("notify_device_update", user_id, &body).await
    }

    /// Any of the writers of device lists.
    pub(crate) async fn ask_device_list_writer(&self, name: &str, user_id: &str, body: &Value) -> Result<()> {
        let writers = &self.config.worker.stream_writers.device_lists;
        let writer = writers.choose(&mut rand::rng()).ok_or_else(|| MatrixError::internal("no writer of devices"))?;
        self.ask_writer(writer, name, &[user_id], Repeat::Harmless, body).await.map(drop)
    }

    /// `get_user_ids_changed`: since a token that is no page of a room's history.
    pub async fn get_user_ids_changed(&self, user_id: &Arc<str>, since: &StreamToken) -> Result<Value> {
        let RoomToken::Live(lower) = &since.room else {
            return Err(MatrixError::internal("keys/changes: a token of a room's history"));
        };
        let now = self.live.current_token();
        let upper = now.room.position();
        let joined_rooms = self.storage.get_rooms_for_user(user_id).await?;
        let own = if *lower != upper && self.live.may_have_changed(Changed::UserMembership, user_id, lower.base) {
            self.storage.get_membership_deltas_for_user(user_id, lower, &upper).await?
        } else {
            Vec::new()
        };
        let (newly_joined_rooms, newly_left_rooms) = changed_rooms(own);
        let rooms = self.live.may_have_changed_of(Changed::RoomState, &*joined_rooms, lower.base);
        let others = self.storage.get_membership_deltas_for_rooms(&rooms, lower, &upper).await?;
        let (newly_joined_users, newly_left_users) = changed_users(others);
        let changes = Changes {
            joined_rooms: &joined_rooms,
            newly_joined_rooms: &newly_joined_rooms,
            newly_left_rooms: &newly_left_rooms,
            newly_joined_users: &newly_joined_users,
            newly_left_users: &newly_left_users,
        };
        let lists = self.device_lists_for_sync(user_id, since, &now, changes).await?;
        let list = |users: &Ids| users.iter().map(|id| Value::from(&**id)).collect::<Vec<_>>();
        Ok(json!({ "changed": list(&lists.changed), "left": list(&lists.left) }))
    }
}

/// Rooms that a user joined, and rooms left, of the user's own changes.
fn changed_rooms(deltas: Vec<MembershipDelta>) -> (Ids, Ids) {
    let (mut joined, mut left) = (Ids::new(), Ids::new());
    for delta in deltas {
        let prev = delta.prev_membership.as_deref();
        // It vanished when everybody of this server had left: that they left was told before.
        match delta.membership.as_deref() {
            Some("join") if prev != Some("join") => {
                left.remove(&delta.room_id);
                joined.insert(delta.room_id);
            }
            Some("join") => {}
            _ if prev == Some("join") => {
                joined.remove(&delta.room_id);
                left.insert(delta.room_id);
            }
            _ => {}
        }
    }
    (joined, left)
}

/// Users who came to rooms, by an invite or a knock too, and who left; room after room, as the last one decides.
fn changed_users(deltas: Vec<MembershipDelta>) -> (Ids, Ids) {
    let is_there = |membership: &Option<String>| matches!(membership.as_deref(), Some("join" | "invite" | "knock"));
    let mut order: HashMap<Arc<str>, usize> = HashMap::new();
    let mut rooms: Vec<Vec<MembershipDelta>> = Vec::new();
    for delta in deltas {
        let at = *order.entry(Arc::clone(&delta.room_id)).or_insert(rooms.len());
        if at == rooms.len() {
            rooms.push(Vec::new());
        }
        if let Some(room) = rooms.get_mut(at) {
            room.push(delta);
        }
    }
    let (mut came, mut left) = (Ids::new(), Ids::new());
    for delta in rooms.into_iter().flatten() {
        match (is_there(&delta.membership), is_there(&delta.prev_membership)) {
            (true, false) => {
                left.remove(&delta.user_id);
                came.insert(delta.user_id);
            }
            (false, true) => {
                came.remove(&delta.user_id);
                left.insert(delta.user_id);
            }
            _ => {}
        }
    }
    (came, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(room_id: &str, user_id: &str, prev: &str, now: &str) -> MembershipDelta {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        MembershipDelta {
            room_id: room_id.into(),
            user_id: user_id.into(),
            membership: some(now),
            prev_membership: some(prev),
        }
    }

    fn ids(list: &[&str]) -> Ids {
        list.iter().map(|id| Arc::from(*id)).collect()
    }

    #[test]
    fn the_last_change_counts() {
        let own = vec![
            delta("!a", "@u", "", "invite"),
            delta("!a", "@u", "invite", "join"),
            delta("!b", "@u", "join", "leave"),
            delta("!b", "@u", "leave", "join"),
            delta("!c", "@u", "join", ""),
            delta("!d", "@u", "join", "join"),
        ];
        assert_eq!(changed_rooms(own), (ids(&["!a", "!b"]), ids(&["!c"])));
        let others = vec![
            delta("!a", "@u", "", "join"),
            delta("!b", "@u", "join", "leave"),
            delta("!a", "@v", "join", "ban"),
            delta("!a", "@v", "ban", "invite"),
            delta("!b", "@w", "invite", "join"),
        ];
        // In !a first, for that room's change came first.
        assert_eq!(changed_users(others), (ids(&["@v"]), ids(&["@u"])));
    }
}
