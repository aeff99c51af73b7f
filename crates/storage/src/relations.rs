//! What relates to an event. Answers to `synapse/storage/databases/main/relations.py`.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::{Storage, StorageError};

/// An `m.reference` to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelatedEvent {
    pub event_id: Arc<str>,
    pub sender: Arc<str>,
}

/// The thread under an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadSummary {
    pub count: i64,
    pub latest_event_id: Arc<str>,
}

pub type References = Arc<Vec<RelatedEvent>>;

fn texts(ids: &[Arc<str>]) -> Vec<&str> {
    ids.iter().map(|id| &**id).collect()
}

impl Storage {
    /// `get_references_for_events`; events without references have an empty list.
    pub async fn get_references_for_events(
        &self,
        event_ids: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, References>, StorageError> {
        let load = |storage: Self, ids: Vec<Arc<str>>| async move {
            let rows: Vec<(String, String, String)> = sqlx::query_as(
                "SELECT r.relates_to_id, ref.event_id, ref.sender
                 FROM event_relations AS r
                 JOIN events AS ref ON ref.event_id = r.event_id
                 JOIN events AS parent ON parent.event_id = r.relates_to_id AND parent.room_id = ref.room_id
                 WHERE r.relates_to_id = ANY($1) AND r.relation_type = 'm.reference'
                 ORDER BY ref.topological_ordering, ref.stream_ordering",
            )
            .bind(texts(&ids))
            .fetch_all(storage.pool())
            .await?;
            let mut found: HashMap<String, Vec<RelatedEvent>> = HashMap::new();
            for (parent, event_id, sender) in rows {
                let related = RelatedEvent { event_id: event_id.into(), sender: sender.into() };
                found.entry(parent).or_default().push(related);
            }
            Ok(each(ids, |id| Arc::new(found.remove(id).unwrap_or_default())))
        };
        self.caches().references.get_many(event_ids.iter().cloned(), self, load).await
    }

    /// `get_applicable_edits`: the id of the newest edit by the same sender, of the same type, in the same room.
    pub async fn get_applicable_edits(
        &self,
        event_ids: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, Option<Arc<str>>>, StorageError> {
        let load = |storage: Self, ids: Vec<Arc<str>>| async move {
            let rows: Vec<(String, String)> = sqlx::query_as(
                "SELECT DISTINCT ON (original.event_id) original.event_id, edit.event_id
                 FROM event_relations AS r
                 JOIN events AS edit ON edit.event_id = r.event_id
                 JOIN events AS original ON original.event_id = r.relates_to_id
                     AND edit.type = original.type AND edit.sender = original.sender
                     AND edit.room_id = original.room_id
                 WHERE r.relates_to_id = ANY($1) AND r.relation_type = 'm.replace'
                 ORDER BY original.event_id DESC, edit.origin_server_ts DESC, edit.event_id DESC",
            )
            .bind(texts(&ids))
            .fetch_all(storage.pool())
            .await?;
            let mut found: HashMap<String, String> = rows.into_iter().collect();
            Ok(each(ids, |id| found.remove(id).map(Arc::from)))
        };
        self.caches().edits.get_many(event_ids.iter().cloned(), self, load).await
    }

    /// `get_thread_summaries`.
    pub async fn get_thread_summaries(
        &self,
        event_ids: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, Option<ThreadSummary>>, StorageError> {
        let load = |storage: Self, ids: Vec<Arc<str>>| async move {
            let rows: Vec<(String, String, i64)> = sqlx::query_as(
                "SELECT DISTINCT ON (parent.event_id) parent.event_id, child.event_id,
                     count(*) OVER (PARTITION BY parent.event_id)
                 FROM event_relations AS r
                 JOIN events AS child ON child.event_id = r.event_id
                 JOIN events AS parent ON parent.event_id = r.relates_to_id AND parent.room_id = child.room_id
                 WHERE r.relates_to_id = ANY($1) AND r.relation_type = 'm.thread'
                 ORDER BY parent.event_id, child.topological_ordering DESC, child.stream_ordering DESC",
            )
            .bind(texts(&ids))
            .fetch_all(storage.pool())
            .await?;
            let summary = |(parent, latest, count): (String, String, i64)| {
                (parent, ThreadSummary { count, latest_event_id: latest.into() })
            };
            let mut found: HashMap<String, ThreadSummary> = rows.into_iter().map(summary).collect();
            Ok(each(ids, |id| found.remove(id)))
        };
        self.caches().threads.get_many(event_ids.iter().cloned(), self, load).await
    }

    /// `get_threads_participated`: the threads of `event_ids` that the user wrote in. Who wrote in a thread is
    /// remembered as a whole.
    pub async fn get_threads_participated(
        &self,
        event_ids: &[Arc<str>],
        user_id: &str,
    ) -> Result<HashSet<Arc<str>>, StorageError> {
        let load = |storage: Self, ids: Vec<Arc<str>>| async move {
            let rows: Vec<(String, String)> = sqlx::query_as(
                "SELECT DISTINCT r.relates_to_id, child.sender
                 FROM event_relations AS r
                 JOIN events AS child ON child.event_id = r.event_id
                 JOIN events AS parent ON parent.event_id = r.relates_to_id AND parent.room_id = child.room_id
                 WHERE r.relates_to_id = ANY($1) AND r.relation_type = 'm.thread'",
            )
            .bind(texts(&ids))
            .fetch_all(storage.pool())
            .await?;
            let mut found: HashMap<String, HashSet<Arc<str>>> = HashMap::new();
            for (parent, sender) in rows {
                found.entry(parent).or_default().insert(storage.texts().share(&sender));
            }
            Ok(each(ids, |id| Arc::new(found.remove(id).unwrap_or_default())))
        };
        let writers = self.caches().thread_writers.get_many(event_ids.iter().cloned(), self, load).await?;
        Ok(writers.into_iter().filter(|(_, writers)| writers.contains(user_id)).map(|(id, _)| id).collect())
    }

    /// `events_have_relations`: of `parent_ids`, those that events of these senders and types relate to.
    /// An empty list restricts nothing.
    pub async fn events_have_relations(
        &self,
        parent_ids: &[Arc<str>],
        senders: &[String],
        types: &[String],
    ) -> Result<HashSet<Arc<str>>, StorageError> {
        let ids: Vec<&str> = parent_ids.iter().map(|id| &**id).collect();
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT DISTINCT relates_to_id FROM event_relations INNER JOIN events USING (event_id)
             WHERE relates_to_id = ANY($1) AND (cardinality($2::text[]) = 0 OR sender = ANY($2))
                 AND (cardinality($3::text[]) = 0 OR relation_type = ANY($3))",
        )
        .bind(ids)
        .bind(senders)
        .bind(types)
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|(id,)| id.into()).collect())
    }

