//! Who has read how far. Answers to `synapse/storage/databases/main/receipts.py`.

use std::collections::HashMap;
use std::sync::Arc;

use myelin_model::MultiWriterPosition;

use crate::stream::instance_or_master;
use crate::{Storage, StorageError};

#[derive(Clone, Debug)]
pub struct ReceiptInRoom {
    pub receipt_type: String,
    pub user_id: String,
    pub event_id: String,
    pub thread_id: Option<String>,
    /// A JSON text.
    pub data: String,
}

impl Storage {
    /// `_get_linearized_receipts_for_rooms`, before they are merged: those in (`lower`, `upper`].
    pub async fn receipts_in_rooms(
        &self,
        room_ids: &[Arc<str>],
        lower: Option<&MultiWriterPosition>,
        upper: &MultiWriterPosition,
    ) -> Result<HashMap<Arc<str>, Vec<ReceiptInRoom>>, StorageError> {
        type Row = (i64, Option<String>, String, String, String, String, Option<String>, String);
        if room_ids.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<&str> = room_ids.iter().map(|id| &**id).collect();
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT stream_id, instance_name, room_id, receipt_type, user_id, event_id, thread_id, data
             FROM receipts_linearized WHERE room_id = ANY($1) AND stream_id > $2 AND stream_id <= $3",
        )
        .bind(ids)
        .bind(lower.map_or(0, |lower| lower.base))
        .bind(upper.max())
        .fetch_all(self.pool())
        .await?;
        let nowhere = MultiWriterPosition::from(0);
        let mut rooms: HashMap<Arc<str>, Vec<ReceiptInRoom>> = HashMap::new();
        for (position, instance, room_id, receipt_type, user_id, event_id, thread_id, data) in rows {
            if upper.covers_since(lower.unwrap_or(&nowhere), &instance_or_master(instance), position) {
                let receipt = ReceiptInRoom { receipt_type, user_id, event_id, thread_id, data };
                rooms.entry(room_id.into()).or_default().push(receipt);
            }
        }
        Ok(rooms)
    }
}
