//! `/rooms/{id}/timestamp_to_event`. Answers to `TimestampLookupHandler` in `synapse/handlers/room.py`.

use myelin_model::{Direction, MatrixError};
use serde_json::{Value, json};

use crate::{Handlers, Result};

impl Handlers {
    /// `get_event_for_timestamp`; nothing when other servers may know an event that is closer.
    pub async fn get_event_for_timestamp(
        &self,
        room_id: &str,
        timestamp: i64,
        direction: Direction,
    ) -> Result<Option<Value>> {
        let event_id = self.storage.get_event_id_for_timestamp(room_id, timestamp, direction).await?;
        let event = match &event_id {
            Some(event_id) => self.storage.get_event(event_id).await?,
            None => None,
        };
        let next_to_gap = match &event {
            Some(event) => self.storage.is_event_next_to_gap(event, direction).await?,
            None => true,
        };
        if next_to_gap && self.others_are_in_room(room_id).await? {
            return Ok(None);
        }
        let Some(event) = event else {
            return Err(nothing_found(timestamp, direction));
        };
        Ok(Some(json!({ "event_id": &*event.event_id, "origin_server_ts": event.origin_server_ts })))
    }

    /// Whether users of other servers are in the room.
    async fn others_are_in_room(&self, room_id: &str) -> Result<bool> {
        let users = self.storage.get_users_in_room(room_id).await?;
        Ok(users.iter().any(|user_id| !self.is_mine(user_id)))
    }
}

pub(crate) fn nothing_found(timestamp: i64, direction: Direction) -> MatrixError {
    let direction = match direction {
        Direction::Forwards => "FORWARDS",
        Direction::Backwards => "BACKWARDS",
    };
    MatrixError::not_found(format!("Unable to find event from {timestamp} in direction Direction.{direction}"))
}
