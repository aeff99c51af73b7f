//! Events loaded in batches, with the redactions that apply to them.
//! Answers to `_get_event_cache`, `_get_events_from_db` and `_maybe_redact_event_row` in
//! `synapse/storage/databases/main/events_worker.py`.

use std::sync::Arc;

use hashbrown::HashMap;
use myelin_caches::Registry;
use myelin_model::Event;
use myelin_model::event::{InternalMetadata, StoredEvent};
use myelin_model::position::EventPosition;

use crate::stream::instance_or_master;
use crate::{CacheSizes, Loader, Storage, StorageError};

/// Synapse's batch; it also bounds the memory of one answer of Postgres.
const BATCH: usize = 200;

/// What the cache itself needs for an entry, in bytes.
const ENTRY: usize = 128;

/// An event as it was sent, and what a redaction left of it.
#[derive(Clone, Debug)]
pub struct EventCacheEntry {
    pub event: Arc<Event>,
    pub redacted: Option<Arc<Event>>,
}

pub(crate) type EventCache = Loader<Arc<str>, EventCacheEntry>;

pub(crate) fn new(sizes: CacheSizes, registry: &Registry) -> Arc<EventCache> {
    let cache: Arc<EventCache> = Arc::new(Loader::new(sizes.event_bytes(), |_, entry: &EventCacheEntry| {
        ENTRY + entry.event.weight() + entry.redacted.as_ref().map_or(0, |event| event.weight())
    }));
    let watched = Arc::clone(&cache);
    registry.watch("*getEvent*", move || watched.cache().stats());
    let by_event = Arc::clone(&cache);
    registry.register("_get_event_cache", move |keys| match keys {
        Some([event_id, ..]) => by_event.invalidate(&Arc::from(*event_id)),
        _ => by_event.clear(),
    });
    // A purge is rare: a walk over all events is less than an index of them by room.
    let by_room = Arc::clone(&cache);
    registry.register("_invalidate_local_get_event_cache_room_id", move |keys| match keys {
        Some([room_id, ..]) => by_room.invalidate_values(|entry| *entry.event.room_id == **room_id),
        _ => by_room.clear(),
    });
    cache
}

struct EventRow {
    event_id: String,
    position: EventPosition,
    internal_metadata: String,
    json: String,
    format_version: Option<i32>,
    room_version: Option<String>,
    reason: Option<String>,
    outlier: bool,
}

/// A redaction that names an event; its own event may be missing.
struct RedactionRow {
    redacted: String,
    redaction: String,
    recheck: bool,
    room_id: Option<String>,
    sender: Option<String>,
    rejected: bool,
    internal_metadata: Option<String>,
}

impl Storage {
    /// What is stored of these events, rejected ones too; unknown and unreadable ones are left out.
    pub(crate) async fn load_events(
        self,
        event_ids: Vec<Arc<str>>,
    ) -> Result<HashMap<Arc<str>, EventCacheEntry>, StorageError> {
        let mut entries = HashMap::with_capacity(event_ids.len());
        for batch in event_ids.chunks(BATCH) {
            let ids: Vec<&str> = batch.iter().map(|id| &**id).collect();
            let (rows, redactions) = tokio::try_join!(self.event_rows(&ids), self.redaction_rows(&ids))?;
            let mut by_event: HashMap<String, Vec<RedactionRow>> = HashMap::new();
            for row in redactions {
                by_event.entry(row.redacted.clone()).or_default().push(row);
            }
            for row in rows {
                let redactions = by_event.remove(&row.event_id).unwrap_or_default();
                let Some(event) = self.read_event(&row) else { continue };
                let redacted = redaction_of(&event, &redactions).map(|id| Arc::new(event.prune(Some(id))));
                let entry = EventCacheEntry { event: Arc::new(event), redacted };
                entries.insert(Arc::clone(&entry.event.event_id), entry);
            }
        }
        Ok(entries)
    }

