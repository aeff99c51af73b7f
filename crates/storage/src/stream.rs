//! Events in order of arrival and in order of depth. Answers to `synapse/storage/databases/main/stream.py`.
//!
//! Tokens with several writers are compared in two steps, as Synapse does: SQL bounds the coarse
//! range, then each row is checked against its own writer's position.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use myelin_model::position::{EventPosition, MASTER};
use myelin_model::{MultiWriterPosition, RoomToken};

use crate::{Storage, StorageError};

/// One page of a room's events, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    pub events: Vec<EventInOrder>,
    /// Just before the last event of the page, or the lower bound when there is none.
    pub next: RoomToken,
    /// There may be more within the bounds.
    pub limited: bool,
}

#[derive(Clone, Debug)]
pub struct EventInOrder {
    pub event_id: Arc<str>,
    pub position: EventPosition,
    pub depth: i64,
}

/// A change of current state; `event_id` is `None` when the key vanished in a state reset.
#[derive(Clone, Debug)]
pub struct StateDelta {
    pub kind: Arc<str>,
    pub state_key: Arc<str>,
    pub event_id: Option<Arc<str>>,
    pub prev_event_id: Option<Arc<str>>,
}

type OrderRow = (String, Option<String>, i64, i64);

fn in_order((event_id, instance, depth, stream): OrderRow) -> EventInOrder {
    let position = EventPosition { instance: instance_or_master(instance), stream };
    EventInOrder { event_id: event_id.into(), position, depth }
}

/// Rows from before there were several writers have no instance name.
pub(crate) fn instance_or_master(instance: Option<String>) -> Arc<str> {
    instance.map_or_else(|| Arc::from(MASTER), Arc::from)
}

/// Cuts rows (newest first) to the bounds and to `limit`; twice as many were asked for.
fn cut(
    rows: Vec<EventInOrder>,
    keep: impl Fn(&EventInOrder) -> bool,
    limit: usize,
    lower: Option<RoomToken>,
    topological: bool,
) -> Page {
    let asked = 2 * limit;
    let mut limited = rows.len() >= asked;
    let mut events: Vec<_> = rows.into_iter().filter(keep).collect();
    limited |= events.len() > limit;
    events.truncate(limit);
    let next = match events.last() {
        Some(last) if topological => RoomToken::Topological { depth: last.depth, stream: last.position.stream - 1 },
        Some(last) => RoomToken::Live((last.position.stream - 1).into()),
        None => lower.unwrap_or_else(|| RoomToken::Live(0.into())),
    };
    Page { events, next, limited }
}

#[expect(clippy::cast_possible_wrap, reason = "a limit is at most a few thousand")]
const fn sql_limit(limit: usize) -> i64 {
    2 * limit as i64
}

impl Storage {
    /// `get_room_events_stream_for_rooms`: for each room its newest events in (`lower`, `upper`],
    /// in one statement. Rooms without any are left out.
    pub async fn room_events_by_stream(
        &self,
        room_ids: &[&str],
        lower: &MultiWriterPosition,
        upper: &MultiWriterPosition,
        limit: usize,
    ) -> Result<HashMap<Arc<str>, Page>, StorageError> {
        if room_ids.is_empty() || upper.at_most(lower) {
            return Ok(HashMap::new());
        }
        let rows: Vec<(String, String, Option<String>, i64, i64)> = sqlx::query_as(
            "SELECT r.room_id, e.event_id, e.instance_name, e.topological_ordering, e.stream_ordering
             FROM unnest($1::text[]) AS r(room_id)
             CROSS JOIN LATERAL (
                 SELECT event_id, instance_name, topological_ordering, stream_ordering FROM events
                 WHERE room_id = r.room_id AND NOT outlier AND stream_ordering > $2 AND stream_ordering <= $3
                 ORDER BY stream_ordering DESC LIMIT $4
             ) AS e",
        )
        .bind(room_ids)
        .bind(lower.base)
        .bind(upper.max())
        .bind(sql_limit(limit))
        .fetch_all(self.pool())
        .await?;
        let mut by_room: HashMap<Arc<str>, Vec<EventInOrder>> = HashMap::new();
        for (room_id, event_id, instance, depth, stream) in rows {
            by_room.entry(room_id.into()).or_default().push(in_order((event_id, instance, depth, stream)));
        }
        let keep = |row: &EventInOrder| upper.covers_since(lower, &row.position.instance, row.position.stream);
        let page = |rows| cut(rows, keep, limit, Some(RoomToken::Live(lower.clone())), false);
        Ok(by_room.into_iter().map(|(room_id, rows)| (room_id, page(rows))).collect())
    }

