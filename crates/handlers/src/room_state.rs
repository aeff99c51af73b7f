//! `/rooms/{id}/state` and `/joined_rooms`. Answers to `synapse/handlers/message.py`.

use std::sync::Arc;

use myelin_model::event::serialize::{EventFormat, SerializeOptions};
use myelin_model::state_filter::StateFilter;
use myelin_model::{Event, MatrixError, Requester};
use myelin_storage::GetEvents;

use crate::auth_room::RoomAccess;
use crate::relations::Bundles;
use crate::{Handlers, Result};

impl Handlers {
    /// `GET /rooms/{id}/state`: a JSON array.
    pub async fn room_state(&self, requester: &Requester, room_id: &str, now_ms: i64) -> Result<Vec<u8>> {
        let events = self.state_events(requester, room_id, &StateFilter::all()).await?;
        self.serialize_state(requester, &events, now_ms).await
    }

    /// `GET /rooms/{id}/state/{type}/{key}`; `as_event`: the whole event instead of its content.
    pub async fn room_state_event(
        &self,
        requester: &Requester,
        room_id: &str,
        (kind, state_key): (&str, &str),
        as_event: bool,
        now_ms: i64,
    ) -> Result<Vec<u8>> {
        let filter = StateFilter::from_types([(Arc::from(kind), Some(Arc::from(state_key)))]);
        let events = self.state_events(requester, room_id, &filter).await?;
        let Some(event) = events.first() else { return Err(MatrixError::not_found("Event not found.")) };
        if !as_event {
            return Ok(event.content().as_bytes().to_vec());
        }
        let options = SerializeOptions { format: EventFormat::V2, ..self.serialize_options(requester).await? };
        self.serialize_event((event, None), now_ms, &options, &Bundles::new()).await
    }

    /// One event of the current state.
    pub(crate) async fn get_current_state_event(
        &self,
        room_id: &str,
        kind: &str,
        state_key: &str,
    ) -> Result<Option<Arc<Event>>> {
        match self.storage.get_current_state_event_id(room_id, kind, state_key).await? {
            Some(event_id) => Ok(self.storage.get_event(&event_id).await?),
            None => Ok(None),
        }
    }

    /// `GET /joined_rooms`.
    pub async fn joined_rooms(&self, requester: &Requester) -> Result<Vec<u8>> {
        let rooms = self.storage.get_rooms_for_user(&requester.user_id).await?;
        let mut out = br#"{"joined_rooms":"#.to_vec();
        // Writing texts to a buffer cannot fail.
        drop(serde_json::to_writer(&mut out, &*rooms));
        out.push(b'}');
        Ok(out)
    }

    /// `get_state_events`: the present for members and peekers, the state at their leave for those who left.
    pub(crate) async fn state_events(
        &self,
        requester: &Requester,
        room_id: &str,
        filter: &StateFilter,
    ) -> Result<Vec<Arc<Event>>> {
        let ids = match self.check_user_in_room_or_world_readable(room_id, requester, true).await? {
            RoomAccess::Joined(_) | RoomAccess::Peeking => {
                self.storage.get_current_state_event_ids(room_id, filter).await?
            }
            RoomAccess::Departed(leave) => {
                self.storage.get_state_ids_for_event(&leave, filter).await?.values().cloned().collect()
            }
        };
        Ok(self.storage.get_events_as_list(&ids, GetEvents::default()).await?)
    }

    pub(crate) async fn serialize_state(
        &self,
        requester: &Requester,
        events: &[Arc<Event>],
        now_ms: i64,
    ) -> Result<Vec<u8>> {
        let options = self.serialize_options(requester).await?;
        let events: Vec<_> = events.iter().map(|event| (event, None)).collect();
        self.serialize_events(&events, now_ms, &options, &Bundles::new()).await
    }

    /// `create_config` with its defaults.
    pub(crate) async fn serialize_options<'a>(&self, requester: &'a Requester) -> Result<SerializeOptions<'a>> {
        let include_admin_metadata = self.storage.is_server_admin(&requester.user_id).await?;
        let sticky_ttl = self.config.server.experimental.msc4354;
        let requester = Some(requester);
        Ok(SerializeOptions { requester, include_admin_metadata, sticky_ttl, ..SerializeOptions::default() })
    }
}
