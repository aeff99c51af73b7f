//! Up to where a user has read a room. Answers to `synapse/handlers/read_marker.py`.

use serde_json::Value;
use serde_json::value::to_raw_value;

use myelin_model::MatrixError;

use crate::account_data::FULLY_READ;
use crate::{Handlers, Result};

impl Handlers {
    /// `received_client_read_marker`: it only moves forward, unless `allow_backward`.
    pub async fn received_client_read_marker(
        &self,
        room_id: &str,
        user_id: &str,
        event_id: &str,
        allow_backward: bool,
    ) -> Result<()> {
        let _turn = self.read_markers.queue(&format!("{room_id} {user_id}")).await;
        let rooms = self.storage.get_room_account_data_for_user(user_id).await?;
        let existing = rooms.get(room_id).and_then(|data| data.iter().find(|(kind, _)| &**kind == FULLY_READ));
        let ordering = self.storage.get_event_ordering(event_id, room_id).await?;
        let ordering = ordering
            .ok_or_else(|| MatrixError::unknown(404, format!("Could not find event {event_id} in room {room_id}")))?;
        if let Some((_, content)) = existing.filter(|_| !allow_backward) {
            let content: Value = serde_json::from_str(content).map_err(MatrixError::internal)?;
            // An event that has gone was before this one.
            if let Some(old) = content["event_id"].as_str()
                && self.storage.get_event_ordering(old, room_id).await?.is_some_and(|old| ordering <= old)
            {
                return Ok(());
            }
        }
        let content = to_raw_value(&serde_json::json!({ "event_id": event_id })).map_err(MatrixError::internal)?;
        self.set_account_data(user_id, Some(room_id), FULLY_READ, &content).await
    }
}
