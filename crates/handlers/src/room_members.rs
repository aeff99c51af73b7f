//! `/rooms/{id}/members` and `/joined_members`. Answers to `synapse/handlers/message.py`.

use std::sync::Arc;

use myelin_model::state_filter::{MEMBER, StateFilter};
use myelin_model::{Event, MatrixError, Requester, StreamToken};
use myelin_storage::GetEvents;

use crate::auth_room::RoomAccess;
use crate::visibility::{HISTORY_VISIBILITY, HistoryVisibility};
use crate::{Handlers, Result};

/// The query of `/members`.
#[derive(Clone, Debug, Default)]
pub struct MembersQuery<'a> {
    pub at: Option<&'a StreamToken>,
    pub membership: Option<&'a str>,
    pub not_membership: Option<&'a str>,
}

impl MembersQuery<'_> {
    /// An empty parameter filters nothing.
    fn wants(&self, event: &Event) -> bool {
        let given = |text: &&str| !text.is_empty();
        let (only, not) = (self.membership.filter(given), self.not_membership.filter(given));
        only.is_none_or(|only| event.membership() == Some(only))
            && not.is_none_or(|not| event.membership() != Some(not))
    }
}

impl Handlers {
    /// `GET /rooms/{id}/members`.
    pub async fn room_members(
        &self,
        requester: &Requester,
        room_id: &str,
        query: &MembersQuery<'_>,
        now_ms: i64,
    ) -> Result<Vec<u8>> {
        let filter = StateFilter::from_types([(Arc::from(MEMBER), None)]);
        let mut events = match query.at {
            Some(token) => self.state_events_at(requester, room_id, token, &filter).await?,
            None => self.state_events(requester, room_id, &filter).await?,
        };
        events.retain(|event| query.wants(event));
        let mut out = br#"{"chunk":"#.to_vec();
        out.extend(self.serialize_state(requester, &events, now_ms).await?);
        out.push(b'}');
        Ok(out)
    }

    /// `check_local_user_in_room`, and the same of others.
    pub async fn is_user_joined(&self, room_id: &str, user_id: &str) -> Result<bool> {
        if self.is_mine(user_id) {
            return Ok(self.storage.get_users_in_room(room_id).await?.contains(user_id));
        }
        let event = self.get_current_state_event(room_id, MEMBER, user_id).await?;
        Ok(event.is_some_and(|event| event.membership() == Some("join")))
    }

    /// `is_host_joined`, of any server.
    pub async fn is_server_joined(&self, room_id: &str, server: &str) -> Result<bool> {
        let users = self.storage.get_users_in_room(room_id).await?;
        Ok(users.iter().any(|user_id| user_id.split_once(':').is_some_and(|(_, domain)| domain == server)))
    }

    async fn state_events_at(
        &self,
        requester: &Requester,
        room_id: &str,
        token: &StreamToken,
        filter: &StateFilter,
    ) -> Result<Vec<Arc<Event>>> {
        let last = self.storage.last_event_in_room_before(room_id, &token.room.position()).await?;
        let Some(last) = last else {
            return Err(MatrixError::not_found(format!("Can't find event for token {token}")));
        };
        let user_id = &requester.user_id;
        if !self.user_can_see_state_at_event(user_id, room_id, &last).await? {
            let error = format!("User {user_id} not allowed to view events in room {room_id} at token {token}");
            return Err(MatrixError::forbidden(error));
        }
        let state = self.storage.get_state_ids_for_event(&last, filter).await?;
        let ids: Vec<Arc<str>> = state.values().cloned().collect();
        Ok(self.storage.get_events_as_list(&ids, GetEvents::default()).await?)
    }

    /// `_user_can_see_state_at_event`.
    async fn user_can_see_state_at_event(&self, user_id: &str, room_id: &str, event_id: &str) -> Result<bool> {
        let visibility_key = (Arc::from(HISTORY_VISIBILITY), Arc::from(""));
        let member_key = (Arc::from(MEMBER), Arc::from(user_id));
        let wanted = [&visibility_key, &member_key].map(|(kind, key)| (Arc::clone(kind), Some(Arc::clone(key))));
        let state = self.storage.get_state_ids_for_event(event_id, &StateFilter::from_types(wanted)).await?;
        let ids: Vec<Arc<str>> = state.values().cloned().collect();
        let events = self.storage.get_events(&ids, GetEvents::default()).await?;
        let event = |key| state.get(key).and_then(|id| events.get(id));
        let membership = event(&member_key).and_then(|event| event.membership());
        let visibility = HistoryVisibility::of(event(&visibility_key));
        if membership == Some("join") {
            return Ok(true);
        }
        let invited = membership == Some("invite");
        Ok(match visibility {
            HistoryVisibility::WorldReadable => true,
            HistoryVisibility::Joined => false,
            HistoryVisibility::Invited => invited,
            HistoryVisibility::Shared if invited => true,
            // History is shared with those who joined later.
            HistoryVisibility::Shared => {
                let now = self.storage.get_local_current_membership_for_user_in_room(user_id, room_id).await?;
                now.is_some_and(|(membership, _)| membership == "join")
            }
        })
    }

    /// `GET /rooms/{id}/joined_members`. An application service that is not in the room needs somebody there
    /// whom it is interested in: `is_interested` says so.
    pub async fn joined_members(
        &self,
        requester: &Requester,
        room_id: &str,
        is_interested: impl Fn(&str) -> bool,
    ) -> Result<Vec<u8>> {
        if requester.app_service.is_none()
            && let RoomAccess::Departed(_) = self.check_user_in_room_or_world_readable(room_id, requester, true).await?
        {
            return Err(MatrixError::forbidden(
                "Getting joined members while not being a current member of the room is forbidden.",
            ));
        }
        let profiles = self.storage.get_users_in_room_with_profiles(room_id).await?;
        if requester.app_service.is_some() {
            let users = self.storage.get_users_in_room(room_id).await?;
            if !users.contains(&requester.user_id) && !users.iter().any(|user_id| is_interested(user_id)) {
                return Err(MatrixError::forbidden("Appservice not in room"));
            }
        }
        Ok([br#"{"joined":"#.as_slice(), &profiles, b"}"].concat())
    }
}
