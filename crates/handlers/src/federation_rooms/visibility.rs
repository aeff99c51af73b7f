//! What a server may see. Answers to `filter_events_for_server` in `synapse/visibility.py` and to the native
//! `event_visible_to_server` behind it.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use myelin_model::state_filter::StateFilter;
use myelin_model::{Event, MatrixError};
use myelin_storage::GetEvents;
use serde_json::Value;

use crate::visibility::{HISTORY_VISIBILITY, HistoryVisibility};
use crate::{Handlers, Result};

impl Handlers {
    /// The events in their order, pruned where the server was not in the room, or the sender asked for erasure.
    pub(super) async fn filter_events_for_server(
        &self,
        server: &str,
        events: Vec<Arc<Event>>,
    ) -> Result<Vec<Arc<Event>>> {
        let erased = self.storage.are_users_erased(events.iter().map(|event| Arc::clone(&event.sender))).await?;
        // It is not known who is in these rooms: what others wrote there may be for others.
        let partial = self.storage.partial_state_rooms().await?;
        let visibility = self.history_visibility_at(&events).await?;
        let restricted = |event: &&Arc<Event>| {
            let visibility = visibility.get(&event.event_id);
            matches!(visibility, Some(HistoryVisibility::Invited | HistoryVisibility::Joined))
        };
        let restricted: Vec<Arc<str>> =
            events.iter().filter(restricted).map(|event| Arc::clone(&event.event_id)).collect();
        let memberships = self.memberships_at(restricted, server).await?;
        let is_visible = |event: &Event| {
            !erased.contains(&event.sender)
                && (self.is_mine(&event.sender) || !partial.contains(&event.room_id))
                && memberships.get(&event.event_id).is_none_or(|members| {
                    let invited = visibility.get(&event.event_id) == Some(&HistoryVisibility::Invited);
                    members.iter().any(|member| match member.membership() {
                        Some("join") => true,
                        Some("invite") => invited,
                        _ => false,
                    })
                })
        };
        let shown = |event: Arc<Event>| if is_visible(&event) { event } else { Arc::new(event.prune(None)) };
        Ok(events.into_iter().map(shown).collect())
    }

    /// `_event_to_history_vis`: outliers, whose state is not known, are shared.
    async fn history_visibility_at(&self, events: &[Arc<Event>]) -> Result<HashMap<Arc<str>, HistoryVisibility>> {
        let inside = events.iter().filter(|event| !event.is_outlier());
        let ids: Vec<Arc<str>> = inside.map(|event| Arc::clone(&event.event_id)).collect();
        let filter = StateFilter::from_types([(Arc::from(HISTORY_VISIBILITY), Some(Arc::from("")))]);
        let states = self.storage.get_state_ids_for_events(&ids, &filter).await?;
        let wanted: HashSet<Arc<str>> = states.values().flat_map(|state| state.values().cloned()).collect();
        let wanted: Vec<Arc<str>> = wanted.into_iter().collect();
        let loaded = self.storage.get_events(&wanted, GetEvents::default()).await?;
        let mut found = HashMap::with_capacity(ids.len());
        for id in ids {
            let state = states.get(&id).ok_or_else(|| MatrixError::internal(format!("no state at event {id}")))?;
            let visibility = match state.values().next() {
                Some(event_id) => {
                    let event = loaded.get(event_id);
                    let event = event.ok_or_else(|| MatrixError::internal(format!("no event {event_id}")))?;
                    let value: Option<Value> = event.content_field("history_visibility");
                    // Synapse fails as well.
                    if value.as_ref().is_some_and(|value| !value.is_string()) {
                        return Err(MatrixError::internal(format!("the visibility of {event_id} is no text")));
                    }
                    HistoryVisibility::parse(value.as_ref().and_then(Value::as_str))
                }
                None => HistoryVisibility::Shared,
            };
            found.insert(id, visibility);
        }
        Ok(found)
    }

    /// `_event_to_memberships`: the member events of the server's users at each event.
    async fn memberships_at(
        &self,
        event_ids: Vec<Arc<str>>,
        server: &str,
    ) -> Result<HashMap<Arc<str>, Vec<Arc<Event>>>> {
        if event_ids.is_empty() {
            return Ok(HashMap::new());
        }
        let group_of = self.storage.get_state_group_for_events(&event_ids).await?;
        let groups: HashSet<i64> = group_of.values().copied().collect();
        let members = self.storage.get_members_of_server(&groups, server).await?;
        let ids: HashSet<Arc<str>> = members.values().flatten().cloned().collect();
        let ids: Vec<Arc<str>> = ids.into_iter().collect();
        let events = self.storage.get_events(&ids, GetEvents::default()).await?;
        let at = |event_id: Arc<str>| {
            let members = group_of.get(&event_id).and_then(|group| members.get(group)).map_or(&[][..], Vec::as_slice);
            let members = members.iter().filter_map(|id| events.get(id).cloned()).collect();
            (event_id, members)
        };
        Ok(event_ids.into_iter().map(at).collect())
    }
}
