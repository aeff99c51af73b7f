//! State by state group. Answers to `synapse/storage/databases/state/store.py` and `bg_updates.py`.
//!
//! A state group never changes, so each group's own rows and its edge are cached as they are, and a
//! group's state is resolved by walking the edges in memory. Members are kept apart from the rest:
//! there may be very many of them, and often only one is asked for.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use myelin_caches::{Cache, Registry};
use myelin_model::state_filter::{MEMBER, Members, StateFilter, StateKey, StateMap};

use crate::{CacheSizes, Loader, Storage, StorageError};

/// Edges are walked at most this far: Synapse starts a new chain after 100.
const MAX_CHAIN: usize = 10_000;

pub(crate) struct StateGroups {
    /// Resolved: with members the whole state, or else all but them.
    resolved: Cache<Resolved, Arc<StateMap>>,
    others: Arc<Loader<i64, Arc<Node>>>,
    members: Arc<Loader<i64, Arc<Node>>>,
    /// The member event of one user at one group, or that there is none.
    member_at: Arc<MemberAt>,
}

/// The group's own rows, and the group that they are a delta to.
pub(crate) struct Node {
    prev: Option<i64>,
    delta: Box<[(StateKey, Arc<str>)]>,
}

/// A group, and whether members are included.
type Resolved = (i64, bool);
type MemberAt = Loader<(i64, Arc<str>), Option<Arc<str>>>;
type Chains = HashMap<i64, Arc<Node>>;

impl StateGroups {
    pub(crate) fn new(sizes: &CacheSizes, registry: &Registry) -> Arc<Self> {
        const BYTES_PER_ROW: usize = 150;
        const BYTES_PER_KEY: usize = 56;
        let weigh = |_: &i64, node: &Arc<Node>| 64 + node.delta.len() * BYTES_PER_ROW;
        let groups = Arc::new(Self {
            resolved: Cache::new(sizes.bytes(16 << 20), |_, state| 128 + state.capacity() * BYTES_PER_KEY),
            others: Arc::new(Loader::new(sizes.bytes(64 << 20), weigh)),
            members: Arc::new(Loader::new(sizes.bytes(64 << 20), weigh)),
            member_at: Arc::new(Loader::new(sizes.bytes(16 << 20), |_, _| 160)),
        });
        let [resolved, others, members, member_at] = [(); 4].map(|()| Arc::clone(&groups));
        registry.watch("resolved_state_group", move || resolved.resolved.stats());
        registry.watch("*stateGroupCache*", move || others.others.cache().stats());
        registry.watch("*stateGroupMembersCache*", move || members.members.cache().stats());
        registry.watch("member_at_state_group", move || member_at.member_at.cache().stats());
        groups
    }
}

impl Storage {
    /// `_get_state_for_groups`: for each group the state that `filter` wants.
    pub async fn get_state_for_groups(
        &self,
        groups: &[i64],
        filter: &StateFilter,
    ) -> Result<HashMap<i64, Arc<StateMap>>, StorageError> {
        let groups: HashSet<i64> = groups.iter().copied().collect();
        if filter.is_full() {
            return self.resolved(&groups, true).await;
        }
        let others = if filter.wants_others() { self.resolved(&groups, false).await? } else { HashMap::new() };
        let wanted = |group: &i64| others.get(group).map_or_else(StateMap::new, |state| filter.filter(state));
        let mut found: HashMap<i64, StateMap> = groups.iter().map(|group| (*group, wanted(group))).collect();
        match filter.members() {
            Members::None => {}
            Members::All => {
                let chains = self.chains(&groups, true).await?;
                for (group, state) in &mut found {
                    resolve(&chains, *group, |(kind, key)| filter.matches(kind, key), state);
                }
            }
            Members::Some(users) => {
                let pairs = groups.iter().flat_map(|group| users.iter().map(|user| (*group, Arc::clone(user))));
                // An iterator kept across an await would make this future no `Send`, as far as rustc can tell.
                let pairs: Vec<_> = pairs.collect();
                let loader = &self.caches().state_groups.member_at;
                let kind: Arc<str> = Arc::from(MEMBER);
                for ((group, user), event_id) in loader.get_many(pairs, self, Self::load_members_at).await? {
                    if let (Some(event_id), Some(state)) = (event_id, found.get_mut(&group)) {
                        state.insert((Arc::clone(&kind), user), event_id);
                    }
                }
            }
        }
        Ok(found.into_iter().map(|(group, state)| (group, Arc::new(state))).collect())
    }

