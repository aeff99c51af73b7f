//! `/rooms/{id}/event/{id}`. Answers to `EventHandler` in `synapse/handlers/events.py` and `RoomEventServlet`.

use std::sync::Arc;

use hashbrown::HashSet;
use myelin_model::{MatrixError, Requester};

use crate::relations::Bundles;
use crate::visibility::VisibleEvent;
use crate::{Handlers, Result};

impl Handlers {
    /// `EventHandler.get_event`: `None` when there is no such event in the room, 403 when it is not for this user.
    pub async fn get_event(
        &self,
        user_id: &str,
        room_id: Option<&str>,
        event_id: &str,
    ) -> Result<Option<VisibleEvent>> {
        // Only this route asks for what a state event replaced.
        let event = self.storage.get_events_with_prev_content(&[Arc::from(event_id)]).await?.into_iter().next();
        let Some(event) = event.filter(|event| room_id.is_none_or(|room_id| &*event.room_id == room_id)) else {
            return Ok(None);
        };
        let membership = self.storage.get_local_current_membership_for_user_in_room(user_id, &event.room_id).await?;
        let is_peeking = membership.is_none_or(|(membership, _)| membership != "join");
        let visible = self.filter_events_for_client(user_id, vec![event], is_peeking, &HashSet::new()).await?;
        match visible.into_iter().next() {
            Some(event) => Ok(Some(event)),
            None => Err(MatrixError::forbidden("You don't have permission to access that event.")),
        }
    }

    /// `GET /events/{id}`, without what else refers to it: nothing if there is none.
    pub async fn event(&self, requester: &Requester, event_id: &str, now_ms: i64) -> Result<Option<Vec<u8>>> {
        let Some(visible) = self.get_event(&requester.user_id, None, event_id).await? else { return Ok(None) };
        let options = self.serialize_options(requester).await?;
        self.serialize_event(visible.to_serialize(), now_ms, &options, &Bundles::new()).await.map(Some)
    }

    /// `GET /rooms/{id}/event/{id}`: what may not be seen is not there.
    pub async fn room_event(
        &self,
        requester: &Requester,
        room_id: &str,
        event_id: &str,
        now_ms: i64,
    ) -> Result<Vec<u8>> {
        let not_found = || MatrixError::not_found("Event not found.");
        let found = match self.get_event(&requester.user_id, Some(room_id), event_id).await {
            Err(error) if error.status == 403 => return Err(not_found()),
            other => other?,
        };
        let visible = [found.ok_or_else(not_found)?];
        let bundles = self.get_bundled_aggregations(&visible, &requester.user_id).await?;
        let options = self.serialize_options(requester).await?;
        let [visible] = &visible;
        self.serialize_event((&visible.event, Some(&visible.membership)), now_ms, &options, &bundles).await
    }
}