    /// `paginate_room_events_by_stream_ordering`, backwards: (`lower`, `upper`].
    pub async fn paginate_by_stream(
        &self,
        room_id: &str,
        lower: &MultiWriterPosition,
        upper: &MultiWriterPosition,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let mut pages = self.room_events_by_stream(&[room_id], lower, upper, limit).await?;
        let empty = || Page { events: Vec::new(), next: RoomToken::Live(lower.clone()), limited: false };
        Ok(pages.remove(room_id).unwrap_or_else(empty))
    }

    /// `paginate_room_events_by_topological_ordering`, backwards from `upper`, without a lower bound.
    pub async fn paginate_by_depth(
        &self,
        room_id: &str,
        upper: &RoomToken,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let query = match upper {
            RoomToken::Live(position) => sqlx::query_as(
                "SELECT event_id, instance_name, topological_ordering, stream_ordering FROM events
                 WHERE NOT outlier AND room_id = $1 AND stream_ordering <= $2
                 ORDER BY topological_ordering DESC, stream_ordering DESC LIMIT $3",
            )
            .bind(room_id)
            .bind(position.max())
            .bind(sql_limit(limit)),
            RoomToken::Topological { depth, stream } => sqlx::query_as(
                "SELECT event_id, instance_name, topological_ordering, stream_ordering FROM events
                 WHERE NOT outlier AND room_id = $1 AND (topological_ordering, stream_ordering) <= ($2, $4)
                 ORDER BY topological_ordering DESC, stream_ordering DESC LIMIT $3",
            )
            .bind(room_id)
            .bind(depth)
            .bind(sql_limit(limit))
            .bind(stream),
        };
        let rows: Vec<OrderRow> = query.fetch_all(self.pool()).await?;
        let keep = |row: &EventInOrder| match upper {
            RoomToken::Live(position) => row.position.is_at_most(position),
            RoomToken::Topological { .. } => true,
        };
        let rows = rows.into_iter().map(in_order).collect();
        Ok(cut(rows, keep, limit, Some(upper.clone()), true))
    }

    /// `get_membership_changes_for_user`: ids of the user's own membership events in (`lower`, `upper`], oldest first.
    pub async fn membership_changes_for_user(
        &self,
        user_id: &str,
        lower: &MultiWriterPosition,
        upper: &MultiWriterPosition,
        excluded_rooms: &[String],
    ) -> Result<Vec<Arc<str>>, StorageError> {
        if lower == upper {
            return Ok(Vec::new());
        }
        let rows: Vec<OrderRow> = sqlx::query_as(
            "SELECT m.event_id, e.instance_name, e.topological_ordering, e.stream_ordering
             FROM room_memberships AS m JOIN events AS e ON e.event_id = m.event_id
             WHERE m.user_id = $1 AND e.stream_ordering > $2 AND e.stream_ordering <= $3
                 AND NOT (e.room_id = ANY($4))
             ORDER BY e.stream_ordering",
        )
        .bind(user_id)
        .bind(lower.base)
        .bind(upper.max())
        .bind(excluded_rooms)
        .fetch_all(self.pool())
        .await?;
        let within = |row: &EventInOrder| upper.covers_since(lower, &row.position.instance, row.position.stream);
        Ok(rows.into_iter().map(in_order).filter(within).map(|row| row.event_id).collect())
    }

