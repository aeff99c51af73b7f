//! Current state, and the state at events. Answers to `synapse/storage/databases/main/state.py` and the reading
//! half of `synapse/storage/controllers/state.py`.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use myelin_model::state_filter::{StateFilter, StateKey, StateMap};

use crate::{Storage, StorageError, slot};

/// From this many named keys on, the whole current state is loaded and kept instead.
const MAX_NAMED_KEYS: usize = 100;

impl Storage {
    /// `get_partial_current_state_ids`: the whole current state of a room, as far as it is known.
    pub async fn get_partial_current_state_ids(&self, room_id: &str) -> Result<Arc<StateMap>, StorageError> {
        let load = || async {
            let rows: Vec<(String, String, String)> =
                sqlx::query_as("SELECT type, state_key, event_id FROM current_state_events WHERE room_id = $1")
                    .bind(room_id)
                    .fetch_all(self.pool())
                    .await?;
            Ok(Arc::new(self.state_map(rows)))
        };
        self.caches().current_state.get_or_load(Arc::from(room_id), load).await
    }

    /// `get_partial_filtered_current_state_ids`.
    pub async fn get_filtered_current_state_ids(
        &self,
        room_id: &str,
        filter: &StateFilter,
    ) -> Result<StateMap, StorageError> {
        let named = filter.concrete().filter(|keys| keys.len() < MAX_NAMED_KEYS);
        if let Some(keys) = named {
            if let Some(state) = self.caches().current_state.get(room_id) {
                return Ok(filter.filter(&state));
            }
            return self.current_state_ids_of(room_id, &keys).await;
        }
        Ok(filter.filter(&*self.get_partial_current_state_ids(room_id).await?))
    }

    /// The same, of no interest which id is whose.
    pub async fn get_current_state_event_ids(
        &self,
        room_id: &str,
        filter: &StateFilter,
    ) -> Result<Vec<Arc<str>>, StorageError> {
        if filter.concrete().is_some() {
            return Ok(self.get_filtered_current_state_ids(room_id, filter).await?.into_values().collect());
        }
        let state = self.get_partial_current_state_ids(room_id).await?;
        let wanted = state.iter().filter(|((kind, state_key), _)| filter.matches(kind, state_key));
        Ok(wanted.map(|(_, event_id)| Arc::clone(event_id)).collect())
    }

    /// `get_current_state_event`, its id.
    pub async fn get_current_state_event_id(
        &self,
        room_id: &str,
        kind: &str,
        state_key: &str,
    ) -> Result<Option<Arc<str>>, StorageError> {
        let key: StateKey = (Arc::from(kind), Arc::from(state_key));
        if let Some(state) = self.caches().current_state.get(room_id) {
            return Ok(state.get(&key).cloned());
        }
        let keys = [(Arc::from(room_id), key)];
        let found = self.caches().current_state_event.get_many(keys, self, Self::load_current_state_events).await?;
        Ok(found.into_values().next().flatten())
    }

    /// `get_current_state_event_counts`: how many keys a room's current state has.
    pub async fn get_current_state_event_counts(&self, room_id: &str) -> Result<usize, StorageError> {
        if let Some(state) = self.caches().current_state.get(room_id) {
            return Ok(state.len());
        }
        let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM current_state_events WHERE room_id = $1")
            .bind(room_id)
            .fetch_one(self.pool())
            .await?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    async fn load_current_state_events(
        self,
        keys: Vec<(Arc<str>, StateKey)>,
    ) -> Result<HashMap<(Arc<str>, StateKey), Option<Arc<str>>>, StorageError> {
        let room_ids: Vec<&str> = keys.iter().map(|(room_id, _)| &**room_id).collect();
        let (kinds, state_keys): (Vec<&str>, Vec<&str>) = keys.iter().map(|(_, (kind, key))| (&**kind, &**key)).unzip();
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT w.ordinality, c.event_id
             FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS w(room_id, type, state_key, ordinality)
             JOIN current_state_events AS c
                 ON c.room_id = w.room_id AND c.type = w.type AND c.state_key = w.state_key",
        )
        .bind(room_ids)
        .bind(kinds)
        .bind(state_keys)
        .fetch_all(self.pool())
        .await?;
        let mut found: Vec<_> = keys.into_iter().map(|key| (key, None)).collect();
        for (ordinality, event_id) in rows {
            if let Some((_, found)) = slot(&mut found, ordinality) {
                *found = Some(self.texts().share(&event_id));
            }
        }
        Ok(found.into_iter().collect())
    }