    async fn event_rows(&self, event_ids: &[&str]) -> Result<Vec<EventRow>, StorageError> {
        type Row = (String, i64, Option<String>, String, String, Option<i32>, Option<String>, Option<String>, bool);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT e.event_id, e.stream_ordering, e.instance_name, ej.internal_metadata, ej.json, ej.format_version,
                 r.room_version, rej.reason, e.outlier
             FROM events AS e
             JOIN event_json AS ej ON ej.event_id = e.event_id
             LEFT JOIN rooms AS r ON r.room_id = e.room_id
             LEFT JOIN rejections AS rej ON rej.event_id = e.event_id
             WHERE e.event_id = ANY($1)",
        )
        .bind(event_ids)
        .fetch_all(self.pool())
        .await?;
        let row =
            |(event_id, stream, instance, metadata, json, format_version, room_version, reason, outlier)| EventRow {
                event_id,
                position: EventPosition { instance: instance_or_master(instance), stream },
                internal_metadata: metadata,
                json,
                format_version,
                room_version,
                reason,
                outlier,
            };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Redactions of these events, and bans that redact all of a user's events (MSC4293). Of several the oldest takes
    /// effect. (Synapse: the first of rows without an order, which is the oldest as Postgres stores them.)
    async fn redaction_rows(&self, event_ids: &[&str]) -> Result<Vec<RedactionRow>, StorageError> {
        type Row = (String, String, bool, Option<String>, Option<String>, bool, Option<String>);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT n.redacted, n.redaction, n.recheck, e.room_id, e.sender,
                 rej.event_id IS NOT NULL AS rejected, ej.internal_metadata
             FROM (
                 SELECT redacts AS redacted, event_id AS redaction, recheck, FALSE AS ban
                 FROM redactions WHERE redacts = ANY($1)
                 UNION ALL
                 SELECT t.event_id, b.redacting_event_id, TRUE, TRUE
                 FROM events AS t
                 JOIN room_ban_redactions AS b ON b.room_id = t.room_id AND b.user_id = t.sender
                 WHERE t.event_id = ANY($1)
                     AND (COALESCE(b.redact_end_ordering, 0) = 0 OR t.stream_ordering < b.redact_end_ordering)
             ) AS n
             LEFT JOIN events AS e ON e.event_id = n.redaction
             LEFT JOIN event_json AS ej ON ej.event_id = n.redaction
             LEFT JOIN rejections AS rej ON rej.event_id = n.redaction
             ORDER BY n.ban, e.stream_ordering NULLS LAST",
        )
        .bind(event_ids)
        .fetch_all(self.pool())
        .await?;
        let row = |(redacted, redaction, recheck, room_id, sender, rejected, internal_metadata)| RedactionRow {
            redacted,
            redaction,
            recheck,
            room_id,
            sender,
            rejected,
            internal_metadata,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    fn read_event(&self, row: &EventRow) -> Option<Event> {
        let texts = self.texts();
        let stored = StoredEvent {
            event_id: texts.share(&row.event_id),
            json: &row.json,
            internal_metadata: &row.internal_metadata,
            format_version: row.format_version,
            room_version: row.room_version.as_deref(),
            position: EventPosition { instance: texts.share(&row.position.instance), stream: row.position.stream },
            outlier: row.outlier,
            rejected_reason: row.reason.as_deref(),
        };
        Event::from_stored(stored, |text| texts.share(text))
            .inspect_err(|error| tracing::warn!(event_id = row.event_id, %error, "event left out"))
            .ok()
    }
}

/// The redaction that takes effect. Those without `recheck` were authorised when they arrived;
/// the others arrived before their target or come from a ban, and are judged on each read.
fn redaction_of(event: &Event, redactions: &[RedactionRow]) -> Option<Arc<str>> {
    // Synapse: redactions of create events are ignored.
    if &*event.kind == "m.room.create" {
        return None;
    }
    let confirmed = redactions.iter().find(|row| !row.recheck);
    let found = confirmed.or_else(|| redactions.iter().find(|row| is_authorised(event, row)));
    found.map(|row| Arc::from(row.redaction.as_str()))
}

fn is_authorised(event: &Event, redaction: &RedactionRow) -> bool {
    let (Some(room_id), Some(sender), Some(metadata)) =
        (&redaction.room_id, &redaction.sender, &redaction.internal_metadata)
    else {
        return false;
    };
    let metadata: InternalMetadata = serde_json::from_str(metadata).unwrap_or_default();
    !redaction.rejected
        && **room_id == *event.room_id
        && (!metadata.recheck_redaction || same_domain(sender, &event.sender))
}

/// Whether two users are of one server.
pub(crate) fn same_domain(a: &str, b: &str) -> bool {
    let domain = |id| str::split_once(id, ':').map(|(_, domain)| domain);
    domain(a) == domain(b)
}
