//! Messages from device to device. Answers to `synapse/storage/databases/main/deviceinbox.py`.

use std::sync::Arc;

use crate::{Storage, StorageError};

/// Messages of one answer; rows deleted by one statement.
const MESSAGES: i64 = 100;
const DELETED_AT_ONCE: i64 = 1_000;

impl Storage {
    /// `get_messages_for_device`: JSON texts in (`lower`, `upper`], and the position that they reach.
    pub async fn get_messages_for_device(
        &self,
        user_id: &str,
        device_id: &str,
        lower: i64,
        upper: i64,
    ) -> Result<(Vec<String>, i64), StorageError> {
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT stream_id, message_json FROM device_inbox
             WHERE user_id = $1 AND device_id = $2 AND stream_id > $3 AND stream_id <= $4
             ORDER BY stream_id LIMIT $5",
        )
        .bind(user_id)
        .bind(device_id)
        .bind(lower)
        .bind(upper)
        .bind(MESSAGES)
        .fetch_all(self.pool())
        .await?;
        let full = i64::try_from(rows.len()).is_ok_and(|count| count >= MESSAGES);
        let reached = rows.last().filter(|_| full).map_or(upper, |(position, _)| *position);
        Ok((rows.into_iter().map(|(_, message)| message).collect(), reached))
    }

    /// Up to where this process has deleted a device's messages.
    pub fn deleted_to_device_upto(&self, user_id: &Arc<str>, device_id: &Arc<str>) -> Option<i64> {
        self.users().deleted_to_device.get(&(Arc::clone(user_id), Arc::clone(device_id)))
    }

    /// `delete_messages_for_device`: those at or before `upto`, which the device has acknowledged.
    pub async fn delete_messages_for_device(
        &self,
        user_id: &Arc<str>,
        device_id: &Arc<str>,
        upto: i64,
    ) -> Result<(), StorageError> {
        let mut from = 0;
        loop {
            let (last,): (Option<i64>,) = sqlx::query_as(
                "SELECT max(stream_id) FROM (
                     SELECT stream_id FROM device_inbox
                     WHERE user_id = $1 AND device_id = $2 AND stream_id > $3 AND stream_id <= $4
                     ORDER BY stream_id LIMIT $5
                 ) AS oldest",
            )
            .bind(&**user_id)
            .bind(&**device_id)
            .bind(from)
            .bind(upto)
            .bind(DELETED_AT_ONCE)
            .fetch_one(self.pool())
            .await?;
            let Some(last) = last else { break };
            sqlx::query(
                "DELETE FROM device_inbox
                 WHERE user_id = $1 AND device_id = $2 AND stream_id > $3 AND stream_id <= $4",
            )
            .bind(&**user_id)
            .bind(&**device_id)
            .bind(from)
            .bind(last)
            .execute(self.pool())
            .await?;
            from = last;
        }
        let known = self.deleted_to_device_upto(user_id, device_id).unwrap_or_default();
        let key = (Arc::clone(user_id), Arc::clone(device_id));
        self.users().deleted_to_device.insert(key, known.max(upto));
        Ok(())
    }
}
