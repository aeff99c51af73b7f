//! Events in order of arrival and in order of depth. Answers to `synapse/storage/databases/main/stream.py`.
//!
//! Tokens with several writers are compared in two steps, as Synapse does: SQL bounds the coarse
//! range, then each row is checked against its own writer's position.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use myelin_model::position::{EventPosition, MASTER};
use myelin_model::{MultiWriterPosition, RoomToken};

use crate::room_reads::{Between, Range};
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

impl Page {
    /// Bytes, for a cache.
    pub(crate) fn weight(&self) -> usize {
        self.events.len() * (size_of::<EventInOrder>() + 80)
    }
}

/// The ranges' bounds as SQL sees them: coarse, whoever wrote.
pub(crate) struct Bounds<'a> {
    pub rooms: Vec<&'a str>,
    pub lower: Vec<i64>,
    pub upper: Vec<i64>,
}

impl<'a> Bounds<'a> {
    pub fn new(ranges: impl IntoIterator<Item = &'a Range>) -> Self {
        let mut bounds = Self { rooms: Vec::new(), lower: Vec::new(), upper: Vec::new() };
        for range in ranges {
            let (room_id, range) = range;
            bounds.rooms.push(room_id);
            bounds.lower.push(range.lower.as_ref().map_or(0, |position| position.base));
            bounds.upper.push(range.upper.max());
        }
        bounds
    }
}

/// The place in a list of what SQL numbers from 1.
pub(crate) fn at(index: i64) -> Option<usize> {
    usize::try_from(index).ok()?.checked_sub(1)
}

/// Rooms with the bounds and limit of a page of each.
type PageKey = (Arc<str>, (Between, usize));
pub(crate) type DepthKey = (Arc<str>, (RoomToken, usize));
type LastKey = (Arc<str>, MultiWriterPosition);

/// With the number of the key that the row belongs to.
pub(crate) type PageRow = (i64, String, Option<String>, i64, i64);

/// The rows of each key, in their order.
pub(crate) fn by_index(keys: usize, rows: Vec<PageRow>) -> Vec<Vec<EventInOrder>> {
    let mut by_key = vec![Vec::new(); keys];
    for (index, event_id, instance, depth, stream) in rows {
        if let Some(rows) = at(index).and_then(|at| by_key.get_mut(at)) {
            rows.push(in_order((event_id, instance, depth, stream)));
        }
    }
    by_key
}

pub(crate) type OrderRow = (String, Option<String>, i64, i64);

pub(crate) fn in_order((event_id, instance, depth, stream): OrderRow) -> EventInOrder {
    let position = EventPosition { instance: instance_or_master(instance), stream };
    EventInOrder { event_id: event_id.into(), position, depth }
}

/// Rows from before there were several writers have no instance name.
pub(crate) fn instance_or_master(instance: Option<String>) -> Arc<str> {
    instance.map_or_else(|| Arc::from(MASTER), Arc::from)
}

