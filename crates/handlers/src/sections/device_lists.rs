//! Whose keys a client must fetch again, and whose it may forget. Answers to
//! `generate_sync_entry_for_device_list` in `synapse/handlers/device.py`.

use std::sync::Arc;

use hashbrown::HashSet;
use myelin_live::Changed;
use myelin_model::{MultiWriterPosition, StreamToken};

use crate::{Handlers, Result};

type Ids = HashSet<Arc<str>>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceLists {
    pub changed: Ids,
    pub left: Ids,
}

/// What this answer says about rooms and members.
pub struct Changes<'a> {
    pub joined_rooms: &'a Ids,
    pub newly_joined_rooms: &'a Ids,
    pub newly_left_rooms: &'a Ids,
    /// Also invited or knocking.
    pub newly_joined_users: &'a Ids,
    pub newly_left_users: &'a Ids,
}

impl Handlers {
    pub async fn device_lists_for_sync(
        &self,
        user_id: &Arc<str>,
        since: &StreamToken,
        now: &StreamToken,
        changes: Changes<'_>,
    ) -> Result<DeviceLists> {
        let (lower, upper) = (&since.device_list, &now.device_list);
        let mut changed = self.device_changes_in_shared_rooms(user_id, lower, upper, changes.joined_rooms).await?;
        changed.extend(self.users_in(changes.newly_joined_rooms).await?);
        changed.extend(changes.newly_joined_users.iter().cloned());
        if self.live.may_have_changed(Changed::UserSignature, user_id, lower.base) {
            changed.extend(self.storage.get_users_whose_signatures_changed(user_id, lower).await?);
        }
        let mut left = changes.newly_left_users.clone();
        left.extend(self.users_in(changes.newly_left_rooms).await?);
        let rooms = self.storage.get_rooms_for_users(left.iter().cloned().collect()).await?;
        left.retain(|other| rooms.get(other).is_none_or(|rooms| rooms.is_disjoint(changes.joined_rooms)));
        Ok(DeviceLists { changed, left })
    }

    async fn users_in(&self, room_ids: &Ids) -> Result<Ids> {
        let rooms = self.storage.get_users_in_rooms(room_ids.iter().cloned().collect()).await?;
        Ok(rooms.values().flat_map(|users| users.iter().cloned()).collect())
    }

    /// `get_device_changes_in_shared_rooms`
    async fn device_changes_in_shared_rooms(
        &self,
        user_id: &Arc<str>,
        lower: &MultiWriterPosition,
        upper: &MultiWriterPosition,
        joined_rooms: &Ids,
    ) -> Result<Ids> {
        if lower == upper {
            return Ok(Ids::new());
        }
        let rooms = self.live.may_have_changed_of(Changed::RoomDeviceList, joined_rooms, lower.base);
        // Their own devices, also of users without rooms.
        let mut users = Ids::from([Arc::clone(user_id)]);
        let mut changed = Ids::new();
        if let Some(found) = self.storage.device_list_changes_in_rooms(&rooms, lower, upper).await? {
            changed = found;
        } else {
            // Too long ago: everybody the user shares a room with is looked at.
            // Synapse: also in rooms that are left out of /sync.
            let rooms = self.storage.get_rooms_for_user(user_id).await?;
            users.extend(self.users_in(&rooms).await?);
        }
        let users = self.live.may_have_changed_of(Changed::UserDeviceList, &users, lower.base);
        changed.extend(self.storage.get_users_whose_devices_changed(&users, lower, upper).await?);
        Ok(changed)
    }
}
