//! A user's presence as the presence stream carries it. Answers to `synapse/api/presence.py`.

use std::sync::Arc;

/// All timestamps are milliseconds since the epoch; 0 means never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceState {
    pub user_id: Arc<str>,
    /// `online`, `unavailable`, `busy` or `offline`.
    pub state: String,
    pub last_active_ts: i64,
    pub last_federation_update_ts: i64,
    pub last_user_sync_ts: i64,
    pub status_msg: Option<String>,
    pub currently_active: bool,
}