/// Cuts rows (newest first) to the bounds and to `limit`; twice as many were asked for.
pub(crate) fn cut(
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
pub(crate) const fn sql_limit(limit: usize) -> i64 {
    2 * limit as i64
}

impl Storage {
    /// `get_room_events_stream_for_rooms`: for each room its newest events in (`lower`, `upper`].
    /// Rooms without any are left out.
    pub async fn room_events_by_stream(
        &self,
        room_ids: &[Arc<str>],
        lower: &MultiWriterPosition,
        upper: &MultiWriterPosition,
        limit: usize,
    ) -> Result<HashMap<Arc<str>, Page>, StorageError> {
        if upper.at_most(lower) {
            return Ok(HashMap::new());
        }
        let between = Between { lower: Some(lower.clone()), upper: upper.clone() };
        let keys: Vec<_> = room_ids.iter().map(|id| (Arc::clone(id), (between.clone(), limit))).collect();
        let pages = self.room_reads().by_stream.get_many(keys, self, Self::load_by_stream).await?;
        let pages = pages.into_iter().filter(|(_, page)| !page.events.is_empty() || page.limited);
        Ok(pages.map(|((room_id, _), page)| (room_id, page)).collect())
    }

    async fn load_by_stream(self, keys: Vec<PageKey>) -> Result<HashMap<PageKey, Page>, StorageError> {
        let ranges: Vec<Range> =
            keys.iter().map(|(room_id, (between, _))| (Arc::clone(room_id), between.clone())).collect();
        let bounds = Bounds::new(&ranges);
        let limits: Vec<i64> = keys.iter().map(|(_, (_, limit))| sql_limit(*limit)).collect();
        let rows: Vec<PageRow> = sqlx::query_as(
            "SELECT k.index, e.event_id, e.instance_name, e.topological_ordering, e.stream_ordering
             FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
                 WITH ORDINALITY AS k(room_id, lower, upper, most, index)
             CROSS JOIN LATERAL (
                 SELECT event_id, instance_name, topological_ordering, stream_ordering FROM events
                 WHERE room_id = k.room_id AND NOT outlier AND stream_ordering > k.lower AND stream_ordering <= k.upper
                 ORDER BY stream_ordering DESC LIMIT k.most
             ) AS e
             ORDER BY k.index, e.stream_ordering DESC",
        )
        .bind(bounds.rooms)
        .bind(bounds.lower)
        .bind(bounds.upper)
        .bind(limits)
        .fetch_all(self.pool())
        .await?;
        let by_key = by_index(keys.len(), rows);
        let page = |(room_id, (range, limit)): PageKey, rows: Vec<EventInOrder>| {
            let lower = range.lower.clone().unwrap_or_default();
            let keep =
                |row: &EventInOrder| range.upper.covers_since(&lower, &row.position.instance, row.position.stream);
            let page = cut(rows, keep, limit, Some(RoomToken::Live(lower.clone())), false);
            ((room_id, (range, limit)), page)
        };
        Ok(keys.into_iter().zip(by_key).map(|(key, rows)| page(key, rows)).collect())
    }

    /// `paginate_room_events_by_stream_ordering`, backwards: (`lower`, `upper`].
    pub async fn paginate_by_stream(
        &self,
        room_id: &Arc<str>,
        lower: &MultiWriterPosition,
        upper: &MultiWriterPosition,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let mut pages = self.room_events_by_stream(std::slice::from_ref(room_id), lower, upper, limit).await?;
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
        let key = (Arc::from(room_id), (upper.clone(), limit));
        let mut pages = self.room_reads().by_depth.get_many([key.clone()], self, Self::load_by_depth).await?;
        let page = pages.remove(&key);
        Ok(page.unwrap_or_else(|| Page { events: Vec::new(), next: upper.clone(), limited: false }))
    }

    async fn load_by_depth(self, keys: Vec<DepthKey>) -> Result<HashMap<DepthKey, Page>, StorageError> {
        let rooms: Vec<&str> = keys.iter().map(|(room_id, _)| &**room_id).collect();
        // A point in the order of arrival bounds no depth, and the other way round.
        let mut depths = Vec::with_capacity(keys.len());
        let (mut streams, mut arrivals) = (depths.clone(), depths.clone());
        for (_, (upper, _)) in &keys {
            let (depth, stream, arrival) = match upper {
                RoomToken::Live(position) => (i64::MAX, i64::MAX, position.max()),
                RoomToken::Topological { depth, stream } => (*depth, *stream, i64::MAX),
            };
            depths.push(depth);
            streams.push(stream);
            arrivals.push(arrival);
        }
        let limits: Vec<i64> = keys.iter().map(|(_, (_, limit))| sql_limit(*limit)).collect();
        let rows: Vec<PageRow> = sqlx::query_as(
            "SELECT k.index, e.event_id, e.instance_name, e.topological_ordering, e.stream_ordering
             FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
                 WITH ORDINALITY AS k(room_id, depth, stream, arrival, most, index)
             CROSS JOIN LATERAL (
                 SELECT event_id, instance_name, topological_ordering, stream_ordering FROM events
                 WHERE room_id = k.room_id AND NOT outlier AND stream_ordering <= k.arrival
                     AND (topological_ordering, stream_ordering) <= (k.depth, k.stream)
                 ORDER BY topological_ordering DESC, stream_ordering DESC LIMIT k.most
             ) AS e
             ORDER BY k.index, e.topological_ordering DESC, e.stream_ordering DESC",
        )
        .bind(rooms)
        .bind(depths)
        .bind(streams)
        .bind(arrivals)
        .bind(limits)
        .fetch_all(self.pool())
        .await?;
        let by_key = by_index(keys.len(), rows);
        let page = |(room_id, (upper, limit)): DepthKey, rows: Vec<EventInOrder>| {
            let keep = |row: &EventInOrder| match &upper {
                RoomToken::Live(position) => row.position.is_at_most(position),
                RoomToken::Topological { .. } => true,
            };
            let page = cut(rows, keep, limit, Some(upper.clone()), true);
            ((room_id, (upper, limit)), page)
        };
        Ok(keys.into_iter().zip(by_key).map(|(key, rows)| page(key, rows)).collect())
    }

    /// `get_room_events_stream_for_rooms` forwards: ids of the oldest events in (`lower`, `upper`] of each room.
    pub async fn oldest_room_events(
        &self,
        room_ids: &[Arc<str>],
        (lower, upper): (&MultiWriterPosition, &MultiWriterPosition),
        limit: usize,
    ) -> Result<Vec<Arc<str>>, StorageError> {
        if upper.at_most(lower) || room_ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&str> = room_ids.iter().map(|id| &**id).collect();
        let rows: Vec<PageRow> = sqlx::query_as(
            "SELECT k.index, e.event_id, e.instance_name, e.topological_ordering, e.stream_ordering
             FROM unnest($1::text[]) WITH ORDINALITY AS k(room_id, index)
             CROSS JOIN LATERAL (
                 SELECT event_id, instance_name, topological_ordering, stream_ordering FROM events
                 WHERE room_id = k.room_id AND NOT outlier AND stream_ordering > $2 AND stream_ordering <= $3
                 ORDER BY stream_ordering LIMIT $4
             ) AS e
             ORDER BY k.index, e.stream_ordering",
        )
        .bind(ids)
        .bind(lower.base)
        .bind(upper.max())
        .bind(sql_limit(limit))
        .fetch_all(self.pool())
        .await?;
        let within = |row: &EventInOrder| upper.covers_since(lower, &row.position.instance, row.position.stream);
        let by_room = by_index(room_ids.len(), rows);
        Ok(by_room
            .into_iter()
            .flat_map(|rows| rows.into_iter().filter(within).take(limit))
            .map(|row| row.event_id)
            .collect())
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
        let key = (Arc::from(room_id), upper.clone());
        let mut last = self.room_reads().last_before.get_many([key.clone()], self, Self::load_last_before).await?;
        Ok(last.remove(&key).flatten())
    }

    async fn load_last_before(self, keys: Vec<LastKey>) -> Result<HashMap<LastKey, Option<Arc<str>>>, StorageError> {
        let rooms: Vec<&str> = keys.iter().map(|(room_id, _)| &**room_id).collect();
        let (lower, upper): (Vec<i64>, Vec<i64>) = keys.iter().map(|(_, upper)| (upper.base, upper.max())).unzip();
        // Between the slowest and the fastest writer some rows may not be covered yet, hence no LIMIT there.
        let rows: Vec<PageRow> = sqlx::query_as(
            "SELECT k.index, e.event_id, e.instance_name, e.topological_ordering, e.stream_ordering
             FROM unnest($1::text[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS k(room_id, lower, upper, index)
             CROSS JOIN LATERAL (
                 (SELECT event_id, instance_name, topological_ordering, stream_ordering
                  FROM events LEFT JOIN rejections USING (event_id)
                  WHERE room_id = k.room_id AND stream_ordering > k.lower AND stream_ordering <= k.upper
                      AND NOT outlier AND rejections.event_id IS NULL)
                 UNION ALL
                 (SELECT event_id, instance_name, topological_ordering, stream_ordering
                  FROM events LEFT JOIN rejections USING (event_id)
                  WHERE room_id = k.room_id AND stream_ordering <= k.lower
                      AND NOT outlier AND rejections.event_id IS NULL
                  ORDER BY stream_ordering DESC LIMIT 1)
             ) AS e
             ORDER BY k.index, e.stream_ordering DESC",
        )
        .bind(rooms)
        .bind(lower)
        .bind(upper)
        .fetch_all(self.pool())
        .await?;
        let by_key = by_index(keys.len(), rows);
        let newest = |(room_id, upper): LastKey, rows: Vec<EventInOrder>| {
            let newest = rows.into_iter().find(|row| row.position.is_at_most(&upper));
            ((room_id, upper), newest.map(|row| row.event_id))
        };
        Ok(keys.into_iter().zip(by_key).map(|(key, rows)| newest(key, rows)).collect())
    }

    /// `get_timeline_gaps`: where the last gap within (`lower`, `upper`] lies, if there is one.
    pub async fn timeline_gap(
        &self,
        room_id: &str,
        lower: Option<&MultiWriterPosition>,
        upper: &MultiWriterPosition,
    ) -> Result<Option<MultiWriterPosition>, StorageError> {
        let range = (Arc::from(room_id), Between { lower: lower.cloned(), upper: upper.clone() });
        let mut gaps = self.room_reads().gaps.get_many([range.clone()], self, Self::load_gaps).await?;
        Ok(gaps.remove(&range).flatten())
    }

    async fn load_gaps(self, ranges: Vec<Range>) -> Result<HashMap<Range, Option<MultiWriterPosition>>, StorageError> {
        let bounds = Bounds::new(&ranges);
        let rows: Vec<(i64, String, i64)> = sqlx::query_as(
            "SELECT k.index, g.instance_name, g.stream_ordering
             FROM unnest($1::text[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS k(room_id, lower, upper, index)
             JOIN timeline_gaps AS g ON g.room_id = k.room_id
                 AND g.stream_ordering > k.lower AND g.stream_ordering <= k.upper
             ORDER BY g.stream_ordering DESC",
        )
        .bind(bounds.rooms)
        .bind(bounds.lower)
        .bind(bounds.upper)
        .fetch_all(self.pool())
        .await?;
        let mut found = vec![None; ranges.len()];
        for (index, instance, stream) in rows {
            let Some((range, gap)) = at(index).and_then(|at| Some((&ranges.get(at)?.1, found.get_mut(at)?))) else {
                continue;
            };
            let within = range.upper.covers(&instance, stream)
                && range.lower.as_ref().is_none_or(|lower| !lower.covers(&instance, stream));
            if within && gap.is_none() {
                // The event at the gap is included: the gap is before it.
                *gap = Some(MultiWriterPosition::from(stream - 1));
            }
        }
        Ok(ranges.into_iter().zip(found).collect())
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

    /// `get_event_ordering`: depth and stream position, of an event of that room.
    pub async fn get_event_ordering(&self, event_id: &str, room_id: &str) -> Result<Option<(i64, i64)>, StorageError> {
        sqlx::query_as("SELECT topological_ordering, stream_ordering FROM events WHERE event_id = $1 AND room_id = $2")
            .bind(event_id)
            .bind(room_id)
            .fetch_optional(self.pool())
            .await
            .map_err(StorageError::from)
    }

    /// `check_if_events_in_current_state`.
    pub async fn events_in_current_state(&self, event_ids: &[Arc<str>]) -> Result<HashSet<Arc<str>>, StorageError> {
        let load = |storage: Self, event_ids: Vec<Arc<str>>| async move {
            let ids: Vec<&str> = event_ids.iter().map(|id| &**id).collect();
            let rows: Vec<(String,)> =
                sqlx::query_as("SELECT event_id FROM current_state_events WHERE event_id = ANY($1)")
                    .bind(ids)
                    .fetch_all(storage.pool())
                    .await?;
            Ok(rows.into_iter().map(|(id,)| (Arc::from(id), ())).collect())
        };
        let current = self.room_reads().current.get_many(event_ids.iter().cloned(), self, load).await?;
        Ok(current.into_keys().collect())
    }

    /// `get_un_partial_stated_rooms_between`: of `room_ids`, those whose state became complete in (`lower`, `upper`].
    pub async fn un_partial_stated_rooms_between(
        &self,
        lower: i64,
        upper: i64,
        room_ids: &HashSet<Arc<str>>,
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
