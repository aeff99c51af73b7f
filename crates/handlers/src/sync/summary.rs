//! How a client names a room without a name. Answers to `compute_summary` in `synapse/handlers/sync.py` and
//! `extract_heroes_from_room_summary`.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use myelin_config::truthy;
use myelin_model::Event;
use myelin_model::state_filter::{MEMBER, StateFilter, StateKey};
use myelin_storage::GetEvents;
use myelin_storage::roommember::RoomSummary;
use serde_json::{Value, json};

use super::Timeline;
use super::builder::Sync;
use super::rooms::RoomEntry;
use crate::{Handlers, Result};

const MAX_HEROES: usize = 5;
/// What names a room, with the field that does.
const NAMES: [(&str, &str); 2] = [("m.room.name", "name"), ("m.room.canonical_alias", "alias")];

impl Handlers {
    /// Adds the heroes' member events to `state` if the client may not have them. `None` for a room without events.
    pub(super) async fn room_summary(
        &self,
        sync: &Sync<'_>,
        room_id: &str,
        timeline: &Timeline,
        state: &mut HashMap<StateKey, Arc<Event>>,
    ) -> Result<Option<Value>> {
        let last = self.storage.last_event_in_room_before(room_id, &sync.now.room.position()).await?;
        let Some(last) = last else { return Ok(None) };
        let types = NAMES.map(|(kind, _)| (Arc::from(kind), Some(Arc::from(""))));
        let names = self.storage.get_state_ids_for_event(&last, &StateFilter::from_types(types)).await?;
        let details = self.storage.get_room_summary(room_id).await?;
        let mut summary = json!({
            "m.joined_member_count": details.count("join"),
            "m.invited_member_count": details.count("invite"),
        });
        for (kind, field) in NAMES {
            let Some(event_id) = names.get(&(Arc::from(kind), Arc::from(""))) else { continue };
            let event = self.storage.get_event(event_id).await?;
            // An empty text names nothing.
            if event.is_some_and(|event| event.content_value().get(field).is_some_and(truthy)) {
                return Ok(Some(summary));
            }
        }
        let heroes = heroes(&details, &sync.user_id);
        summary["m.heroes"] = heroes.iter().map(|(user_id, _)| &**user_id).collect();

        let in_timeline = timeline.events.iter().map(|visible| &visible.event).filter(|event| &*event.kind == MEMBER);
        let known: HashSet<Arc<str>> = in_timeline.filter_map(|event| event.state_key.clone()).collect();
        let device = sync.device_key();
        let missing = heroes.into_iter().filter(|(user_id, event_id)| {
            !known.contains(user_id)
                && !state.contains_key(&(Arc::from(MEMBER), Arc::clone(user_id)))
                && !self.lazy_members.was_sent(&device, user_id, event_id)
        });
        let missing: Vec<Arc<str>> = missing.map(|(_, event_id)| event_id).collect();
        let at = sync.now.room.position();
        for event in self.storage.get_events(&missing, GetEvents::default()).await?.into_values() {
            let Some(key) = event.state_map_key() else { continue };
            self.lazy_members.mark_sent(&device, &key.1, &event.event_id, &at);
            state.insert(key, event);
        }
        Ok(Some(summary))
    }
}

/// Clients that load members lazily cannot name a room by themselves when its members change.
pub(super) fn wants_summary(
    sync: &Sync<'_>,
    entry: &RoomEntry,
    timeline: &Timeline,
    state: &HashMap<StateKey, Arc<Event>>,
) -> bool {
    !entry.out_of_band
        && sync.filter.lazy_load_members()
        && (entry.since.is_none()
            || timeline.events.iter().any(|visible| &*visible.event.kind == MEMBER)
            || timeline.limited && state.keys().any(|(kind, _)| &**kind == MEMBER))
}

/// (user id, event id) of those who stand for the room: who is there, or else who was.
fn heroes(details: &RoomSummary, me: &str) -> Vec<(Arc<str>, Arc<str>)> {
    let with = |memberships: &[&str]| -> Vec<(Arc<str>, Arc<str>)> {
        let each = memberships.iter().flat_map(|membership| {
            details.first_members.iter().filter(move |member| &*member.membership == *membership)
        });
        let others = each.filter(|member| &*member.user_id != me);
        others.take(MAX_HEROES).map(|member| (Arc::clone(&member.user_id), Arc::clone(&member.event_id))).collect()
    };
    let present = with(&["join", "invite"]);
    if present.is_empty() { with(&["leave", "ban"]) } else { present }
}