    /// The replies of each thread, oldest first, as (event id, sender): for readers who ignore somebody.
    pub async fn get_thread_replies(
        &self,
        event_ids: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, Vec<RelatedEvent>>, StorageError> {
        if event_ids.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT r.relates_to_id, child.event_id, child.sender
             FROM event_relations AS r
             JOIN events AS child ON child.event_id = r.event_id
             JOIN events AS parent ON parent.event_id = r.relates_to_id AND parent.room_id = child.room_id
             WHERE r.relates_to_id = ANY($1) AND r.relation_type = 'm.thread'
             ORDER BY child.topological_ordering, child.stream_ordering",
        )
        .bind(texts(event_ids))
        .fetch_all(self.pool())
        .await?;
        let mut found: HashMap<Arc<str>, Vec<RelatedEvent>> = HashMap::new();
        for (parent, event_id, sender) in rows {
            let related = RelatedEvent { event_id: event_id.into(), sender: sender.into() };
            found.entry(Arc::from(parent)).or_default().push(related);
        }
        Ok(found)
    }
}

/// An entry for every id, so that "nothing relates to it" is remembered too.
fn each<V>(ids: Vec<Arc<str>>, mut value: impl FnMut(&str) -> V) -> HashMap<Arc<str>, V> {
    ids.into_iter().map(|id| (Arc::clone(&id), value(&id))).collect()
}
