//! Threads that users follow (MSC4306). Answers to `synapse/storage/databases/main/thread_subscriptions.py`.

use crate::{Storage, StorageError};

/// A change of a subscription.
#[derive(Clone, Debug)]
pub struct ThreadSubscription {
    pub stream_id: i64,
    pub room_id: String,
    pub thread_root: String,
    pub subscribed: bool,
    /// Not asked for by the user.
    pub automatic: bool,
}

impl Storage {
    /// `get_subscription_for_thread`: whether it is an automatic one; nothing without a subscription.
    pub async fn get_subscription_for_thread(
        &self,
        user_id: &str,
        room_id: &str,
        thread_root: &str,
    ) -> Result<Option<bool>, StorageError> {
        let row: Option<(bool,)> = sqlx::query_as(
            "SELECT automatic FROM thread_subscriptions
             WHERE user_id = $1 AND room_id = $2 AND event_id = $3 AND subscribed",
        )
        .bind(user_id)
        .bind(room_id)
        .bind(thread_root)
        .fetch_optional(self.pool())
        .await?;
        Ok(row.map(|(automatic,)| automatic))
    }

    /// `get_latest_updated_thread_subscriptions_for_user`: the last `limit` in (`lower`, `upper`], oldest first.
    pub async fn get_latest_updated_thread_subscriptions_for_user(
        &self,
        user_id: &str,
        (lower, upper): (i64, i64),
        limit: i64,
    ) -> Result<Vec<ThreadSubscription>, StorageError> {
        let rows: Vec<(i32, String, String, bool, bool)> = sqlx::query_as(
            "SELECT stream_id, room_id, event_id, subscribed, automatic FROM thread_subscriptions
             WHERE user_id = $1 AND stream_id > $2::bigint AND stream_id <= $3::bigint
             ORDER BY stream_id DESC LIMIT $4",
        )
        .bind(user_id)
        .bind(lower)
        .bind(upper)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        let change = |(stream_id, room_id, thread_root, subscribed, automatic)| ThreadSubscription {
            stream_id: i64::from(stream_id),
            room_id,
            thread_root,
            subscribed,
            automatic,
        };
        Ok(rows.into_iter().rev().map(change).collect())
    }
}
