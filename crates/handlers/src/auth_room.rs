//! Whether a user may read a room. Answers to `check_user_in_room` and `check_user_in_room_or_world_readable` in
//! `synapse/api/auth/base.py`.

use std::sync::Arc;

use myelin_model::{MatrixError, Requester};

use crate::visibility::{HISTORY_VISIBILITY, HistoryVisibility};
use crate::{Handlers, Result};

/// On what ground a user reads a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomAccess {
    /// Joined: reads the present. Carries the member event.
    Joined(Arc<str>),
    /// Left, and did not forget the room: reads what was when this member event left.
    Departed(Arc<str>),
    /// Not a member of a world readable room: reads the present.
    Peeking,
}

impl Handlers {
    /// `check_user_in_room`: banned and invited users are not in the room either.
    pub async fn check_user_in_room(
        &self,
        room_id: &str,
        requester: &Requester,
        allow_departed_users: bool,
    ) -> Result<RoomAccess> {
        let user_id = &requester.user_id;
        let found = self.storage.get_local_current_membership_for_user_in_room(user_id, room_id).await?;
        match found {
            Some((membership, event_id)) if membership == "join" => return Ok(RoomAccess::Joined(event_id)),
            Some((membership, event_id))
                if allow_departed_users
                    && membership == "leave"
                    && !self.storage.did_forget(user_id, room_id).await? =>
            {
                return Ok(RoomAccess::Departed(event_id));
            }
            _ => {}
        }
        Err(MatrixError::forbidden(format!("User {user_id} not in room {room_id}")))
    }

    /// `check_user_in_room_or_world_readable`.
    pub async fn check_user_in_room_or_world_readable(
        &self,
        room_id: &str,
        requester: &Requester,
        allow_departed_users: bool,
    ) -> Result<RoomAccess> {
        match self.check_user_in_room(room_id, requester, allow_departed_users).await {
            Err(error) if error.status == 403 => {}
            other => return other,
        }
        if let Some(event) = self.get_current_state_event(room_id, HISTORY_VISIBILITY, "").await?
            && HistoryVisibility::of(Some(&event)) == HistoryVisibility::WorldReadable
        {
            return Ok(RoomAccess::Peeking);
        }
        let user_id = &requester.user_id;
        Err(MatrixError::forbidden(format!("User {user_id} not in room {room_id}, and room previews are disabled")))
    }
}