    /// `get_last_event_id_in_room_before_stream_ordering`: the newest event at or before `upper`
    /// that is neither an outlier nor rejected.
    pub async fn last_event_in_room_before(
        &self,
        room_id: &str,
        upper: &MultiWriterPosition,
    ) -> Result<Option<Arc<str>>, StorageError> {
        // Between the slowest and the fastest writer some rows may not be covered yet, hence no LIMIT there.
        let rows: Vec<OrderRow> = sqlx::query_as(
            "(SELECT event_id, instance_name, topological_ordering, stream_ordering
              FROM events LEFT JOIN rejections USING (event_id)
              WHERE room_id = $1 AND stream_ordering > $2 AND stream_ordering <= $3
                  AND NOT outlier AND rejections.event_id IS NULL)
             UNION ALL
             (SELECT event_id, instance_name, topological_ordering, stream_ordering
              FROM events LEFT JOIN rejections USING (event_id)
              WHERE room_id = $1 AND stream_ordering <= $2 AND NOT outlier AND rejections.event_id IS NULL
              ORDER BY stream_ordering DESC LIMIT 1)
             ORDER BY stream_ordering DESC",
        )
        .bind(room_id)
        .bind(upper.base)
        .bind(upper.max())
        .fetch_all(self.pool())
        .await?;
        let newest = rows.into_iter().map(in_order).find(|row| row.position.is_at_most(upper));
        Ok(newest.map(|row| row.event_id))
    }

    /// `get_timeline_gaps`: where the last gap within (`lower`, `upper`] lies, if there is one.
    pub async fn timeline_gap(
        &self,
        room_id: &str,
        lower: Option<&MultiWriterPosition>,
        upper: &MultiWriterPosition,
    ) -> Result<Option<MultiWriterPosition>, StorageError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT instance_name, stream_ordering FROM timeline_gaps
             WHERE room_id = $1 AND stream_ordering > $2 AND stream_ordering <= $3
             ORDER BY stream_ordering DESC",
        )
        .bind(room_id)
        .bind(lower.map_or(0, |position| position.base))
        .bind(upper.max())
        .fetch_all(self.pool())
        .await?;
        let within = |(instance, stream): &(String, i64)| {
            upper.covers(instance, *stream) && lower.is_none_or(|lower| !lower.covers(instance, *stream))
        };
        // The event at the gap is included: the gap is before it.
        Ok(rows.into_iter().find(within).map(|(_, stream)| (stream - 1).into()))
    }

    /// `get_position_for_event`.
    pub async fn position_for_event(&self, event_id: &str) -> Result<Option<EventPosition>, StorageError> {
        let row: Option<(Option<String>, i64)> =
            sqlx::query_as("SELECT instance_name, stream_ordering FROM events WHERE event_id = $1")
                .bind(event_id)
                .fetch_optional(self.pool())
                .await?;
        Ok(row.map(|(instance, stream)| EventPosition { instance: instance_or_master(instance), stream }))
    }

    /// `check_if_events_in_current_state`.
    pub async fn events_in_current_state(&self, event_ids: &[Arc<str>]) -> Result<HashSet<Arc<str>>, StorageError> {
        if event_ids.is_empty() {
            return Ok(HashSet::new());
        }
        let ids: Vec<&str> = event_ids.iter().map(|id| &**id).collect();
        let rows: Vec<(String,)> = sqlx::query_as("SELECT event_id FROM current_state_events WHERE event_id = ANY($1)")
            .bind(ids)
            .fetch_all(self.pool())
            .await?;
        Ok(rows.into_iter().map(|(id,)| id.into()).collect())
    }

    /// `get_current_state_deltas_for_room_by_event_position`: the room's changes of current state
    /// in (`lower`, `upper`], oldest first.
    ///
    /// All rows of one persisted batch carry the batch's first stream id, so a change stands at the
    /// later of its row and its event, and the batch that contains `lower` is looked at again.
    pub async fn current_state_deltas(
        &self,
        room_id: &str,
        lower: &MultiWriterPosition,
        upper: &MultiWriterPosition,
    ) -> Result<Vec<StateDelta>, StorageError> {
        type Row = (Option<String>, i64, String, String, Option<String>, Option<String>);
        if upper.at_most(lower) {
            return Ok(Vec::new());
        }
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT d.instance_name, GREATEST(d.stream_id, e.stream_ordering), d.type, d.state_key,
                 d.event_id, d.prev_event_id
             FROM current_state_delta_stream AS d LEFT JOIN events AS e ON e.event_id = d.event_id
             WHERE d.room_id = $1 AND d.stream_id <= $3 AND d.stream_id >= COALESCE(
                 (SELECT max(stream_id) FROM current_state_delta_stream WHERE room_id = $1 AND stream_id <= $2), $2)
             ORDER BY d.stream_id",
        )
        .bind(room_id)
        .bind(lower.base)
        .bind(upper.max())
        .fetch_all(self.pool())
        .await?;
        let within = |(instance, position, ..): &Row| {
            upper.covers_since(lower, instance.as_deref().unwrap_or(MASTER), *position)
        };
        let delta = |(_, _, kind, state_key, event_id, prev): Row| StateDelta {
            kind: kind.into(),
            state_key: state_key.into(),
            event_id: event_id.map(Arc::from),
            prev_event_id: prev.map(Arc::from),
        };
        Ok(rows.into_iter().filter(within).map(delta).collect())
    }

    /// `get_un_partial_stated_rooms_between`: of `room_ids`, those whose state became complete in (`lower`, `upper`].
    pub async fn un_partial_stated_rooms_between(
        &self,
        lower: i64,
        upper: i64,
        room_ids: &[Arc<str>],
    ) -> Result<Vec<Arc<str>>, StorageError> {
        if lower == upper || room_ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&str> = room_ids.iter().map(|id| &**id).collect();
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT DISTINCT room_id FROM un_partial_stated_room_stream
             WHERE stream_id > $1 AND stream_id <= $2 AND room_id = ANY($3)",
        )
        .bind(lower)
        .bind(upper)
        .bind(ids)
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|(id,)| id.into()).collect())
    }
}
