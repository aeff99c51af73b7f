//! Pages of a room's history in either direction, filtered. Answers to `paginate_room_events_by_topological_ordering`
//! and `filter_to_clause` in `synapse/storage/databases/main/stream.py`.

use std::sync::Arc;

use hashbrown::HashMap;
use myelin_model::{Direction, RoomToken};

use crate::stream::{DepthKey, EventInOrder, OrderRow, Page, PageRow, by_index, cut, in_order, sql_limit};
use crate::{Storage, StorageError};

/// What an event must be to be on a page; an empty list restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// `*` stands for any text.
    pub types: Vec<String>,
    pub not_types: Vec<String>,
    pub senders: Vec<String>,
    pub not_senders: Vec<String>,
    pub rooms: Vec<String>,
    pub not_rooms: Vec<String>,
    /// Only events with a `url`.
    pub contains_url: bool,
    pub labels: Vec<String>,
    pub related_by_senders: Vec<String>,
    pub related_by_rel_types: Vec<String>,
}

/// Which page of a room.
#[derive(Clone, Copy, Debug)]
pub struct Pagination<'a> {
    pub from: &'a RoomToken,
    pub to: Option<&'a RoomToken>,
    pub direction: Direction,
    pub limit: usize,
    pub filter: Option<&'a EventFilter>,
}

/// A token as SQL sees it: a point in the order of arrival bounds no depth, and the other way round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SqlBounds {
    /// Exclusive: depth, stream ordering, arrival.
    pub lower: (i64, i64, i64),
    /// Inclusive.
    pub upper: (i64, i64, i64),
}

impl SqlBounds {
    /// `generate_pagination_bounds`.
    pub fn new(lower: Option<&RoomToken>, upper: Option<&RoomToken>) -> Self {
        Self {
            lower: match lower {
                None => (i64::MIN, i64::MIN, i64::MIN),
                Some(RoomToken::Live(position)) => (i64::MIN, i64::MIN, position.base),
                Some(RoomToken::Topological { depth, stream }) => (*depth, *stream, i64::MIN),
            },
            upper: match upper {
                None => (i64::MAX, i64::MAX, i64::MAX),
                Some(RoomToken::Live(position)) => (i64::MAX, i64::MAX, position.max()),
                Some(RoomToken::Topological { depth, stream }) => (*depth, *stream, i64::MAX),
            },
        }
    }
}

impl<'a> Pagination<'a> {
    /// (exclusive lower, inclusive upper)
    fn tokens(&self) -> (Option<&'a RoomToken>, Option<&'a RoomToken>) {
        match self.direction {
            Direction::Backwards => (self.to, Some(self.from)),
            Direction::Forwards => (Some(self.from), self.to),
        }
    }

    /// `_filter_results`: each row against the position of its own writer.
    fn covers(&self, row: &EventInOrder) -> bool {
        let at_most = |token: &RoomToken| match token {
            RoomToken::Live(position) => row.position.is_at_most(position),
            RoomToken::Topological { depth, stream } => (row.depth, row.position.stream) <= (*depth, *stream),
        };
        let (lower, upper) = self.tokens();
        lower.is_none_or(|lower| !at_most(lower)) && upper.is_none_or(at_most)
    }

    fn is_empty(&self) -> bool {
        let (lower, upper) = self.tokens();
        self.to.is_some() && lower.zip(upper).is_some_and(|(lower, upper)| upper.is_before_or_eq(lower))
    }

    /// Where a page without events ends.
    fn end(&self) -> RoomToken {
        self.to.unwrap_or(self.from).clone()
    }
}

