//! Presence as it was last written. Answers to `synapse/storage/databases/main/presence.py`.

use std::collections::HashMap;
use std::sync::Arc;

use myelin_model::presence::PresenceState;

use crate::{Storage, StorageError};

type Row = (String, String, Option<i64>, Option<i64>, Option<i64>, Option<String>, Option<bool>);

fn state((user_id, state, active, federation, sync, status_msg, currently_active): Row) -> PresenceState {
    PresenceState {
        user_id: Arc::from(user_id),
        state,
        last_active_ts: active.unwrap_or_default(),
        last_federation_update_ts: federation.unwrap_or_default(),
        last_user_sync_ts: sync.unwrap_or_default(),
        status_msg,
        currently_active: currently_active.unwrap_or_default(),
    }
}

impl Storage {
    /// `_get_active_presence`: everybody who was not offline when it was last written down.
    pub async fn active_presence(&self) -> Result<Vec<PresenceState>, StorageError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT user_id, state, last_active_ts, last_federation_update_ts, last_user_sync_ts, status_msg,
                 currently_active
             FROM presence_stream WHERE state <> 'offline'",
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(state).collect())
    }

    /// `get_presence_for_users`: users that never had a presence are left out.
    pub async fn get_presence_for_users(
        &self,
        user_ids: Vec<Arc<str>>,
    ) -> Result<Vec<Arc<PresenceState>>, StorageError> {
        let found = self.users().presence.get_many(user_ids, self, Self::load_presence).await?;
        Ok(found.into_values().flatten().collect())
    }

    async fn load_presence(
        self,
        user_ids: Vec<Arc<str>>,
    ) -> Result<HashMap<Arc<str>, Option<Arc<PresenceState>>>, StorageError> {
        let ids: Vec<&str> = user_ids.iter().map(|id| &**id).collect();
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT DISTINCT ON (user_id) user_id, state, last_active_ts, last_federation_update_ts,
                 last_user_sync_ts, status_msg, currently_active
             FROM presence_stream WHERE user_id = ANY($1) ORDER BY user_id, stream_id DESC",
        )
        .bind(ids)
        .fetch_all(self.pool())
        .await?;
        let mut states: HashMap<Arc<str>, Option<Arc<PresenceState>>> =
            user_ids.into_iter().map(|user_id| (user_id, None)).collect();
        states.extend(rows.into_iter().map(state).map(|state| (Arc::clone(&state.user_id), Some(Arc::new(state)))));
        Ok(states)
    }

    /// Where in the stream the user's presence was last written down.
    pub async fn presence_position(&self, user_id: &str) -> Result<Option<i64>, StorageError> {
        let row: (Option<i64>,) = sqlx::query_as("SELECT max(stream_id) FROM presence_stream WHERE user_id = $1")
            .bind(user_id)
            .fetch_one(self.pool())
            .await?;
        Ok(row.0)
    }

    /// `_get_full_presence_stream_token_for_user`: whoever syncs from before it gets everybody's presence.
    pub async fn get_full_presence_position(&self, user_id: &str) -> Result<Option<i64>, StorageError> {
        let load = || async {
            let row: Option<(i64,)> =
                sqlx::query_as("SELECT presence_stream_id FROM users_to_send_full_presence_to WHERE user_id = $1")
                    .bind(user_id)
                    .fetch_optional(self.pool())
                    .await?;
            Ok(row.map(|(position,)| position))
        };
        self.users().full_presence.get_or_load(Arc::from(user_id), load).await
    }
}
