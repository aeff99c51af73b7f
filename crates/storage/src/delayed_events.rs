//! Events that are to be sent later (MSC4140). Answers to `synapse/storage/databases/main/delayed_events.py`.

use crate::{Storage, StorageError};

/// `DelayedEventResponse`; times are milliseconds.
#[derive(Clone, Debug)]
pub struct DelayedEvent {
    pub delay_id: String,
    pub room_id: String,
    pub kind: String,
    /// Of a state event.
    pub state_key: Option<String>,
    pub delay: i64,
    /// Since when it waits.
    pub running_since: i64,
    /// JSON.
    pub content: String,
}

type Row = (String, String, String, Option<String>, i64, i64, String);

impl Storage {
    /// `get_all_delayed_events_for_user`, or `get_delayed_event_for_user` of one: those that still wait, next first.
    pub async fn get_delayed_events_for_user(
        &self,
        localpart: &str,
        delay_id: Option<&str>,
    ) -> Result<Vec<DelayedEvent>, StorageError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT delay_id, room_id, event_type, state_key, delay, send_ts - delay, content FROM delayed_events
             WHERE user_localpart = $1 AND NOT is_processed AND ($2::text IS NULL OR delay_id = $2) ORDER BY send_ts",
        )
        .bind(localpart)
        .bind(delay_id)
        .fetch_all(self.pool())
        .await?;
        let event = |(delay_id, room_id, kind, state_key, delay, running_since, content): Row| DelayedEvent {
            delay_id,
            room_id,
            kind,
            state_key,
            delay,
            running_since,
            content,
        };
        Ok(rows.into_iter().map(event).collect())
    }
}