    async fn current_state_ids_of(&self, room_id: &str, keys: &[StateKey]) -> Result<StateMap, StorageError> {
        if keys.is_empty() {
            return Ok(StateMap::new());
        }
        let (kinds, state_keys): (Vec<&str>, Vec<&str>) = keys.iter().map(|(kind, key)| (&**kind, &**key)).unzip();
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT c.type, c.state_key, c.event_id
             FROM unnest($2::text[], $3::text[]) AS w(type, state_key)
             JOIN current_state_events AS c
                 ON c.room_id = $1 AND c.type = w.type AND c.state_key = w.state_key",
        )
        .bind(room_id)
        .bind(kinds)
        .bind(state_keys)
        .fetch_all(self.pool())
        .await?;
        Ok(self.state_map(rows))
    }

    /// `_get_state_group_for_events`: the group of the state after each event; outliers have none.
    pub async fn get_state_group_for_events(
        &self,
        event_ids: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, i64>, StorageError> {
        let ids: HashSet<Arc<str>> = event_ids.iter().cloned().collect();
        let load = |storage: Self, ids: Vec<Arc<str>>| async move {
            let ids: Vec<&str> = ids.iter().map(|id| &**id).collect();
            let rows: Vec<(String, i64)> =
                sqlx::query_as("SELECT event_id, state_group FROM event_to_state_groups WHERE event_id = ANY($1)")
                    .bind(ids)
                    .fetch_all(storage.pool())
                    .await?;
            Ok(rows.into_iter().map(|(id, group)| (Arc::from(id), group)).collect())
        };
        self.caches().state_group_of.get_many(ids, self, load).await
    }

    /// `get_state_ids_for_events`: the state after each event. Events without state have no entry.
    pub async fn get_state_ids_for_events(
        &self,
        event_ids: &[Arc<str>],
        filter: &StateFilter,
    ) -> Result<HashMap<Arc<str>, Arc<StateMap>>, StorageError> {
        let group_of = self.get_state_group_for_events(event_ids).await?;
        let groups: Vec<i64> = group_of.values().copied().collect();
        let states = self.get_state_for_groups(&groups, filter).await?;
        let state = |(id, group): (Arc<str>, i64)| Some((id, Arc::clone(states.get(&group)?)));
        Ok(group_of.into_iter().filter_map(state).collect())
    }

    /// `get_state_ids_for_event`: the state after one event.
    pub async fn get_state_ids_for_event(
        &self,
        event_id: &str,
        filter: &StateFilter,
    ) -> Result<Arc<StateMap>, StorageError> {
        let mut states = self.get_state_ids_for_events(&[Arc::from(event_id)], filter).await?;
        let state = states.remove(event_id);
        state.ok_or_else(|| StorageError::inconsistency("event_to_state_groups", "state_group", event_id))
    }

    /// `is_partial_state_room`: whether the room's state is still being fetched after a fast join.
    pub async fn is_partial_state_room(&self, room_id: &str) -> Result<bool, StorageError> {
        Ok(self.partial_state_rooms().await?.contains(room_id))
    }

    /// Every room for which `is_partial_state_room` holds; mostly there is none.
    pub async fn partial_state_rooms(&self) -> Result<Arc<HashSet<Arc<str>>>, StorageError> {
        let load = || async {
            let rows: Vec<(String,)> =
                sqlx::query_as("SELECT room_id FROM partial_state_rooms").fetch_all(self.pool()).await?;
            Ok(Arc::new(rows.into_iter().map(|(room_id,)| Arc::from(room_id)).collect()))
        };
        self.caches().partial_state.get_or_load((), load).await
    }

    fn state_map(&self, rows: Vec<(String, String, String)>) -> StateMap {
        let texts = self.texts();
        rows.into_iter()
            .map(|(kind, state_key, id)| ((texts.share(&kind), texts.share(&state_key)), texts.share(&id)))
            .collect()
    }
}
