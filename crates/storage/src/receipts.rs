//! Who has read how far. Answers to `synapse/storage/databases/main/receipts.py`.

use std::sync::Arc;

use hashbrown::HashMap;
use myelin_model::MultiWriterPosition;

use crate::stream::instance_or_master;
use crate::{Storage, StorageError, slot};

#[derive(Clone, Debug)]
pub struct ReceiptInRoom {
    /// Who wrote it down, and where in the stream.
    pub instance: Arc<str>,
    pub position: i64,
    pub receipt_type: String,
    pub user_id: String,
    pub event_id: String,
    pub thread_id: Option<String>,
    /// A JSON text.
    pub data: String,
}

impl ReceiptInRoom {
    pub(crate) fn weight(&self) -> usize {
        let thread_id = self.thread_id.as_ref().map_or(0, String::len);
        200 + self.receipt_type.len() + self.user_id.len() + self.event_id.len() + thread_id + self.data.len()
    }
}

/// Receipts of one room, and more than were asked for.
#[derive(Clone, Debug)]
pub struct Receipts {
    after: Arc<[ReceiptInRoom]>,
    lower: MultiWriterPosition,
    upper: MultiWriterPosition,
}

impl Receipts {
    /// Those within the bounds.
    pub fn iter(&self) -> impl Iterator<Item = &ReceiptInRoom> {
        let within =
            |receipt: &&ReceiptInRoom| self.upper.covers_since(&self.lower, &receipt.instance, receipt.position);
        self.after.iter().filter(within)
    }
}

/// The room and after which position of its receipts.
type Key = (Arc<str>, i64);

/// Of a user's rooms: where in depth and in arrival the latest receipt stands.
pub type ReceiptPlaces = HashMap<String, (i64, i64)>;

impl Storage {
    /// `get_receipts_for_user_with_orderings`, of public and private read receipts.
    pub async fn get_receipts_for_user_with_orderings(&self, user_id: &str) -> Result<ReceiptPlaces, StorageError> {
        let mut places = ReceiptPlaces::new();
        for receipt_type in ["m.read", "m.read.private"] {
            let rows: Vec<(String, i64, i64)> = sqlx::query_as(
                "SELECT r.room_id, e.topological_ordering, e.stream_ordering
                 FROM receipts_linearized AS r
                 JOIN events AS e ON e.room_id = r.room_id AND e.event_id = r.event_id
                 WHERE r.user_id = $1 AND r.receipt_type = $2",
            )
            .bind(user_id)
            .bind(receipt_type)
            .fetch_all(self.pool())
            .await?;
            // Synapse: of several in a room, for its threads, the one that comes last stands.
            let of_type: ReceiptPlaces =
                rows.into_iter().map(|(room_id, depth, stream)| (room_id, (depth, stream))).collect();
            for (room_id, place) in of_type {
                let known = places.entry(room_id).or_insert(place);
                if known.1 < place.1 {
                    *known = place;
                }
            }
        }
        Ok(places)
    }

    /// `get_linearized_receipts_for_rooms`, before they are merged: those in (`lower`, `upper`].
    ///
    /// Remembered by lower bound: whoever is woken together has it in common. A later receipt makes the room stale
    /// before any upper bound covers it.
    pub async fn get_linearized_receipts_for_rooms(
        &self,
        room_ids: &[Arc<str>],
        lower: Option<&MultiWriterPosition>,
        upper: &MultiWriterPosition,
    ) -> Result<HashMap<Arc<str>, Receipts>, StorageError> {
        let lower = lower.cloned().unwrap_or_default();
        let keys: Vec<Key> = room_ids.iter().map(|room_id| (Arc::clone(room_id), lower.base)).collect();
        let found = self.users().receipts.get_many(keys, self, Self::load_receipts).await?;
        let receipts = |after| Receipts { after, lower: lower.clone(), upper: upper.clone() };
        Ok(found.into_iter().map(|((room_id, _), after)| (room_id, receipts(after))).collect())
    }

    async fn load_receipts(self, keys: Vec<Key>) -> Result<HashMap<Key, Arc<[ReceiptInRoom]>>, StorageError> {
        type Row = (i64, i64, Option<String>, String, String, String, Option<String>, String);
        let (rooms, positions): (Vec<&str>, Vec<i64>) =
            keys.iter().map(|(room, position)| (&**room, *position)).unzip();
        // OFFSET 0 keeps the inner SELECT an index look-up per room.
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT k.n, r.stream_id, r.instance_name, r.receipt_type, r.user_id, r.event_id, r.thread_id, r.data
             FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS k(room_id, position, n)
             CROSS JOIN LATERAL (
                 SELECT stream_id, instance_name, receipt_type, user_id, event_id, thread_id, data
                 FROM receipts_linearized WHERE room_id = k.room_id AND stream_id > k.position OFFSET 0
             ) AS r",
        )
        .bind(rooms)
        .bind(positions)
        .fetch_all(self.pool())
        .await?;
        let mut by_key: Vec<Vec<ReceiptInRoom>> = vec![Vec::new(); keys.len()];
        for (n, position, instance, receipt_type, user_id, event_id, thread_id, data) in rows {
            if let Some(receipts) = slot(&mut by_key, n) {
                let instance = instance_or_master(instance);
                receipts.push(ReceiptInRoom { instance, position, receipt_type, user_id, event_id, thread_id, data });
            }
        }
        Ok(keys.into_iter().zip(by_key).map(|(key, receipts)| (key, receipts.into())).collect())
    }
}
