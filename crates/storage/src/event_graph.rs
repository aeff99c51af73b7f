//! Walks through a room's graph, for other servers. Answers to `get_backfill_events` and `get_missing_events` in
//! `synapse/storage/databases/main/event_federation.py`, which ask for each event's edges one by one. Here the part of
//! the graph that a walk can reach is loaded at once, the nearest events first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::{Storage, StorageError};

/// Events loaded beyond those that an answer may have: forks that are not followed to their end.
const SPARE: usize = 20;

/// What a walk has to know of an event.
#[derive(Debug)]
struct Node {
    room_id: String,
    depth: i64,
    stream_ordering: i64,
    outlier: bool,
    prev_events: Vec<Arc<str>>,
}

/// Events by id; `None` stands for one that is not known here.
#[derive(Debug, Default)]
struct Graph(HashMap<Arc<str>, Option<Node>>);

/// A walk came to events of which nothing was loaded yet.
#[derive(Debug, PartialEq, Eq)]
struct Missing(Vec<Arc<str>>);

impl Graph {
    /// Events that are known here.
    fn nodes<'a>(&self, ids: &'a [Arc<str>]) -> Result<Vec<(&'a Arc<str>, &Node)>, Missing> {
        let missing: Vec<Arc<str>> = ids.iter().filter(|id| !self.0.contains_key(*id)).cloned().collect();
        if !missing.is_empty() {
            return Err(Missing(missing));
        }
        Ok(ids.iter().filter_map(|id| Some((id, self.0.get(id)?.as_ref()?))).collect())
    }

    fn prev_events(&self, id: &Arc<str>) -> &[Arc<str>] {
        self.0.get(id).and_then(Option::as_ref).map_or(&[], |node| &node.prev_events)
    }

    /// `_get_backfill_events`: the deepest events first, from the seeds of the room on.
    fn backfill(&self, room_id: &str, seeds: &[Arc<str>], limit: usize) -> Result<Vec<Arc<str>>, Missing> {
        let mut queue = BinaryHeap::new();
        for (id, node) in self.nodes(seeds)? {
            if node.room_id == room_id && node.depth != 0 {
                queue.push((node.depth, node.stream_ordering, Arc::clone(id)));
            }
        }
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        while found.len() < limit
            && let Some((_, _, id)) = queue.pop()
        {
            if !seen.insert(Arc::clone(&id)) {
                continue;
            }
            found.push(Arc::clone(&id));
            if found.len() == limit {
                break;
            }
            // There is no state at outliers: nobody can say who may see them.
            let mut before = self.nodes(self.prev_events(&id))?;
            before.retain(|(_, node)| !node.outlier);
            before.sort_by_key(|(_, node)| Reverse((node.depth, node.stream_ordering)));
            for (id, node) in before.into_iter().take(limit - found.len()) {
                if !seen.contains(id) {
                    queue.push((node.depth, node.stream_ordering, Arc::clone(id)));
                }
            }
        }
        Ok(found)
    }

    /// `_get_missing_events`: breadth first from what was before the latest events, without the earliest and what is
    /// before them; the oldest first.
    fn missing(
        &self,
        room_id: &str,
        earliest: &HashSet<Arc<str>>,
        latest: &[Arc<str>],
        limit: usize,
    ) -> Result<Vec<Arc<str>>, Missing> {
        let mut seen = earliest.clone();
        let latest: Vec<Arc<str>> = latest.iter().filter(|id| !earliest.contains(*id)).cloned().collect();
        let latest = self.nodes(&latest)?;
        let mut front: Vec<Arc<str>> =
            latest.into_iter().filter(|(_, node)| node.room_id == room_id).map(|(id, _)| Arc::clone(id)).collect();
        let mut found: Vec<Arc<str>> = Vec::new();
        while !front.is_empty() && found.len() < limit {
            let mut next = Vec::new();
            for id in &front {
                let mut before = self.nodes(self.prev_events(id))?;
                before.retain(|(_, node)| node.room_id == room_id);
                before.truncate(limit - found.len());
                for (id, _) in before {
                    if seen.insert(Arc::clone(id)) {
                        next.push(Arc::clone(id));
                        found.push(Arc::clone(id));
                    }
                }
            }
            front = next;
        }
        found.reverse();
        Ok(found)
    }
}

impl Storage {
    /// `get_backfill_events`, their ids: at most `limit` events of the seeds and what was before them.
    pub async fn get_backfill_event_ids(
        &self,
        room_id: &str,
        seeds: &[Arc<str>],
        limit: usize,
    ) -> Result<Vec<Arc<str>>, StorageError> {
        self.walk(seeds, limit, |graph| graph.backfill(room_id, seeds, limit)).await
    }

    /// `get_missing_events`, their ids: at most `limit` events between the earliest and the latest, without these.
    pub async fn get_missing_event_ids(
        &self,
        room_id: &str,
        earliest: &HashSet<Arc<str>>,
        latest: &[Arc<str>],
        limit: usize,
    ) -> Result<Vec<Arc<str>>, StorageError> {
        self.walk(latest, limit, |graph| graph.missing(room_id, earliest, latest, limit)).await
    }