    /// The member events of one server's users at each group.
    pub async fn get_members_of_server(
        &self,
        groups: &HashSet<i64>,
        server: &str,
    ) -> Result<HashMap<i64, Vec<Arc<str>>>, StorageError> {
        let chains = self.chains(groups, true).await?;
        let is_of_server =
            |(_, user_id): &StateKey| user_id.split_once(':').is_some_and(|(_, domain)| domain == server);
        let members = |group: &i64| {
            let mut state = StateMap::new();
            resolve(&chains, *group, is_of_server, &mut state);
            (*group, state.into_values().collect())
        };
        Ok(groups.iter().map(members).collect())
    }

    /// The state of each group, with or without its members.
    async fn resolved(
        &self,
        groups: &HashSet<i64>,
        members: bool,
    ) -> Result<HashMap<i64, Arc<StateMap>>, StorageError> {
        let resolved = &self.caches().state_groups.resolved;
        let known = groups.iter().filter_map(|group| Some((*group, resolved.get(&(*group, members))?)));
        let mut found: HashMap<i64, Arc<StateMap>> = known.collect();
        let missing: HashSet<i64> = groups.iter().copied().filter(|group| !found.contains_key(group)).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let others = self.chains(&missing, false).await?;
        let chains = if members { self.chains(&missing, true).await? } else { Chains::new() };
        for group in missing {
            let mut state = StateMap::new();
            resolve(&others, group, |_| true, &mut state);
            resolve(&chains, group, |_| true, &mut state);
            state.shrink_to_fit();
            let state = Arc::new(state);
            resolved.insert((group, members), Arc::clone(&state));
            found.insert(group, state);
        }
        Ok(found)
    }

    /// Every node of the chains of `groups`.
    async fn chains(&self, groups: &HashSet<i64>, members: bool) -> Result<Chains, StorageError> {
        let caches = &self.caches().state_groups;
        let loader = if members { &caches.members } else { &caches.others };
        let mut chains = Chains::new();
        let mut wanted: Vec<i64> = groups.iter().copied().collect();
        let mut depth = 0;
        while !wanted.is_empty() && depth < MAX_CHAIN {
            // The load brings a whole chain at once, so that each further round is answered by the cache.
            let nodes =
                loader.get_many(wanted, self, move |storage, groups| storage.load_chains(groups, members)).await?;
            let next: HashSet<i64> = nodes.values().filter_map(|node| node.prev).collect();
            chains.extend(nodes);
            wanted = next.into_iter().filter(|group| !chains.contains_key(group)).collect();
            depth += 1;
        }
        Ok(chains)
    }

