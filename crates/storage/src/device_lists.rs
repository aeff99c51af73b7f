//! Whose devices changed. Answers to the streams of `synapse/storage/databases/main/devices.py`.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use myelin_model::MultiWriterPosition;

use crate::stream::instance_or_master;
use crate::{Storage, StorageError, slot};

type ChangeRow = (String, i64, Option<String>);
/// The room, after which position, and up to where.
pub(crate) type RoomChangesKey = (Arc<str>, i64, MultiWriterPosition);

/// Somebody's devices changed: the user, the position and who wrote it.
#[derive(Clone, Debug)]
pub(crate) struct RoomChange {
    user_id: Arc<str>,
    position: i64,
    instance: Arc<str>,
}

/// `None`: rows that old are gone.
pub(crate) type RoomChanges = Option<Arc<[RoomChange]>>;

impl Storage {
    /// `get_device_list_changes_in_rooms`: users whose devices changed in (`lower`, `upper`]; `None` when rows
    /// that old are gone.
    pub async fn device_list_changes_in_rooms(
        &self,
        room_ids: &[Arc<str>],
        lower: &MultiWriterPosition,
        upper: &MultiWriterPosition,
    ) -> Result<Option<HashSet<Arc<str>>>, StorageError> {
        let keys = room_ids.iter().map(|room_id| (Arc::clone(room_id), lower.base, upper.clone()));
        let keys: Vec<RoomChangesKey> = keys.collect();
        let found = self.users().device_changes.get_many(keys, self, Self::load_device_changes).await?;
        let mut users = HashSet::new();
        for changes in found.into_values() {
            let Some(changes) = changes else { return Ok(None) };
            let inside = |change: &&RoomChange| upper.covers_since(lower, &change.instance, change.position);
            users.extend(changes.iter().filter(inside).map(|change| Arc::clone(&change.user_id)));
        }
        Ok(Some(users))
    }

    /// Nothing has to make these stale: up to a position that was reached, rows are only ever deleted. Whether any
    /// had been deleted is read with them.
    async fn load_device_changes(
        self,
        keys: Vec<RoomChangesKey>,
    ) -> Result<HashMap<RoomChangesKey, RoomChanges>, StorageError> {
        type Row = (i64, bool, Option<String>, Option<i64>, Option<String>);
        let rooms: Vec<&str> = keys.iter().map(|(room_id, ..)| &**room_id).collect();
        let (lower, upper): (Vec<i64>, Vec<i64>) = keys.iter().map(|(_, lower, upper)| (*lower, upper.max())).unzip();
        // OFFSET 0 keeps the inner SELECT an index look-up per room.
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT k.n, k.lower < COALESCE(
                     (SELECT max(stream_id) FROM device_lists_changes_in_room_max_pruned_stream_id), 0),
                 c.user_id, c.stream_id, c.instance_name
             FROM unnest($1::text[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS k(room_id, lower, upper, n)
             LEFT JOIN LATERAL (
                 SELECT user_id, stream_id, instance_name FROM device_lists_changes_in_room
                 WHERE room_id = k.room_id AND stream_id > k.lower AND stream_id <= k.upper OFFSET 0
             ) AS c ON TRUE",
        )
        .bind(rooms)
        .bind(lower)
        .bind(upper)
        .fetch_all(self.pool())
        .await?;
        let mut by_key: Vec<Option<Vec<RoomChange>>> = vec![Some(Vec::new()); keys.len()];
        for (n, pruned, user_id, position, instance) in rows {
            let Some(changes) = slot(&mut by_key, n) else { continue };
            if pruned {
                *changes = None;
            }
            if let (Some(changes), Some(user_id), Some(position)) = (changes, user_id, position) {
                let instance = instance_or_master(instance);
                changes.push(RoomChange { user_id: user_id.into(), position, instance });
            }
        }
        Ok(keys.into_iter().zip(by_key).map(|(key, changes)| (key, changes.map(Arc::from))).collect())
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
