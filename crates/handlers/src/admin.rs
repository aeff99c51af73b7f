//! What administrators ask. Answers to the reads of `synapse/rest/admin/rooms.py` and `users.py` that workers have.

use myelin_model::identifiers::parse_user_id;
use myelin_model::{MatrixError, Requester};
use serde_json::{Value, json};

use crate::{Handlers, Result};

impl Handlers {
    /// `assert_user_is_admin`
    pub async fn assert_user_is_admin(&self, requester: &Requester) -> Result<()> {
        if self.is_server_admin(requester).await? {
            return Ok(());
        }
        Err(MatrixError::forbidden("You are not a server admin"))
    }

    /// `UserRestServletV2Get`: a JSON object.
    pub async fn admin_user(&self, user_id: &str) -> Result<String> {
        let (_, domain) = parse_user_id(user_id)?;
        if domain != self.config.server.server_name {
            return Err(MatrixError::unknown(400, "Can only look up local users"));
        }
        let user = self.storage.get_user_for_admin(user_id, self.config.server.experimental.msc3866).await?;
        user.ok_or_else(|| MatrixError::not_found("User not found"))
    }

    /// `RoomRestServlet`: a JSON object.
    pub async fn admin_room(&self, room_id: &str) -> Result<Value> {
        let room = self.storage.get_room_for_admin(room_id).await?;
        let room = room.ok_or_else(|| MatrixError::not_found("Room not found"))?;
        let mut room: Value = serde_json::from_str(&room).map_err(MatrixError::internal)?;
        let tombstone = self.get_current_state_event(room_id, "m.room.tombstone", "").await?;
        room["tombstoned"] = tombstone.is_some().into();
        let content = tombstone.map(|event| serde_json::from_str::<Value>(event.content())).transpose();
        let content = content.map_err(MatrixError::internal)?;
        room["replacement_room"] = content.map_or(json!(null), |content| content["replacement_room"].clone());
        Ok(room)
    }
}
