//! Bundled aggregations. Answers to `synapse/handlers/relations.py`.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use myelin_model::Event;
use myelin_storage::GetEvents;
use serde_json::Value;

use crate::visibility::VisibleEvent;
use crate::{Handlers, Result};

/// Replies of a thread among which a reader who ignores somebody is shown the latest: the default limit of
/// `get_relations_for_event`, which begins with the oldest.
const OLDEST_REPLIES: usize = 5;

/// What relates to one event.
#[derive(Clone, Debug, Default)]
pub struct BundledAggregations {
    pub references: Vec<Arc<str>>,
    pub replace: Option<Arc<Event>>,
    pub thread: Option<ThreadAggregation>,
}

#[derive(Clone, Debug)]
pub struct ThreadAggregation {
    pub latest_event: Arc<Event>,
    pub count: i64,
    pub current_user_participated: bool,
}

pub type Bundles = HashMap<Arc<str>, BundledAggregations>;

/// `relation_from_event`: the relation type, of a well-formed relation.
pub fn relation_type(event: &Event) -> Option<String> {
    let relation: Value = event.content_field("m.relates_to")?;
    relation.get("event_id")?.as_str()?;
    relation.get("rel_type").and_then(Value::as_str).map(str::to_owned)
}

impl Handlers {
    /// `get_bundled_aggregations`: may hold entries of further events, the latest of their threads.
    pub async fn get_bundled_aggregations(&self, events: &[VisibleEvent], user_id: &str) -> Result<Bundles> {
        let mut by_id: HashMap<Arc<str>, Arc<Event>> = HashMap::new();
        let mut roots: Vec<Arc<str>> = Vec::new();
        for event in events.iter().map(|visible| &visible.event).filter(|event| !event.is_state()) {
            let relation = relation_type(event);
            // Nothing can relate to an edit or a reaction.
            if matches!(relation.as_deref(), Some("m.annotation" | "m.replace")) {
                continue;
            }
            // A thread cannot start at an event that relates to another.
            if relation.is_none() {
                roots.push(Arc::clone(&event.event_id));
            }
            by_id.insert(Arc::clone(&event.event_id), Arc::clone(event));
        }
        if by_id.is_empty() {
            return Ok(Bundles::new());
        }
        let ignored = self.storage.ignored_users(user_id).await?;
        let mut bundles = Bundles::new();
        for (event_id, thread) in self.threads_of(&roots, &by_id, user_id, &ignored).await? {
            let latest = &thread.latest_event;
            by_id.entry(Arc::clone(&latest.event_id)).or_insert_with(|| Arc::clone(latest));
            bundles.entry(event_id).or_default().thread = Some(thread);
        }
        let ids: Vec<Arc<str>> = by_id.keys().cloned().collect();
        for (event_id, related) in self.storage.get_references_for_events(&ids).await? {
            let shown = related.iter().filter(|event| !ignored.contains(&event.sender));
            let references: Vec<_> = shown.map(|event| Arc::clone(&event.event_id)).collect();
            if !references.is_empty() {
                bundles.entry(event_id).or_default().references = references;
            }
        }
        let editable = by_id.values().filter(|event| event.redacted_by.is_none() && !event.internal.redacted);
        let editable: Vec<Arc<str>> = editable.map(|event| Arc::clone(&event.event_id)).collect();
        let edits = self.storage.get_applicable_edits(&editable).await?;
        let edit_ids: Vec<Arc<str>> = edits.values().flatten().cloned().collect();
        let loaded = self.storage.get_events(&edit_ids, GetEvents::default()).await?;
        for (event_id, edit) in edits {
            if let Some(edit) = edit.and_then(|id| loaded.get(&id)) {
                bundles.entry(event_id).or_default().replace = Some(Arc::clone(edit));
            }
        }
        Ok(bundles)
    }

    async fn may_see(&self, user_id: &str, event: &Arc<Event>) -> Result<bool> {
        let is_peeking = !self.storage.get_users_in_room(&event.room_id).await?.contains(user_id);
        let seen = self.filter_events_for_client(user_id, vec![Arc::clone(event)], is_peeking, &HashSet::new()).await?;
        Ok(!seen.is_empty())
    }

    async fn threads_of(
        &self,
        roots: &[Arc<str>],
        by_id: &HashMap<Arc<str>, Arc<Event>>,
        user_id: &str,
        ignored: &HashSet<Arc<str>>,
    ) -> Result<Vec<(Arc<str>, ThreadAggregation)>> {
        let summaries = self.storage.get_thread_summaries(roots).await?;
        let summaries: Vec<_> = summaries.into_iter().filter_map(|(id, summary)| Some((id, summary?))).collect();
        if summaries.is_empty() {
            return Ok(Vec::new());
        }
        let latest: Vec<_> = summaries.iter().map(|(_, summary)| Arc::clone(&summary.latest_event_id)).collect();
        let latest = self.storage.get_events(&latest, GetEvents::default()).await?;
        let ids: Vec<Arc<str>> = summaries.iter().map(|(id, _)| Arc::clone(id)).collect();
        let started = |id: &Arc<str>| by_id.get(id).is_some_and(|event| &*event.sender == user_id);
        let others: Vec<_> = ids.iter().filter(|id| !started(id)).cloned().collect();
        let participated = self.storage.get_threads_participated(&others, user_id).await?;
        let replies = if ignored.is_empty() { HashMap::new() } else { self.storage.get_thread_replies(&ids).await? };
        // For a reader who ignores the sender of the latest reply, an earlier one is. Synapse: one of the oldest.
        let mut latest_of: HashMap<&Arc<str>, &Arc<str>> = HashMap::new();
        for (event_id, replies) in &replies {
            let oldest = &replies[..replies.len().min(OLDEST_REPLIES)];
            let shown = oldest.iter().rev().find(|reply| !ignored.contains(&reply.sender));
            if let Some(shown) = shown {
                latest_of.insert(event_id, &shown.event_id);
            }
        }
        let earlier: Vec<Arc<str>> = latest_of.values().map(|id| Arc::clone(id)).collect();
        let earlier = self.storage.get_events(&earlier, GetEvents::default()).await?;
        let mut threads = Vec::new();
        for (event_id, summary) in summaries {
            let Some(mut latest_event) = latest.get(&summary.latest_event_id) else { continue };
            let mut count = summary.count;
            if let Some(replies) = replies.get(&event_id) {
                for _ in replies.iter().filter(|reply| ignored.contains(&reply.sender)) {
                    count -= 1;
                }
                if ignored.contains(&latest_event.sender) {
                    let shown = latest_of.get(&event_id).and_then(|id| earlier.get(*id));
                    let Some(event) = shown else { continue };
                    // Synapse: refuses the whole request with 403 if the reader may not see it.
                    if !self.may_see(user_id, event).await? {
                        continue;
                    }
                    latest_event = event;
                }
            }
            let latest_event = Arc::clone(latest_event);
            let current_user_participated = started(&event_id) || participated.contains(&event_id);
            threads.push((event_id, ThreadAggregation { latest_event, count, current_user_participated }));
        }
        Ok(threads)
    }
}
