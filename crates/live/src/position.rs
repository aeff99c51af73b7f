//! Where one stream stands, with one or several writers. Answers to `MultiWriterIdGenerator` in
//! `synapse/storage/util/id_generators.py`, as a reader uses it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use myelin_model::{InitialPosition, MultiWriterPosition};

/// Ids remembered to jump over idle writers. A real gap would collect more and more of them;
/// beyond this the position waits for the idle writer's own announcement.
const MAX_KNOWN: usize = 10_000;

#[derive(Default)]
pub struct Position {
    writers: BTreeMap<Arc<str>, i64>,
    /// Every id at or below is committed and its row was seen, whoever wrote it.
    persisted_upto: i64,
    /// Ids beyond `persisted_upto` of which that is known.
    known: BinaryHeap<Reverse<i64>>,
    start: i64,
}

impl Position {
    pub fn new(initial: InitialPosition) -> Self {
        let persisted_upto = initial.persisted_upto;
        let ahead = initial.writers.values().chain(&initial.known).copied().max();
        let start = ahead.map_or(persisted_upto, |ahead| ahead.max(persisted_upto));
        let known = initial.known.into_iter().map(Reverse).collect();
        Self { writers: initial.writers, persisted_upto, known, start }
    }

    /// What was written up to here was not seen by this process; of the rest it saw everything.
    pub fn start(&self) -> i64 {
        self.start
    }

    pub fn persisted_upto(&self) -> i64 {
        self.persisted_upto
    }

    pub fn of(&self, instance: &str) -> i64 {
        self.writers.get(instance).copied().unwrap_or(self.persisted_upto).max(self.persisted_upto)
    }

    pub fn multi_writer(&self) -> MultiWriterPosition {
        let writers = self.writers.iter().map(|(name, position)| (Arc::clone(name), *position));
        MultiWriterPosition::new(self.persisted_upto, writers)
    }

    /// A writer's rows up to there were seen, among them one with this id.
    pub fn advance(&mut self, instance: &str, id: i64) {
        if id > self.persisted_upto && self.known.len() < MAX_KNOWN {
            self.known.push(Reverse(id));
        }
        self.announce(instance, id);
    }

    /// A writer wrote nothing more up to there. The id itself may be another's, whose row was not seen yet: it is
    /// not jumped to. A writer that the configuration does not name counts from now on.
    pub fn announce(&mut self, instance: &str, id: i64) {
        match self.writers.get_mut(instance) {
            Some(position) => *position = id.max(*position),
            None => drop(self.writers.insert(Arc::from(instance), id)),
        }
        let slowest = self.writers.values().copied().min().unwrap_or(id);
        self.persisted_upto = self.persisted_upto.max(slowest);
        // Ids that follow without a gap are committed, so an idle writer does not hold us back.
        while let Some(Reverse(next)) = self.known.peek().copied() {
            if next > self.persisted_upto + 1 {
                break;
            }
            self.known.pop();
            self.persisted_upto = self.persisted_upto.max(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(writers: &[(&str, i64)], persisted_upto: i64) -> Position {
        let writers = writers.iter().map(|(name, id)| (Arc::from(*name), *id)).collect();
        Position::new(InitialPosition { persisted_upto, writers, known: Vec::new() })
    }

    #[test]
    fn an_idle_writer_is_jumped_over_when_ids_are_contiguous() {
        let mut p = position(&[("a", 5), ("b", 5)], 5);
        p.advance("a", 6);
        assert_eq!(p.persisted_upto(), 6);
        p.advance("a", 8);
        assert_eq!((p.persisted_upto(), p.of("a"), p.of("b")), (6, 8, 6));
        p.advance("b", 7);
        assert_eq!(p.persisted_upto(), 8);
    }

    /// What "a" writes before its position came on a new connection is not seen, but "b" hears of it and tells.
    #[test]
    fn an_announcement_does_not_stand_for_what_others_wrote() {
        let mut p = position(&[("a", 5), ("b", 5)], 5);
        p.announce("b", 6);
        assert_eq!((p.persisted_upto(), p.of("a"), p.of("b")), (5, 5, 6));
        p.advance("b", 7);
        assert_eq!(p.persisted_upto(), 5);
        p.advance("a", 6);
        assert_eq!((p.persisted_upto(), p.of("a")), (7, 7));
    }

    #[test]
    fn what_fast_writers_wrote_before_the_start_was_not_seen() {
        let p = position(&[("a", 9), ("b", 5)], 5);
        assert_eq!((p.persisted_upto(), p.start()), (5, 9));
    }

    #[test]
    fn a_single_writer_is_the_stream() {
        let mut p = position(&[("a", 5)], 5);
        p.advance("a", 50);
        assert_eq!((p.persisted_upto(), p.multi_writer()), (50, 50.into()));
        p.advance("a", 40);
        assert_eq!(p.of("a"), 50);
    }
}
