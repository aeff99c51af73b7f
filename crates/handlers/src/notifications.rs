//! What a user was told of. Answers to `synapse/rest/client/notifications.py`.

use std::sync::Arc;

use myelin_model::event::serialize::{EventFormat, SerializeOptions};
use myelin_model::{MatrixError, Requester};
use myelin_storage::GetEvents;
use serde_json::{Value, json};

use crate::relations::Bundles;
use crate::{Handlers, Result};

impl Handlers {
    /// `GET /notifications`: the newest first, those before `from` alone.
    pub async fn notifications(
        &self,
        requester: &Requester,
        (from, limit): (Option<i64>, i64),
        only_highlight: bool,
        now_ms: i64,
    ) -> Result<Vec<u8>> {
        let user_id = &*requester.user_id;
        // Synapse: 0 is no token.
        let from = from.filter(|from| *from != 0);
        let actions = self.storage.get_push_actions_for_user(user_id, from, limit, only_highlight).await?;
        let receipts = self.storage.get_receipts_for_user_with_orderings(user_id).await?;
        let ids: Vec<Arc<str>> = actions.iter().map(|action| Arc::clone(&action.event_id)).collect();
        let events = self.storage.get_events(&ids, GetEvents::default()).await?;
        let format = EventFormat::V2WithoutRoomId;
        let options = SerializeOptions { format, ..self.serialize_options(requester).await? };
        let mut out = br#"{"notifications":["#.to_vec();
        for (index, action) in actions.iter().enumerate() {
            let gone = || MatrixError::internal(format!("the event {} of a notification is gone", action.event_id));
            let event = events.get(&action.event_id).ok_or_else(gone)?;
            let event = self.serialize_event((event, None), now_ms, &options, &Bundles::new()).await?;
            let read = receipts.get(&action.room_id).is_some_and(|read| *read >= (action.depth, action.stream));
            let entry = json!({
                "room_id": action.room_id,
                "profile_tag": action.profile_tag,
                "actions": push_actions(&action.actions, action.is_highlight)?,
                "ts": action.received_ts,
                "read": read,
            });
            // The event goes in as it is.
            let entry = entry.to_string();
            let entry = entry.strip_suffix('}').unwrap_or(&entry);
            out.extend(format!("{}{entry},\"event\":", if index > 0 { "," } else { "" }).bytes());
            out.extend(event);
            out.push(b'}');
        }
        let next = actions.last().map(|action| action.stream.to_string());
        out.extend(format!("],\"next_token\":{}}}", json!(next)).bytes());
        Ok(out)
    }
}

/// `_deserialize_action`: the usual ones are stored as nothing.
fn push_actions(stored: &str, is_highlight: bool) -> Result<Value> {
    if !stored.is_empty() {
        return serde_json::from_str(stored).map_err(MatrixError::internal);
    }
    if is_highlight {
        return Ok(json!(["notify", {"set_tweak": "sound", "value": "default"}, {"set_tweak": "highlight"}]));
    }
    Ok(json!(["notify", {"set_tweak": "highlight", "value": false}]))
}
