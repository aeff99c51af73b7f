//! Positions of streams with one or several writers.
//! Answers to `synapse/types/__init__.py` (`AbstractMultiWriterStreamToken`).

use std::collections::BTreeMap;
use std::sync::Arc;

/// The wire and database name of the main process; yaml calls it `main`.
pub const MASTER: &str = "master";

/// A position in a multi-writer stream: every writer is at least at `base`,
/// and those named in `writers` are further. Writers are keyed by instance name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MultiWriterPosition {
    pub base: i64,
    pub writers: BTreeMap<Arc<str>, i64>,
}

impl MultiWriterPosition {
    pub fn new(base: i64, writers: impl IntoIterator<Item = (Arc<str>, i64)>) -> Self {
        let writers = writers.into_iter().filter(|(_, position)| *position > base).collect();
        Self { base, writers }
    }

    /// Where this writer is.
    pub fn of(&self, instance: &str) -> i64 {
        self.writers.get(instance).copied().unwrap_or(self.base)
    }

    /// The furthest position of any writer: the coarse upper bound for SQL.
    pub fn max(&self) -> i64 {
        self.writers.values().copied().max().unwrap_or(self.base).max(self.base)
    }

    /// Whether a row that `instance` wrote with stream id `id` is at or before this position.
    pub fn covers(&self, instance: &str, id: i64) -> bool {
        id <= self.of(instance)
    }

    /// Whether a row lies in (`low`, `self`].
    pub fn covers_since(&self, low: &Self, instance: &str, id: i64) -> bool {
        self.covers(instance, id) && !low.covers(instance, id)
    }

    /// Synapse's `is_before_or_eq`: true only if no writer of `self` is ahead of `other`.
    pub fn at_most(&self, other: &Self) -> bool {
        self.base <= other.base
            && self.writers.keys().chain(other.writers.keys()).all(|instance| self.of(instance) <= other.of(instance))
    }

    /// No writer beyond `max`: `bound_stream_token`.
    pub fn bound(&mut self, max: i64) {
        self.base = self.base.min(max);
        self.writers.retain(|_, position| {
            *position = (*position).min(max);
            *position > self.base
        });
    }

    /// This position as far as rows up to `last` are read: `advance_multiwriter_sharded_token_after_partial_read`.
    #[must_use]
    pub fn up_to(&self, last: i64) -> Self {
        Self::new(
            self.base.min(last),
            self.writers.iter().map(|(name, position)| (Arc::clone(name), (*position).min(last))),
        )
    }

    /// Moves every writer to the further of the two positions.
    pub fn merge(&mut self, other: &Self) {
        let base = self.base.max(other.base);
        let names: Vec<Arc<str>> = self.writers.keys().chain(other.writers.keys()).cloned().collect();
        let writers: BTreeMap<Arc<str>, i64> = names
            .into_iter()
            .map(|name| {
                let furthest = self.of(&name).max(other.of(&name));
                (name, furthest)
            })
            .filter(|(_, position)| *position > base)
            .collect();
        *self = Self { base, writers };
    }
}

impl From<i64> for MultiWriterPosition {
    fn from(base: i64) -> Self {
        Self { base, writers: BTreeMap::new() }
    }
}

/// Where a persisted event stands: the writer and its stream ordering.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventPosition {
    pub instance: Arc<str>,
    pub stream: i64,
}

impl EventPosition {
    pub fn is_at_most(&self, position: &MultiWriterPosition) -> bool {
        position.covers(&self.instance, self.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pos(base: i64, writers: &[(&str, i64)]) -> MultiWriterPosition {
        MultiWriterPosition::new(base, writers.iter().map(|(n, p)| (Arc::from(*n), *p)))
    }

    #[test]
    fn a_writer_without_an_entry_stands_at_the_base() {
        let p = pos(5, &[("w1", 9), ("w2", 3)]);
        assert_eq!((p.of("w1"), p.of("w2"), p.of("x"), p.max()), (9, 5, 5, 9));
        assert!(p.covers("w1", 9) && !p.covers("w2", 6));
    }

    #[test]
    fn order_is_partial() {
        let (a, b) = (pos(5, &[("w1", 9)]), pos(5, &[("w2", 8)]));
        assert!(!a.at_most(&b) && !b.at_most(&a));
        assert!(pos(5, &[]).at_most(&a));
        assert!(!pos(6, &[]).at_most(&pos(5, &[("w1", 9)])));
    }

    #[test]
    fn merge_takes_the_furthest_of_each() {
        let mut a = pos(5, &[("w1", 9)]);
        a.merge(&pos(7, &[("w2", 8)]));
        assert_eq!(a, pos(7, &[("w1", 9), ("w2", 8)]));
    }
}
