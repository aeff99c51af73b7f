//! Pages of what relates to an event, and of a room's threads. Answers to `get_relations_for_event` and `get_threads`
//! in `synapse/storage/databases/main/relations.py`.

use std::sync::Arc;

use myelin_model::{Direction, RoomToken};

use crate::pagination::SqlBounds;
use crate::{Storage, StorageError};

/// Which relations of an event.
#[derive(Clone, Copy, Debug)]
pub struct RelationsPage<'a> {
    pub room_id: &'a str,
    pub event_id: &'a str,
    pub relation_type: Option<&'a str>,
    pub event_type: Option<&'a str>,
    pub from: Option<&'a RoomToken>,
    pub to: Option<&'a RoomToken>,
    pub direction: Direction,
    /// Rows at most.
    pub limit: i64,
    /// Also what relates to these, and so on.
    pub recurse: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub event_id: Arc<str>,
    pub relation_type: String,
    pub depth: i64,
    pub stream: i64,
}

/// A thread, by the place of its latest reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    pub root: Arc<str>,
    pub depth: i64,
    pub stream: i64,
}

macro_rules! page_of_relations {
    ($from:literal, $order:literal) => {
        concat!(
            $from,
            " WHERE ev.room_id = $2 AND ($3::text IS NULL OR ev.relation_type = $3)
                 AND ($4::text IS NULL OR ev.type = $4)
                 AND (ev.topological_ordering, ev.stream_ordering) > ($5, $6) AND ev.stream_ordering > $7
                 AND (ev.topological_ordering, ev.stream_ordering) <= ($8, $9) AND ev.stream_ordering <= $10
             ORDER BY ev.topological_ordering ",
            $order,
            ", ev.stream_ordering ",
            $order,
            " LIMIT $11"
        )
    };
}

macro_rules! direct {
    ($order:literal) => {
        page_of_relations!(
            "SELECT ev.event_id, ev.relation_type, ev.topological_ordering, ev.stream_ordering
             FROM (SELECT er.event_id, er.relation_type, e.room_id, e.type, e.topological_ordering, e.stream_ordering
                 FROM event_relations AS er JOIN events AS e ON e.event_id = er.event_id
                 WHERE er.relates_to_id = $1) AS ev",
            $order
        )
    };
}

// Each step joins `events` itself: the planner cannot guess how many rows a recursion yields.
macro_rules! recursive {
    ($order:literal) => {
        page_of_relations!(
            "WITH RECURSIVE related AS (
                 SELECT er.event_id, er.relation_type, e.room_id, e.type, e.topological_ordering, e.stream_ordering,
                     0 AS steps
                 FROM event_relations AS er JOIN events AS e ON e.event_id = er.event_id
                 WHERE er.relates_to_id = $1
                 UNION ALL
                 SELECT er.event_id, er.relation_type, e.room_id, e.type, e.topological_ordering, e.stream_ordering,
                     r.steps + 1
                 FROM related AS r
                 JOIN event_relations AS er ON er.relates_to_id = r.event_id
                 JOIN events AS e ON e.event_id = er.event_id
                 WHERE r.steps <= 3
             )
             SELECT ev.event_id, ev.relation_type, ev.topological_ordering, ev.stream_ordering FROM related AS ev",
            $order
        )
    };
}

impl Storage {
    /// The rows of `get_relations_for_event`.
    pub async fn get_relations_for_event(&self, page: &RelationsPage<'_>) -> Result<Vec<Relation>, StorageError> {
        let bounds = match page.direction {
            Direction::Backwards => SqlBounds::new(page.to, page.from),
            Direction::Forwards => SqlBounds::new(page.from, page.to),
        };
        let statement = match (page.recurse, page.direction) {
            (false, Direction::Backwards) => direct!("DESC"),
            (false, Direction::Forwards) => direct!("ASC"),
            (true, Direction::Backwards) => recursive!("DESC"),
            (true, Direction::Forwards) => recursive!("ASC"),
        };
        let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(statement)
            .bind(page.event_id)
            .bind(page.room_id)
            .bind(page.relation_type)
            .bind(page.event_type)
            .bind(bounds.lower.0)
            .bind(bounds.lower.1)
            .bind(bounds.lower.2)
            .bind(bounds.upper.0)
            .bind(bounds.upper.1)
            .bind(bounds.upper.2)
            .bind(page.limit)
            .fetch_all(self.pool())
            .await?;
        let relation = |(event_id, relation_type, depth, stream): (String, String, i64, i64)| Relation {
            event_id: event_id.into(),
            relation_type,
            depth,
            stream,
        };
        Ok(rows.into_iter().map(relation).collect())
    }

    /// The rows of `get_threads`: the thread with the latest reply first. `before`: depth and stream ordering.
    pub async fn get_threads(
        &self,
        room_id: &str,
        before: Option<(i64, i64)>,
        limit: i64,
    ) -> Result<Vec<Thread>, StorageError> {
        let (depth, stream) = before.unwrap_or((i64::MAX, i64::MAX));
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(
            "SELECT thread_id, topological_ordering, stream_ordering FROM threads
             WHERE room_id = $1 AND topological_ordering <= $2 AND stream_ordering < $3
             ORDER BY topological_ordering DESC, stream_ordering DESC LIMIT $4",
        )
        .bind(room_id)
        .bind(depth)
        .bind(stream)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        let thread = |(root, depth, stream): (String, i64, i64)| Thread { root: root.into(), depth, stream };
        Ok(rows.into_iter().map(thread).collect())
    }
}
