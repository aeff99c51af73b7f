//! Limits of single users, and how long rooms keep messages. Answers to `get_ratelimit_for_user` and
//! `get_retention_policy_for_room` in `synapse/storage/databases/main/room.py`.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::{Storage, StorageError};

impl Storage {
    /// `get_ratelimit_for_user`: events per second, where 0 stands for no limit at all; none if nobody set one.
    pub async fn get_ratelimit_for_user(&self, user_id: &str) -> Result<Option<i64>, StorageError> {
        let load = || async {
            let row: Option<(Option<i64>,)> =
                sqlx::query_as("SELECT messages_per_second FROM ratelimit_override WHERE user_id = $1")
                    .bind(user_id)
                    .fetch_optional(self.pool())
                    .await?;
            // NULL is no limit, too.
            Ok(row.map(|(messages_per_second,)| messages_per_second.unwrap_or_default()))
        };
        self.accounts().ratelimits.get_or_load(Arc::from(user_id), load).await
    }

    /// `is_room_blocked`
    pub async fn is_room_blocked(&self, room_id: &str) -> Result<bool, StorageError> {
        let load = || async {
            let row: (bool,) = sqlx::query_as("SELECT EXISTS (SELECT FROM blocked_rooms WHERE room_id = $1)")
                .bind(room_id)
                .fetch_one(self.pool())
                .await?;
            Ok(row.0)
        };
        self.caches().blocked.get_or_load(Arc::from(room_id), load).await
    }

    /// `get_public_room_ids`: those of `room_ids` that the list of public rooms shows.
    pub async fn public_rooms_of(&self, room_ids: &[&str]) -> Result<HashSet<String>, StorageError> {
        let rows: Vec<(String,)> = sqlx::query_as("SELECT room_id FROM rooms WHERE is_public AND room_id = ANY($1)")
            .bind(room_ids)
            .fetch_all(self.pool())
            .await?;
        Ok(rows.into_iter().map(|(room_id,)| room_id).collect())
    }

    /// The `max_lifetime` of `get_retention_policy_for_room`, in milliseconds, as each room itself says it.
    pub async fn get_max_lifetimes(
        &self,
        room_ids: HashSet<Arc<str>>,
    ) -> Result<HashMap<Arc<str>, Option<i64>>, StorageError> {
        let load = |storage: Self, room_ids: Vec<Arc<str>>| async move {
            let ids: Vec<&str> = room_ids.iter().map(|id| &**id).collect();
            let rows: Vec<(String, Option<i64>)> = sqlx::query_as(
                "SELECT r.room_id, r.max_lifetime FROM room_retention AS r
                 JOIN current_state_events AS c ON c.event_id = r.event_id AND c.room_id = r.room_id
                 WHERE r.room_id = ANY($1)",
            )
            .bind(ids)
            .fetch_all(storage.pool())
            .await?;
            let found: HashMap<String, Option<i64>> = rows.into_iter().collect();
            let of = |id: Arc<str>| {
                let lifetime = found.get(&*id).copied().flatten();
                (id, lifetime)
            };
            Ok(room_ids.into_iter().map(of).collect())
        };
        self.caches().max_lifetime.get_many(room_ids, self, load).await
    }
}
