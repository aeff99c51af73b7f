//! What a connection told of one stream: which lines count, and what is missing. No IO.
//! Answers to `_process_rdata` and `_process_position` in `synapse/replication/tcp/handler.py`.
//!
//! Synapse keeps this per stream; here it is per writer, for rows of two writers may come interleaved, and a
//! writer whose position has not come yet may have written something that was missed.

use std::sync::Arc;

use hashbrown::HashMap;
use myelin_model::{Row, StreamName};

/// Rows that wait for their token. A writer sends some hundreds at once; beyond this they are fetched instead.
const MAX_PENDING: usize = 10_000;

/// What to do about a POSITION.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Announced {
    /// It tells nothing new.
    Known,
    /// Nothing was missed.
    Complete,
    /// Rows after `from` were, or may have been, missed.
    Missing { from: i64 },
}

/// The writers whose position came on this connection, and rows whose token is yet to come.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: StreamName,
    pending: HashMap<Arc<str>, Vec<Row>>,
}

impl Connection {
    pub fn new(stream: StreamName) -> Self {
        Self { stream, pending: HashMap::new() }
    }

    /// A new connection: nothing counts until its positions have come.
    pub fn begin_anew(&mut self) {
        self.pending.clear();
    }

    /// The rows of an update, once it is complete and if it is new. `None` as row: it could not be read, but
    /// its token counts all the same.
    pub fn rdata(&mut self, instance: &str, token: Option<i64>, row: Option<Row>, current: i64) -> Option<Vec<Row>> {
        // What came before the position is covered by it.
        let pending = self.pending.get_mut(instance)?;
        pending.extend(row);
        if pending.len() > MAX_PENDING {
            self.pending.remove(instance);
            return None;
        }
        let rows = std::mem::take(token.map(|_| pending)?);
        token.filter(|token| *token > current).map(|_| rows)
    }

    /// `current`: where the writer stood until now.
    pub fn position(&mut self, instance: &str, prev: i64, new: i64, current: i64) -> Announced {
        if self.pending.contains_key(instance) && !self.stream.can_go_backwards() && new <= current {
            return Announced::Known;
        }
        // Whatever is missing will be fetched, the beginning of an update among it.
        self.pending.remove(instance);
        // Beyond `new`: the writer began anew.
        if prev <= current && current <= new { Announced::Complete } else { Announced::Missing { from: current } }
    }

    /// Whether the writer's rows count. If not, its position must come first.
    pub fn is_connected(&self, instance: &str) -> bool {
        self.pending.contains_key(instance)
    }

    /// Everything up to the announced position has been applied.
    pub fn connected(&mut self, instance: Arc<str>) {
        self.pending.insert(instance, Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> Row {
        Row::PushRules { user_id: Arc::from(name) }
    }

    fn connected(stream: StreamName, writers: &[&str]) -> Connection {
        let mut connection = Connection::new(stream);
        for writer in writers {
            connection.connected(Arc::from(*writer));
        }
        connection
    }

    #[test]
    fn rows_before_the_position_do_not_count() {
        let mut connection = connected(StreamName::PushRules, &["a"]);
        assert_eq!(connection.rdata("b", Some(5), Some(row("x")), 1), None);
        assert_eq!(connection.rdata("a", Some(5), Some(row("x")), 1).unwrap().len(), 1);
        connection.begin_anew();
        assert_eq!(connection.rdata("a", Some(6), Some(row("x")), 5), None);
    }

    #[test]
    fn batches_of_two_writers_do_not_mix() {
        let mut connection = connected(StreamName::PushRules, &["a", "b"]);
        assert_eq!(connection.rdata("a", None, Some(row("1")), 1), None);
        assert_eq!(connection.rdata("b", Some(4), Some(row("2")), 1), Some(vec![row("2")]));
        assert_eq!(connection.position("b", 4, 9, 4), Announced::Complete);
        assert_eq!(connection.rdata("a", Some(3), Some(row("3")), 1).unwrap().len(), 2);
    }

    #[test]
    fn what_is_known_is_discarded_with_its_batch() {
        let mut connection = connected(StreamName::PushRules, &["a"]);
        assert_eq!(connection.rdata("a", None, Some(row("1")), 7), None);
        assert_eq!(connection.rdata("a", Some(7), Some(row("2")), 7), None);
        assert_eq!(connection.rdata("a", Some(8), Some(row("3")), 7).unwrap().len(), 1);
    }

    #[test]
    fn a_batch_without_end_is_given_up() {
        let mut connection = connected(StreamName::PushRules, &["a"]);
        for _ in 0..=MAX_PENDING {
            assert!(connection.is_connected("a"));
            assert_eq!(connection.rdata("a", None, Some(row("x")), 1), None);
        }
        assert!(!connection.is_connected("a"));
        assert_eq!(connection.rdata("a", Some(5), Some(row("x")), 1), None);
        assert_eq!(connection.position("a", 5, 5, 1), Announced::Missing { from: 1 });
    }

    #[test]
    fn a_row_that_cannot_be_read_counts() {
        let mut connection = connected(StreamName::PushRules, &["a"]);
        assert_eq!(connection.rdata("a", Some(8), None, 7), Some(Vec::new()));
    }

    #[test]
    fn gaps_are_seen() {
        let mut connection = Connection::new(StreamName::Events);
        assert_eq!(connection.position("a", 3, 8, 5), Announced::Complete);
        assert_eq!(connection.position("a", 8, 8, 5), Announced::Missing { from: 5 });
        // On the first position even "nothing new" must be looked at: another process may have written as "a".
        assert_eq!(connection.position("a", 3, 3, 5), Announced::Missing { from: 5 });
        connection.connected(Arc::from("a"));
        assert_eq!(connection.position("a", 3, 5, 5), Announced::Known);
        assert_eq!(connection.position("b", 3, 5, 5), Announced::Complete);
    }

    #[test]
    fn a_position_ends_what_was_pending() {
        let mut connection = connected(StreamName::Events, &["a"]);
        connection.rdata("a", None, Some(row("1")), 5);
        assert_eq!(connection.position("a", 7, 7, 5), Announced::Missing { from: 5 });
        assert_eq!(connection.rdata("a", Some(9), Some(row("2")), 7), None);
        connection.connected(Arc::from("a"));
        assert_eq!(connection.rdata("a", Some(9), Some(row("2")), 7).unwrap().len(), 1);
    }

    #[test]
    fn streams_in_memory_go_backwards() {
        let mut connection = connected(StreamName::Typing, &["a"]);
        assert_eq!(connection.position("a", 0, 0, 3), Announced::Missing { from: 3 });
    }
}
