//! Events that every member is to see for a while (MSC4354). Answers to
//! `synapse/storage/databases/main/sticky_events.py`.

use std::collections::HashMap;
use std::sync::Arc;

use myelin_model::MultiWriterPosition;

use crate::{Storage, StorageError};

/// Room to the ids of its events, oldest in the stream first.
pub type StickyEvents = HashMap<Arc<str>, Vec<Arc<str>>>;

impl Storage {
    /// `get_sticky_events_in_rooms`: those in (`lower`, `upper`] that have not expired at `now_ms`, and how far they
    /// were read: with a `limit`, perhaps not up to `upper`.
    pub async fn get_sticky_events_in_rooms(
        &self,
        room_ids: &[Arc<str>],
        lower: &MultiWriterPosition,
        upper: &MultiWriterPosition,
        now_ms: i64,
        limit: Option<usize>,
    ) -> Result<(MultiWriterPosition, StickyEvents), StorageError> {
        let mut read = lower.clone();
        read.merge(upper);
        if room_ids.is_empty() || upper.at_most(lower) {
            return Ok((read, StickyEvents::new()));
        }
        let room_ids: Vec<&str> = room_ids.iter().map(|room_id| &**room_id).collect();
        let (seen, covered) = (writers(lower), writers(upper));
        let rows: Vec<(i64, String, String)> = sqlx::query_as(
            "SELECT s.stream_id::bigint, s.room_id, s.event_id
             FROM sticky_events AS s JOIN event_json AS j USING (event_id)
             WHERE s.room_id = ANY($1) AND s.expires_at > $2 AND s.stream_id > $3 AND s.stream_id <= $4
                 AND NOT coalesce(((j.internal_metadata::jsonb)->>'soft_failed')::boolean, false)
                 AND NOT EXISTS (SELECT FROM unnest($5::text[], $6::bigint[]) AS w(name, position)
                     WHERE w.name = s.instance_name AND s.stream_id <= w.position)
                 AND (s.stream_id <= $7 OR EXISTS (SELECT FROM unnest($8::text[], $9::bigint[]) AS w(name, position)
                     WHERE w.name = s.instance_name AND s.stream_id <= w.position))
             ORDER BY s.stream_id LIMIT $10",
        )
        .bind(room_ids)
        .bind(now_ms)
        .bind(lower.base)
        .bind(upper.max())
        .bind(seen.0)
        .bind(seen.1)
        .bind(upper.base)
        .bind(covered.0)
        .bind(covered.1)
        .bind(limit.and_then(|limit| i64::try_from(limit).ok()))
        .fetch_all(self.pool())
        .await?;
        if let Some((last, ..)) = rows.last().filter(|_| Some(rows.len()) == limit) {
            read = lower.clone();
            read.merge(&upper.up_to(*last));
        }
        let mut by_room = StickyEvents::new();
        for (_, room_id, event_id) in rows {
            by_room.entry(room_id.into()).or_default().push(event_id.into());
        }
        Ok((read, by_room))
    }
}

/// Those that are ahead of the rest, and where they stand.
fn writers(position: &MultiWriterPosition) -> (Vec<&str>, Vec<i64>) {
    position.writers.iter().map(|(name, position)| (&**name, *position)).unzip()
}
