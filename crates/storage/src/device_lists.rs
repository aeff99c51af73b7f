//! Whose devices changed. Answers to the streams of `synapse/storage/databases/main/devices.py`.

use std::collections::HashSet;
use std::sync::Arc;

use myelin_model::MultiWriterPosition;

use crate::stream::instance_or_master;
use crate::{Storage, StorageError};

type ChangeRow = (String, i64, Option<String>);

impl Storage {
    /// `get_device_list_changes_in_rooms`: users whose devices changed in (`lower`, `upper`]; `None` when rows
    /// that old are gone.
    pub async fn device_list_changes_in_rooms(
        &self,
        room_ids: &[Arc<str>],
        lower: &MultiWriterPosition,
        upper: &MultiWriterPosition,
    ) -> Result<Option<HashSet<Arc<str>>>, StorageError> {
        if room_ids.is_empty() {
            return Ok(Some(HashSet::new()));
        }
        let pruned: Option<(i64,)> =
            sqlx::query_as("SELECT stream_id FROM device_lists_changes_in_room_max_pruned_stream_id")
                .fetch_optional(self.pool())
                .await?;
        if pruned.is_some_and(|(position,)| position > lower.base) {
            return Ok(None);
        }
        let ids: Vec<&str> = room_ids.iter().map(|id| &**id).collect();
        let rows: Vec<ChangeRow> = sqlx::query_as(
            "SELECT user_id, stream_id, instance_name FROM device_lists_changes_in_room
             WHERE room_id = ANY($1) AND stream_id > $2 AND stream_id <= $3",
        )
        .bind(ids)
        .bind(lower.base)
        .bind(upper.max())
        .fetch_all(self.pool())
        .await?;
        Ok(Some(within(rows, lower, upper)))
    }

    /// `get_users_whose_devices_changed`: of `user_ids`, in (`lower`, `upper`].
    pub async fn get_users_whose_devices_changed(
        &self,
        user_ids: &[Arc<str>],
        lower: &MultiWriterPosition,
        upper: &MultiWriterPosition,
    ) -> Result<HashSet<Arc<str>>, StorageError> {
        if user_ids.is_empty() {
            return Ok(HashSet::new());
        }
        let ids: Vec<&str> = user_ids.iter().map(|id| &**id).collect();
        let rows: Vec<ChangeRow> = sqlx::query_as(
            "SELECT user_id, stream_id, instance_name FROM device_lists_stream
             WHERE user_id = ANY($1) AND stream_id > $2 AND stream_id <= $3",
        )
        .bind(ids)
        .bind(lower.base)
        .bind(upper.max())
        .fetch_all(self.pool())
        .await?;
        Ok(within(rows, lower, upper))
    }

    /// `get_users_whose_signatures_changed`: whom `user_id` signed after `lower`.
    pub async fn get_users_whose_signatures_changed(
        &self,
        user_id: &str,
        lower: &MultiWriterPosition,
    ) -> Result<HashSet<Arc<str>>, StorageError> {
        let rows: Vec<ChangeRow> = sqlx::query_as(
            "SELECT user_ids, stream_id, instance_name FROM user_signature_stream
             WHERE from_user_id = $1 AND stream_id > $2",
        )
        .bind(user_id)
        .bind(lower.base)
        .fetch_all(self.pool())
        .await?;
        let mut users = HashSet::new();
        for (user_ids, position, instance) in rows {
            if !lower.covers(&instance_or_master(instance), position) {
                let ids: Vec<String> = serde_json::from_str(&user_ids).unwrap_or_default();
                users.extend(ids.into_iter().map(Arc::from));
            }
        }
        Ok(users)
    }
}

fn within(rows: Vec<ChangeRow>, lower: &MultiWriterPosition, upper: &MultiWriterPosition) -> HashSet<Arc<str>> {
    let inside = |(_, position, instance): &ChangeRow| {
        upper.covers_since(lower, &instance_or_master(instance.clone()), *position)
    };
    rows.into_iter().filter(inside).map(|(user_id, ..)| Arc::from(user_id)).collect()
}