    async fn load_chains(self, groups: Vec<i64>, members: bool) -> Result<Chains, StorageError> {
        let edges: Vec<(i64, Option<i64>)> = sqlx::query_as(
            "WITH RECURSIVE sgs(state_group) AS (
                 SELECT unnest($1::bigint[])
                 UNION
                 SELECT e.prev_state_group FROM state_group_edges AS e JOIN sgs AS s ON s.state_group = e.state_group
             )
             SELECT s.state_group, e.prev_state_group
             FROM sgs AS s LEFT JOIN state_group_edges AS e ON e.state_group = s.state_group",
        )
        .bind(&groups)
        .fetch_all(self.state_pool())
        .await?;
        let caches = &self.caches().state_groups;
        let loader = if members { &caches.members } else { &caches.others };
        let mut nodes = Chains::new();
        let mut missing = Vec::new();
        for (group, _) in &edges {
            match loader.cache().get(group) {
                Some(node) => drop(nodes.insert(*group, node)),
                None => missing.push(*group),
            }
        }
        let mut deltas = self.load_deltas(&missing, members).await?;
        for (group, prev) in edges {
            if nodes.contains_key(&group) {
                continue;
            }
            let delta = deltas.remove(&group).unwrap_or_default().into_boxed_slice();
            let node = Arc::new(Node { prev, delta });
            loader.cache().insert(group, Arc::clone(&node));
            nodes.insert(group, node);
        }
        Ok(nodes)
    }

    async fn load_deltas(
        &self,
        groups: &[i64],
        members: bool,
    ) -> Result<HashMap<i64, Vec<(StateKey, Arc<str>)>>, StorageError> {
        if groups.is_empty() {
            return Ok(HashMap::new());
        }
        // Two ranges instead of `<>`: the index then skips the members.
        let statement = if members {
            "SELECT state_group, type, state_key, event_id FROM state_groups_state
             WHERE state_group = ANY($1) AND type = 'm.room.member'"
        } else {
            "SELECT state_group, type, state_key, event_id FROM state_groups_state
             WHERE state_group = ANY($1) AND type < 'm.room.member'
             UNION ALL
             SELECT state_group, type, state_key, event_id FROM state_groups_state
             WHERE state_group = ANY($1) AND type > 'm.room.member'"
        };
        let rows: Vec<(i64, String, String, String)> =
            sqlx::query_as(statement).bind(groups).fetch_all(self.state_pool()).await?;
        let texts = self.texts();
        let mut deltas: HashMap<i64, Vec<_>> = HashMap::new();
        for (group, kind, state_key, event_id) in rows {
            let row = ((texts.share(&kind), texts.share(&state_key)), texts.share(&event_id));
            deltas.entry(group).or_default().push(row);
        }
        Ok(deltas)
    }

    async fn load_members_at(
        self,
        pairs: Vec<(i64, Arc<str>)>,
    ) -> Result<HashMap<(i64, Arc<str>), Option<Arc<str>>>, StorageError> {
        let roots: HashSet<i64> = pairs.iter().map(|(group, _)| *group).collect();
        let roots: Vec<i64> = roots.into_iter().collect();
        let (groups, users): (Vec<i64>, Vec<&str>) = pairs.iter().map(|(group, user)| (*group, &**user)).unzip();
        // OFFSET 0 keeps the inner SELECT an index look-up per (group, user).
        let rows: Vec<(i64, String, String)> = sqlx::query_as(
            "WITH RECURSIVE sgs(root, state_group) AS (
                 SELECT g, g FROM unnest($1::bigint[]) AS g
                 UNION ALL
                 SELECT s.root, e.prev_state_group
                 FROM state_group_edges AS e JOIN sgs AS s ON s.state_group = e.state_group
             )
             SELECT DISTINCT ON (s.root, w.user_id) s.root, w.user_id, m.event_id
             FROM unnest($2::bigint[], $3::text[]) AS w(root, user_id)
             JOIN sgs AS s ON s.root = w.root
             CROSS JOIN LATERAL (
                 SELECT event_id FROM state_groups_state
                 WHERE state_group = s.state_group AND type = 'm.room.member' AND state_key = w.user_id OFFSET 0
             ) AS m
             ORDER BY s.root, w.user_id, s.state_group DESC",
        )
        .bind(roots)
        .bind(groups)
        .bind(users)
        .fetch_all(self.state_pool())
        .await?;
        let mut found: HashMap<_, _> = pairs.into_iter().map(|pair| (pair, None)).collect();
        let texts = self.texts();
        for (root, user, event_id) in rows {
            found.insert((root, texts.share(&user)), Some(texts.share(&event_id)));
        }
        Ok(found)
    }
}

/// From the newest delta to the oldest: the first to name a key wins.
fn resolve(chains: &Chains, group: i64, wanted: impl Fn(&StateKey) -> bool, state: &mut StateMap) {
    let mut at = Some(group);
    let mut steps = 0;
    while let Some(node) = at.and_then(|group| chains.get(&group)) {
        for (key, event_id) in &node.delta {
            if wanted(key) {
                state.entry(key.clone()).or_insert_with(|| Arc::clone(event_id));
            }
        }
        steps += 1;
        at = node.prev.filter(|_| steps < MAX_CHAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(prev: Option<i64>, rows: &[(&str, &str, &str)]) -> Arc<Node> {
        let delta = rows.iter().map(|(t, k, id)| ((Arc::from(*t), Arc::from(*k)), Arc::from(*id))).collect();
        Arc::new(Node { prev, delta })
    }

    #[test]
    fn the_newest_delta_wins() {
        let chains = Chains::from([
            (1, node(None, &[("a", "", "$1"), ("b", "", "$2")])),
            (2, node(Some(1), &[("a", "", "$3")])),
            (3, node(Some(2), &[])),
        ]);
        let mut state = StateMap::new();
        resolve(&chains, 3, |_| true, &mut state);
        let id = |kind: &str| state.get(&(Arc::from(kind), Arc::from(""))).map(ToString::to_string);
        assert_eq!((id("a"), id("b")), (Some("$3".to_owned()), Some("$2".to_owned())));
    }

    #[test]
    fn a_circle_of_edges_ends() {
        let chains = Chains::from([(1, node(Some(2), &[])), (2, node(Some(1), &[]))]);
        resolve(&chains, 1, |_| true, &mut StateMap::new());
    }
}