/// `*` is SQL's `%`. Synapse: beside a `*`, what SQL takes for wildcards are wildcards.
fn like(kind: &str) -> String {
    if kind.contains('*') {
        return kind.replace('*', "%");
    }
    kind.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

macro_rules! page_of_events {
    ($order:literal) => {
        concat!(
            "SELECT e.event_id, e.instance_name, e.topological_ordering, e.stream_ordering FROM events AS e
             WHERE e.room_id = $1 AND NOT e.outlier
                 AND (e.topological_ordering, e.stream_ordering) > ($2, $3) AND e.stream_ordering > $4
                 AND (e.topological_ordering, e.stream_ordering) <= ($5, $6) AND e.stream_ordering <= $7
                 AND (cardinality($8::text[]) = 0 OR e.type LIKE ANY($8)) AND NOT e.type LIKE ANY($9::text[])
                 AND (cardinality($10::text[]) = 0 OR e.sender = ANY($10)) AND e.sender <> ALL($11::text[])
                 AND (cardinality($12::text[]) = 0 OR e.room_id = ANY($12)) AND e.room_id <> ALL($13::text[])
                 AND (NOT $14::boolean OR e.contains_url)
                 AND (cardinality($15::text[]) = 0 OR EXISTS (
                     SELECT 1 FROM event_labels AS l WHERE l.event_id = e.event_id AND l.label = ANY($15)))
                 AND (cardinality($16::text[]) + cardinality($17::text[]) = 0 OR EXISTS (
                     SELECT 1 FROM event_relations AS r JOIN events AS related ON related.event_id = r.event_id
                     WHERE r.relates_to_id = e.event_id
                         AND (cardinality($16::text[]) = 0 OR related.sender = ANY($16))
                         AND (cardinality($17::text[]) = 0 OR r.relation_type = ANY($17))))
             ORDER BY e.topological_ordering ",
            $order,
            ", e.stream_ordering ",
            $order,
            " LIMIT $18"
        )
    };
}

impl Storage {
    /// `paginate_room_events_by_topological_ordering`. `Page::next` is just after the page in its direction.
    pub async fn paginate_room_events(&self, room_id: &str, page: &Pagination<'_>) -> Result<Page, StorageError> {
        if page.is_empty() {
            return Ok(Page { events: Vec::new(), next: page.end(), limited: false });
        }
        // What everybody reads who scrolls back is remembered.
        if page.direction == Direction::Backwards && page.to.is_none() && page.filter.is_none() {
            return self.paginate_by_depth(room_id, page.from, page.limit).await;
        }
        if let (Direction::Forwards, RoomToken::Topological { .. }, None, None) =
            (page.direction, page.from, page.to, page.filter)
        {
            return self.paginate_after_depth(room_id, page.from, page.limit).await;
        }
        let (lower, upper) = page.tokens();
        let SqlBounds { lower, upper } = SqlBounds::new(lower, upper);
        let nothing = EventFilter::default();
        let filter = page.filter.unwrap_or(&nothing);
        let statement = match page.direction {
            Direction::Backwards => page_of_events!("DESC"),
            Direction::Forwards => page_of_events!("ASC"),
        };
        let rows: Vec<OrderRow> = sqlx::query_as(statement)
            .bind(room_id)
            .bind(lower.0)
            .bind(lower.1)
            .bind(lower.2)
            .bind(upper.0)
            .bind(upper.1)
            .bind(upper.2)
            .bind(filter.types.iter().map(|kind| like(kind)).collect::<Vec<_>>())
            .bind(filter.not_types.iter().map(|kind| like(kind)).collect::<Vec<_>>())
            .bind(&filter.senders)
            .bind(&filter.not_senders)
            .bind(&filter.rooms)
            .bind(&filter.not_rooms)
            .bind(filter.contains_url)
            .bind(&filter.labels)
            .bind(&filter.related_by_senders)
            .bind(&filter.related_by_rel_types)
            .bind(sql_limit(page.limit))
            .fetch_all(self.pool())
            .await?;
        let rows = rows.into_iter().map(in_order).collect();
        let found = cut(rows, |row| page.covers(row), page.limit, Some(page.end()), true);
        Ok(if page.direction == Direction::Forwards { after_its_last(found) } else { found })
    }

    /// The same forwards from a point in depth, without an end: many of these become one statement.
    async fn paginate_after_depth(&self, room_id: &str, lower: &RoomToken, limit: usize) -> Result<Page, StorageError> {
        let key = (Arc::from(room_id), (lower.clone(), limit));
        let mut pages = self.room_reads().after_depth.get_many([key.clone()], self, Self::load_after_depth).await?;
        let page = pages.remove(&key);
        Ok(page.unwrap_or_else(|| Page { events: Vec::new(), next: lower.clone(), limited: false }))
    }

    async fn load_after_depth(self, keys: Vec<DepthKey>) -> Result<HashMap<DepthKey, Page>, StorageError> {
        let rooms: Vec<&str> = keys.iter().map(|(room_id, _)| &**room_id).collect();
        let bounds = keys.iter().map(|(_, (lower, _))| SqlBounds::new(Some(lower), None).lower);
        let (depths, streams): (Vec<i64>, Vec<i64>) = bounds.map(|(depth, stream, _)| (depth, stream)).unzip();
        let limits: Vec<i64> = keys.iter().map(|(_, (_, limit))| sql_limit(*limit)).collect();
        let rows: Vec<PageRow> = sqlx::query_as(
            "SELECT k.index, e.event_id, e.instance_name, e.topological_ordering, e.stream_ordering
             FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
                 WITH ORDINALITY AS k(room_id, depth, stream, most, index)
             CROSS JOIN LATERAL (
                 SELECT event_id, instance_name, topological_ordering, stream_ordering FROM events
                 WHERE room_id = k.room_id AND NOT outlier
                     AND (topological_ordering, stream_ordering) > (k.depth, k.stream)
                 ORDER BY topological_ordering, stream_ordering LIMIT k.most
             ) AS e
             ORDER BY k.index, e.topological_ordering, e.stream_ordering",
        )
        .bind(rooms)
        .bind(depths)
        .bind(streams)
        .bind(limits)
        .fetch_all(self.pool())
        .await?;
        let by_key = by_index(keys.len(), rows);
        let page = |(room_id, (lower, limit)): DepthKey, rows: Vec<EventInOrder>| {
            let page = after_its_last(cut(rows, |_| true, limit, Some(lower.clone()), true));
            ((room_id, (lower, limit)), page)
        };
        Ok(keys.into_iter().zip(by_key).map(|(key, rows)| page(key, rows)).collect())
    }
}

/// Forwards, the next page begins after the last event of this one.
fn after_its_last(mut page: Page) -> Page {
    if let Some(last) = page.events.last() {
        page.next = RoomToken::Topological { depth: last.depth, stream: last.position.stream };
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stars_are_wildcards() {
        assert_eq!(like("m.room.*"), "m.room.%");
        assert_eq!(like("a_b%\\"), "a\\_b\\%\\\\");
    }

    #[test]
    fn a_page_that_ends_before_it_begins_is_empty() {
        let (early, late) = (RoomToken::Live(3.into()), RoomToken::Topological { depth: 1, stream: 5 });
        let page = |from, to, direction| Pagination { from, to: Some(to), direction, limit: 1, filter: None };
        assert!(page(&late, &early, Direction::Forwards).is_empty());
        assert!(!page(&early, &late, Direction::Forwards).is_empty());
        assert!(page(&early, &late, Direction::Backwards).is_empty());
    }
}
