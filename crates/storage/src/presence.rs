//! Presence as it was last written. Answers to `synapse/storage/databases/main/presence.py`.

use std::sync::Arc;

use myelin_model::presence::PresenceState;

use crate::{Storage, StorageError};

impl Storage {
    /// `_get_active_presence`: everybody who was not offline when it was last written down.
    pub async fn active_presence(&self) -> Result<Vec<PresenceState>, StorageError> {
        type Row = (String, String, Option<i64>, Option<i64>, Option<i64>, Option<String>, Option<bool>);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT user_id, state, last_active_ts, last_federation_update_ts, last_user_sync_ts, status_msg,
                 currently_active
             FROM presence_stream WHERE state <> 'offline'",
        )
        .fetch_all(self.pool())
        .await?;
        let state = |(user_id, state, active, federation, sync, status_msg, currently_active): Row| PresenceState {
            user_id: Arc::from(user_id),
            state,
            last_active_ts: active.unwrap_or_default(),
            last_federation_update_ts: federation.unwrap_or_default(),
            last_user_sync_ts: sync.unwrap_or_default(),
            status_msg,
            currently_active: currently_active.unwrap_or_default(),
        };
        Ok(rows.into_iter().map(state).collect())
    }
}
