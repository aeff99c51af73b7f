//! When each entity last changed in one stream. Answers to `synapse/util/caches/stream_change_cache.py`.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

/// Entities remembered per stream.
const CAPACITY: usize = 50_000;

/// Knows of every change after `earliest`, and nothing before.
#[derive(Debug)]
pub struct Changes {
    earliest: i64,
    by_entity: HashMap<Arc<str>, i64>,
    by_position: BTreeMap<i64, HashSet<Arc<str>>>,
}

impl Changes {
    pub fn new(earliest: i64) -> Self {
        Self { earliest, by_entity: HashMap::new(), by_position: BTreeMap::new() }
    }

    pub fn may_have_changed(&self, entity: &str, since: i64) -> bool {
        since < self.earliest || self.by_entity.get(entity).is_some_and(|position| *position > since)
    }

    /// Everything that changed after `since`; `None`: too long ago to know.
    pub fn changed_since(&self, since: i64) -> Option<Vec<Arc<str>>> {
        let newer = || self.by_position.range(since.saturating_add(1)..);
        (since >= self.earliest).then(|| newer().flat_map(|(_, entities)| entities).cloned().collect())
    }

    pub fn note(&mut self, entity: &Arc<str>, position: i64) {
        if position <= self.earliest {
            return;
        }
        match self.by_entity.get(entity) {
            Some(known) if *known >= position => return,
            Some(known) => {
                let known = *known;
                self.remove_at(known, entity);
            }
            None => {}
        }
        self.by_entity.insert(Arc::clone(entity), position);
        self.by_position.entry(position).or_default().insert(Arc::clone(entity));
        while self.by_entity.len() > CAPACITY {
            let Some((oldest, entities)) = self.by_position.pop_first() else { break };
            for entity in entities {
                self.by_entity.remove(&entity);
            }
            self.earliest = oldest;
        }
    }

    /// Nothing is known of what changed up to `position`.
    pub fn forget(&mut self, position: i64) {
        self.earliest = self.earliest.max(position);
        let newer = self.by_position.split_off(&(position + 1));
        for entity in std::mem::replace(&mut self.by_position, newer).into_values().flatten() {
            self.by_entity.remove(&entity);
        }
    }

    fn remove_at(&mut self, position: i64, entity: &Arc<str>) {
        if let Some(entities) = self.by_position.get_mut(&position) {
            entities.remove(entity);
            if entities.is_empty() {
                self.by_position.remove(&position);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_full_the_oldest_are_forgotten_towards_caution() {
        let mut changes = Changes::new(0);
        for n in 1..=i64::try_from(CAPACITY).unwrap() + 1 {
            changes.note(&Arc::from(format!("e{n}")), n);
        }
        assert!(changes.may_have_changed("anything", 0));
        assert!(!changes.may_have_changed("e5", 5));
        assert!(changes.may_have_changed("e5", 4));
    }

    #[test]
    fn forgetting_keeps_what_is_newer() {
        let mut changes = Changes::new(0);
        changes.note(&Arc::from("a"), 3);
        changes.note(&Arc::from("b"), 9);
        changes.forget(5);
        assert!(changes.may_have_changed("x", 4) && !changes.may_have_changed("a", 5));
        assert!(changes.may_have_changed("b", 8));
    }
}
