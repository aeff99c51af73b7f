//! Events by id, redacted as a client may see them.
//! Answers to `synapse/storage/databases/main/events_worker.py`.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use myelin_model::Event;

use crate::event_cache::{EventCacheEntry, same_domain};
use crate::{Storage, StorageError};

/// What becomes of redacted events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedactBehaviour {
    AsIs,
    #[default]
    Redact,
    Block,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct GetEvents {
    /// Rejected events as well, and redactions without a look at their target.
    pub allow_rejected: bool,
    pub redact: RedactBehaviour,
    /// Puts `prev_content` and `prev_sender` into the `unsigned` of state events.
    pub prev_content: bool,
}

impl Storage {
    /// One event, as a client may see it.
    pub async fn get_event(&self, event_id: &str) -> Result<Option<Arc<Event>>, StorageError> {
        let id: Arc<str> = Arc::from(event_id);
        Ok(self.get_events(&[id], GetEvents::default()).await?.into_values().next())
    }

    /// Unknown, hidden and (unless allowed) rejected events are left out.
    pub async fn get_events(
        &self,
        event_ids: &[Arc<str>],
        options: GetEvents,
    ) -> Result<HashMap<Arc<str>, Arc<Event>>, StorageError> {
        let events = self.get_events_as_list(event_ids, options).await?;
        Ok(events.into_iter().map(|event| (Arc::clone(&event.event_id), event)).collect())
    }

    /// In the order of `event_ids`, with `unsigned.prev_content`.
    pub async fn get_events_with_prev_content(&self, event_ids: &[Arc<str>]) -> Result<Vec<Arc<Event>>, StorageError> {
        self.get_events_as_list(event_ids, GetEvents { prev_content: true, ..GetEvents::default() }).await
    }

    /// In the order of `event_ids`.
    pub async fn get_events_as_list(
        &self,
        event_ids: &[Arc<str>],
        options: GetEvents,
    ) -> Result<Vec<Arc<Event>>, StorageError> {
        let entries = self.0.events.get_list(event_ids, self, Self::load_events).await?;
        let mut entries: Vec<EventCacheEntry> = entries.into_iter().flatten().collect();
        if !options.allow_rejected {
            let redactions = entries.iter().filter(|entry| is_redaction(&entry.event));
            let targets: Vec<Arc<str>> = redactions.filter_map(|entry| entry.event.redacts.clone()).collect();
            let targets = if targets.is_empty() { HashMap::new() } else { self.get_unredacted_events(targets).await? };
            entries.retain(|entry| {
                !entry.event.is_rejected() && (!is_redaction(&entry.event) || is_effective(&entry.event, &targets))
            });
        }
        let events: Vec<Arc<Event>> = entries.into_iter().filter_map(|entry| choose(entry, options.redact)).collect();
        if options.prev_content { self.with_prev_content(events).await } else { Ok(events) }
    }

    /// Redacted and unredacted forms, rejected events too: for those who decide themselves.
    pub async fn get_unredacted_events(
        &self,
        event_ids: impl IntoIterator<Item = Arc<str>>,
    ) -> Result<HashMap<Arc<str>, EventCacheEntry>, StorageError> {
        let ids: HashSet<Arc<str>> = event_ids.into_iter().collect();
        self.0.events.get_many(ids, self, Self::load_events).await
    }

    async fn with_prev_content(&self, events: Vec<Arc<Event>>) -> Result<Vec<Arc<Event>>, StorageError> {
        let previous: Vec<Arc<str>> = events.iter().filter_map(|event| event.unsigned.replaces_state.clone()).collect();
        if previous.is_empty() {
            return Ok(events);
        }
        let options = GetEvents::default();
        // Boxed: this is a call of our caller.
        let previous = Box::pin(self.get_events(&previous, options)).await?;
        let add = |event: Arc<Event>| {
            let Some(replaced) = event.unsigned.replaces_state.as_ref().and_then(|id| previous.get(id)) else {
                return event;
            };
            Arc::new(event.with_replaced(Arc::clone(replaced)))
        };
        Ok(events.into_iter().map(add).collect())
    }
}

fn is_redaction(event: &Event) -> bool {
    &*event.kind == "m.room.redaction"
}

/// Whether a redaction may be shown: its target is known, and it was entitled to redact it.
/// One that is not may become so when its target arrives.
fn is_effective(redaction: &Event, targets: &HashMap<Arc<str>, EventCacheEntry>) -> bool {
    let Some(target) = redaction.redacts.as_ref().and_then(|id| targets.get(id)) else { return false };
    let target = &target.event;
    !target.is_rejected()
        && &*target.kind != "m.room.create"
        && target.room_id == redaction.room_id
        && (!redaction.internal.recheck_redaction || same_domain(&target.sender, &redaction.sender))
}

fn choose(entry: EventCacheEntry, behaviour: RedactBehaviour) -> Option<Arc<Event>> {
    match (entry.redacted, behaviour) {
        (Some(_), RedactBehaviour::Block) => None,
        (Some(redacted), RedactBehaviour::Redact) => Some(redacted),
        _ => Some(entry.event),
    }
}
