//! Typing and read receipts. Answers to `ephemeral_by_room` in `synapse/handlers/sync.py`,
//! `TypingNotificationEventSource` and `ReceiptEventSource`.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use myelin_live::Changed;
use myelin_model::{MultiWriterPosition, StreamToken};
use myelin_storage::receipts::ReceiptInRoom;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::Item;
use crate::{Handlers, Result};

const PRIVATE: &str = "m.read.private";

/// Event, receipt type, user.
type Receipts<'a> = BTreeMap<&'a str, BTreeMap<&'a str, BTreeMap<&'a str, Box<RawValue>>>>;

impl Handlers {
    /// What is new in the joined rooms: `m.typing`, then `m.receipt`.
    pub async fn ephemeral_by_room(
        &self,
        user_id: &str,
        joined_room_ids: &HashSet<Arc<str>>,
        since: Option<&StreamToken>,
        now: &StreamToken,
    ) -> Result<HashMap<Arc<str>, Vec<Item>>> {
        let mut by_room: HashMap<Arc<str>, Vec<Item>> = HashMap::new();
        let typing_since = since.map_or(0, |since| since.typing);
        for (room_id, user_ids) in self.live.typing_changed(joined_room_ids, typing_since, now.typing) {
            let user_ids: Vec<&str> = user_ids.iter().map(|user_id| &**user_id).collect();
            by_room.entry(room_id).or_default().push(Item::of("m.typing", &json!({ "user_ids": user_ids })));
        }
        let lower = since.map(|since| &since.receipt);
        if lower == Some(&now.receipt) {
            return Ok(by_room);
        }
        let rooms = match lower {
            Some(lower) => self.live.may_have_changed_of(Changed::RoomReceipts, joined_room_ids, lower.base),
            None => joined_room_ids.iter().cloned().collect(),
        };
        for (room_id, item) in self.receipts_of_rooms(user_id, &rooms, lower, &now.receipt).await? {
            by_room.entry(room_id).or_default().push(item);
        }
        Ok(by_room)
    }

    /// The receipts in (`lower`, `upper`] that the user may see, by room.
    pub(crate) async fn receipts_of_rooms(
        &self,
        user_id: &str,
        rooms: &[Arc<str>],
        lower: Option<&MultiWriterPosition>,
        upper: &MultiWriterPosition,
    ) -> Result<Vec<(Arc<str>, Item)>> {
        let mut found = Vec::new();
        for (room_id, receipts) in self.storage.get_linearized_receipts_for_rooms(rooms, lower, upper).await? {
            let receipts: Vec<&ReceiptInRoom> = receipts.iter().collect();
            let content = merge(&receipts, user_id);
            if !content.is_empty() {
                found.push((room_id, Item::of("m.receipt", &content)));
            }
        }
        Ok(found)
    }
}

/// `merge_to_content` and `filter_out_private_receipts`: where a user has both, the receipt without a thread wins
/// (MSC4102); how far others have read in private is theirs.
fn merge<'a>(receipts: &[&'a ReceiptInRoom], user_id: &str) -> Receipts<'a> {
    let unthreaded: HashSet<(&str, &str)> = receipts
        .iter()
        .filter(|receipt| receipt.thread_id.is_none())
        .map(|receipt| (receipt.user_id.as_str(), receipt.event_id.as_str()))
        .collect();
    let mut content = Receipts::new();
    for receipt in receipts {
        let beaten = receipt.thread_id.is_some() && unthreaded.contains(&(&*receipt.user_id, &*receipt.event_id));
        if beaten || receipt.receipt_type == PRIVATE && receipt.user_id != user_id {
            continue;
        }
        let Some(data) = data(receipt) else { continue };
        let types = content.entry(&receipt.event_id).or_default();
        types.entry(&receipt.receipt_type).or_default().insert(&receipt.user_id, data);
    }
    content
}

fn data(receipt: &ReceiptInRoom) -> Option<Box<RawValue>> {
    let Some(thread_id) = &receipt.thread_id else { return RawValue::from_string(receipt.data.clone()).ok() };
    let mut data: Map<String, Value> = serde_json::from_str(&receipt.data).ok()?;
    data.insert("thread_id".to_owned(), thread_id.as_str().into());
    serde_json::value::to_raw_value(&data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(receipt_type: &str, user_id: &str, event_id: &str, thread_id: Option<&str>) -> ReceiptInRoom {
        ReceiptInRoom {
            receipt_type: receipt_type.to_owned(),
            user_id: user_id.to_owned(),
            event_id: event_id.to_owned(),
            thread_id: thread_id.map(str::to_owned),
            data: r#"{"ts":1}"#.to_owned(),
            instance: "master".into(),
            position: 1,
        }
    }

    #[test]
    fn private_receipts_are_for_their_user() {
        let receipts = [receipt(PRIVATE, "@a:t", "$1", None), receipt("m.read", "@b:t", "$2", Some("main"))];
        let receipts: Vec<&ReceiptInRoom> = receipts.iter().collect();
        let shown = |user| serde_json::to_value(merge(&receipts, user)).unwrap();
        let public = json!({"m.read": {"@b:t": {"ts": 1, "thread_id": "main"}}});
        assert_eq!(shown("@b:t"), json!({ "$2": public }));
        assert_eq!(shown("@a:t"), json!({"$1": {PRIVATE: {"@a:t": {"ts": 1}}}, "$2": public}));
    }

    #[test]
    fn unthreaded_receipts_win() {
        let receipts = [receipt("m.read", "@b:t", "$1", Some("$0")), receipt("m.read", "@b:t", "$1", None)];
        let content = serde_json::to_value(merge(&receipts.each_ref(), "@a:t")).unwrap();
        assert_eq!(content, json!({"$1": {"m.read": {"@b:t": {"ts": 1}}}}));
    }
}
