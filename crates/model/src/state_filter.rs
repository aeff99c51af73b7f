//! Which part of a room's state is wanted. Answers to `synapse/types/state.py` (`StateFilter`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashMap;

/// (type, state_key).
pub type StateKey = (Arc<str>, Arc<str>);
/// Event id by (type, state_key).
pub type StateMap = HashMap<StateKey, Arc<str>>;

pub const MEMBER: &str = "m.room.member";

/// Per type its wanted state keys (`None`: all of them); other types are wanted as a whole or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StateFilter {
    types: BTreeMap<Arc<str>, Option<BTreeSet<Arc<str>>>>,
    include_others: bool,
}

/// The member part of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members<'a> {
    All,
    Some(&'a BTreeSet<Arc<str>>),
    None,
}

impl StateFilter {
    pub fn all() -> Self {
        Self { types: BTreeMap::new(), include_others: true }
    }

    pub fn none() -> Self {
        Self::default()
    }

    /// Pairs of a type and a state key; without a key, every state key of the type.
    pub fn from_types(types: impl IntoIterator<Item = (Arc<str>, Option<Arc<str>>)>) -> Self {
        let mut wanted: BTreeMap<Arc<str>, Option<BTreeSet<Arc<str>>>> = BTreeMap::new();
        for (kind, state_key) in types {
            let keys = wanted.entry(kind).or_insert_with(|| Some(BTreeSet::new()));
            match (state_key, keys) {
                (Some(state_key), Some(keys)) => drop(keys.insert(state_key)),
                (Some(_), None) => {}
                (None, keys) => *keys = None,
            }
        }
        Self { types: wanted, include_others: false }
    }

    /// All state but members, and of those only `members`.
    pub fn lazy_load(members: impl IntoIterator<Item = Arc<str>>) -> Self {
        let members = members.into_iter().collect();
        Self { types: BTreeMap::from([(Arc::from(MEMBER), Some(members))]), include_others: true }
    }

    pub fn matches(&self, kind: &str, state_key: &str) -> bool {
        match self.types.get(kind) {
            Some(Some(keys)) => keys.contains(state_key),
            Some(None) => true,
            None => self.include_others,
        }
    }

    pub fn is_full(&self) -> bool {
        self.include_others && self.types.values().all(Option::is_none)
    }

    pub fn members(&self) -> Members<'_> {
        match self.types.get(MEMBER) {
            Some(Some(users)) if users.is_empty() => Members::None,
            Some(Some(users)) => Members::Some(users),
            Some(None) => Members::All,
            None if self.include_others => Members::All,
            None => Members::None,
        }
    }

    /// Whether anything but members is wanted.
    pub fn wants_others(&self) -> bool {
        let wanted = |(kind, keys): (&Arc<str>, &Option<BTreeSet<Arc<str>>>)| {
            &**kind != MEMBER && keys.as_ref().is_none_or(|keys| !keys.is_empty())
        };
        self.include_others || self.types.iter().any(wanted)
    }

    /// Every wanted key, when each is named.
    pub fn concrete(&self) -> Option<Vec<StateKey>> {
        if self.include_others {
            return None;
        }
        let mut keys = Vec::new();
        for (kind, state_keys) in &self.types {
            for state_key in state_keys.as_ref()? {
                keys.push((Arc::clone(kind), Arc::clone(state_key)));
            }
        }
        Some(keys)
    }

    /// `filter_state`: the wanted part of `state`.
    pub fn filter(&self, state: &StateMap) -> StateMap {
        let clone = |(key, id): (&StateKey, &Arc<str>)| (key.clone(), Arc::clone(id));
        if self.is_full() {
            return state.clone();
        }
        if let Some(keys) = self.concrete() {
            return keys.into_iter().filter_map(|key| state.get(&key).map(|id| (key, Arc::clone(id)))).collect();
        }
        state.iter().filter(|((kind, state_key), _)| self.matches(kind, state_key)).map(clone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Arc<str> {
        Arc::from(text)
    }

    #[test]
    fn a_type_without_a_key_wins_over_its_keys() {
        let filter = StateFilter::from_types([(id("a"), Some(id("1"))), (id("a"), None), (id("b"), Some(id("")))]);
        assert!(filter.matches("a", "2") && filter.matches("b", "") && !filter.matches("b", "x"));
        assert!(!filter.matches("c", "") && filter.concrete().is_none() && filter.members() == Members::None);
    }

    #[test]
    fn lazy_loading_names_its_members() {
        let filter = StateFilter::lazy_load([id("@a:t")]);
        assert!(filter.matches("x", "") && filter.matches(MEMBER, "@a:t") && !filter.matches(MEMBER, "@b:t"));
        assert!(!filter.is_full() && filter.wants_others());
        assert_eq!(StateFilter::lazy_load([]).members(), Members::None);
    }
}