    /// Walks again with more of the graph as long as it ends too early; a wide fork alone makes that happen.
    async fn walk(
        &self,
        seeds: &[Arc<str>],
        limit: usize,
        walk: impl Fn(&Graph) -> Result<Vec<Arc<str>>, Missing>,
    ) -> Result<Vec<Arc<str>>, StorageError> {
        let mut graph = Graph::default();
        let mut missing = seeds.to_vec();
        loop {
            self.load_graph(&mut graph, &missing, 2 * limit + SPARE).await?;
            match walk(&graph) {
                Ok(found) => return Ok(found),
                Err(Missing(ids)) => missing = ids,
            }
        }
    }

    /// `event_ids`, and `more` events before them, the nearest first.
    async fn load_graph(&self, graph: &mut Graph, event_ids: &[Arc<str>], more: usize) -> Result<(), StorageError> {
        type Row = (String, Option<String>, Option<i64>, Option<i64>, Option<bool>, Vec<String>);
        let limit = i64::try_from(event_ids.len().saturating_add(more)).unwrap_or(i64::MAX);
        let ids: Vec<&str> = event_ids.iter().map(|id| &**id).collect();
        // The limit ends the recursion, which comes to the nearest events first.
        let rows: Vec<Row> = sqlx::query_as(
            "WITH RECURSIVE walk(event_id) AS (
                 SELECT unnest($1::text[])
                 UNION
                 SELECT edge.prev_event_id FROM walk AS w
                 JOIN event_edges AS edge ON edge.event_id = w.event_id AND NOT edge.is_state
             )
             SELECT w.event_id, e.room_id, e.depth, e.stream_ordering, e.outlier, ARRAY(
                 SELECT edge.prev_event_id FROM event_edges AS edge
                 WHERE edge.event_id = w.event_id AND NOT edge.is_state)
             FROM (SELECT event_id FROM walk LIMIT $2) AS w
             LEFT JOIN events AS e ON e.event_id = w.event_id",
        )
        .bind(ids)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        for (event_id, room_id, depth, stream_ordering, outlier, prev_events) in rows {
            let node = room_id.map(|room_id| Node {
                room_id,
                depth: depth.unwrap_or_default(),
                stream_ordering: stream_ordering.unwrap_or_default(),
                outlier: outlier.unwrap_or_default(),
                prev_events: prev_events.into_iter().map(Arc::from).collect(),
            });
            graph.0.insert(Arc::from(event_id), node);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &str) -> Vec<Arc<str>> {
        names.split_whitespace().map(Arc::from).collect()
    }

    fn text(ids: Result<Vec<Arc<str>>, Missing>) -> String {
        ids.unwrap().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// `a <- b <- (c, d) <- e`, an outlier `o` before `c`, an event `x` of another room before `d`, and `u`, which is
    /// not known.
    fn graph() -> Graph {
        let node = |room: &str, depth, stream_ordering, outlier, prev: &str| {
            Some(Node { room_id: room.to_owned(), depth, stream_ordering, outlier, prev_events: ids(prev) })
        };
        let nodes = [
            ("a", node("!r", 1, 1, false, "u")),
            ("b", node("!r", 2, 2, false, "a")),
            ("c", node("!r", 3, 3, false, "b o")),
            ("d", node("!r", 3, 4, false, "b x")),
            ("e", node("!r", 4, 5, false, "c d")),
            ("o", node("!r", 2, 6, true, "")),
            ("x", node("!x", 9, 7, false, "")),
            ("z", node("!r", 0, 8, false, "e")),
            ("u", None),
        ];
        Graph(nodes.into_iter().map(|(id, node)| (Arc::from(id), node)).collect())
    }

    #[test]
    fn backfill_takes_the_deepest_first() {
        let graph = graph();
        for (seeds, limit, wanted) in [
            ("e", 10, "e d x c b a"),
            ("e", 3, "e d x"),
            ("b c", 10, "c b a"),
            ("e e", 2, "e d"),
            // An event of another room, one of depth 0, an unknown one.
            ("x z u", 10, ""),
            ("o", 5, "o"),
            ("e", 0, ""),
        ] {
            assert_eq!(text(graph.backfill("!r", &ids(seeds), limit)), wanted, "{seeds} {limit}");
        }
    }

    #[test]
    fn missing_events_end_at_the_earliest() {
        let graph = graph();
        for (earliest, latest, limit, wanted) in [
            ("b", "e", 10, "o d c"),
            ("", "e", 10, "a o b d c"),
            ("", "e", 1, "c"),
            ("e", "e", 10, ""),
            ("", "x u", 10, ""),
            ("c", "e", 10, "a b d"),
            ("", "e", 0, ""),
        ] {
            let earliest: HashSet<Arc<str>> = ids(earliest).into_iter().collect();
            assert_eq!(text(graph.missing("!r", &earliest, &ids(latest), limit)), wanted, "{latest} {limit}");
        }
    }

    #[test]
    fn a_walk_says_where_the_graph_ends() {
        let mut graph = graph();
        graph.0.remove("b");
        assert_eq!(graph.backfill("!r", &ids("e"), 10), Err(Missing(ids("b"))));
        assert_eq!(text(graph.backfill("!r", &ids("e"), 2)), "e d");
        assert_eq!(graph.missing("!r", &HashSet::new(), &ids("e"), 10), Err(Missing(ids("b"))));
    }
}
