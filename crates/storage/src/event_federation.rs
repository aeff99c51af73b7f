//! Where a room's history was not fetched yet. Answers to `synapse/storage/databases/main/event_federation.py`.

use crate::{Storage, StorageError};

/// `BACKFILL_EVENT_EXPONENTIAL_BACKOFF_MAXIMUM_DOUBLING_STEPS` and `…_STEP_MILLISECONDS`.
const BACKOFF: (i32, i64) = (8, 60 * 60 * 1000);
/// Points looked at; Synapse takes as many.
const MAX_POINTS: i64 = 50;

/// What a walk through a room's past depends on, besides its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// `_get_max_topological_txn`: the depth of the deepest event; 0 in a room without any.
    pub max_depth: i64,
    /// Events refer to others that this server does not have.
    pub has_backward_extremities: bool,
    /// Somebody deletes old events at this moment.
    pub is_being_purged: bool,
}

impl Storage {
    pub async fn get_history(&self, room_id: &str) -> Result<History, StorageError> {
        let (max_depth, has_backward_extremities, is_being_purged): (i64, bool, bool) = sqlx::query_as(
            "SELECT coalesce((SELECT max(topological_ordering) FROM events WHERE room_id = $1), 0),
                 EXISTS (SELECT 1 FROM event_backward_extremities WHERE room_id = $1),
                 EXISTS (SELECT 1 FROM worker_read_write_locks
                     WHERE lock_name = 'purge_pagination_lock' AND lock_key = $1 AND write_lock)",
        )
        .bind(room_id)
        .fetch_one(self.pool())
        .await?;
        Ok(History { max_depth, has_backward_extremities, is_being_purged })
    }

    /// `get_current_topological_token`: the depth in the room at, or just after, a point in the order of arrival.
    pub async fn get_current_topological_token(&self, room_id: &str, stream: i64) -> Result<i64, StorageError> {
        let (depth,): (i64,) = sqlx::query_as(
            "SELECT coalesce(min(topological_ordering), 0) FROM events
             WHERE room_id = $1 AND stream_ordering >= least($2,
                 (SELECT max(stream_ordering) FROM events WHERE room_id = $1))",
        )
        .bind(room_id)
        .bind(stream)
        .fetch_one(self.pool())
        .await?;
        Ok(depth)
    }

    /// `get_backfill_points_in_room`: about how deep the unknown events are, the deepest first, down from
    /// `nearby_depth`; without those that lately could not be fetched.
    pub async fn get_backfill_points_in_room(
        &self,
        room_id: &str,
        nearby_depth: i64,
        now_ms: i64,
    ) -> Result<Vec<i64>, StorageError> {
        let rows: Vec<(i64,)> = sqlx::query_as(
            "SELECT e.topological_ordering FROM event_backward_extremities AS b
             JOIN event_edges AS edge ON edge.prev_event_id = b.event_id AND edge.is_state IS FALSE
             JOIN events AS e ON e.event_id = edge.event_id
             LEFT JOIN event_failed_pull_attempts AS f ON f.room_id = b.room_id AND f.event_id = b.event_id
             WHERE b.room_id = $1 AND e.topological_ordering <= $2 AND (f.event_id IS NULL
                 OR $3 >= f.last_attempt_ts + (1 << least(f.num_attempts, $4)) * $5)
             ORDER BY e.topological_ordering DESC LIMIT $6",
        )
        .bind(room_id)
        .bind(nearby_depth)
        .bind(now_ms)
        .bind(BACKOFF.0)
        .bind(BACKOFF.1)
        .bind(MAX_POINTS)
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|(depth,)| depth).collect())
    }
}
