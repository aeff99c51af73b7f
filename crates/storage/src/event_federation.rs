//! Where a room's history was not fetched yet. Answers to `synapse/storage/databases/main/event_federation.py`.

use std::sync::Arc;

use myelin_model::{Direction, Event};

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

    /// `get_forward_extremities_for_room`, their ids: the latest events of a room.
    pub async fn get_forward_extremities_for_room(&self, room_id: &str) -> Result<Vec<String>, StorageError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT f.event_id FROM event_forward_extremities AS f
             JOIN event_to_state_groups AS g ON g.event_id = f.event_id
             JOIN events AS e ON e.event_id = f.event_id AND e.room_id = f.room_id
             WHERE f.room_id = $1",
        )
        .bind(room_id)
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|(event_id,)| event_id).collect())
    }

    /// `get_event_id_for_timestamp`: the event of the room that is the next at or after a time in milliseconds, or at
    /// or before it.
    pub async fn get_event_id_for_timestamp(
        &self,
        room_id: &str,
        timestamp: i64,
        direction: Direction,
    ) -> Result<Option<Arc<str>>, StorageError> {
        let statement = match direction {
            Direction::Backwards => {
                "SELECT e.event_id FROM events AS e LEFT JOIN rejections AS r ON r.event_id = e.event_id
                 WHERE e.room_id = $1 AND e.origin_server_ts <= $2 AND NOT e.outlier AND r.event_id IS NULL
                 ORDER BY e.origin_server_ts DESC, e.topological_ordering DESC, e.stream_ordering DESC LIMIT 1"
            }
            Direction::Forwards => {
                "SELECT e.event_id FROM events AS e LEFT JOIN rejections AS r ON r.event_id = e.event_id
                 WHERE e.room_id = $1 AND e.origin_server_ts >= $2 AND NOT e.outlier AND r.event_id IS NULL
                 ORDER BY e.origin_server_ts ASC, e.topological_ordering ASC, e.stream_ordering ASC LIMIT 1"
            }
        };
        let row: Option<(String,)> =
            sqlx::query_as(statement).bind(room_id).bind(timestamp).fetch_optional(self.pool()).await?;
        Ok(row.map(|(event_id,)| event_id.into()))
    }

    /// `is_event_next_to_backward_gap` for who looks forwards, and `is_event_next_to_forward_gap` the other way round:
    /// whether events that are not known here may lie on the near side of this one.
    pub async fn is_event_next_to_gap(&self, event: &Event, direction: Direction) -> Result<bool, StorageError> {
        let mut ids = vec![event.event_id.to_string()];
        let statement = match direction {
            Direction::Forwards => {
                ids.extend(event.prev_event_ids().iter().map(ToString::to_string));
                "SELECT EXISTS (SELECT 1 FROM event_backward_extremities WHERE room_id = $1 AND event_id = ANY($2))"
            }
            Direction::Backwards => {
                "SELECT NOT EXISTS (SELECT 1 FROM event_forward_extremities WHERE room_id = $1 AND event_id = ANY($2))
                     AND NOT EXISTS (SELECT 1 FROM event_edges AS e LEFT JOIN rejections AS r ON r.event_id = e.event_id
                         WHERE e.prev_event_id = ANY($2) AND r.event_id IS NULL)"
            }
        };
        let (next_to_gap,): (bool,) =
            sqlx::query_as(statement).bind(&*event.room_id).bind(ids).fetch_one(self.pool()).await?;
        Ok(next_to_gap)
    }
}
