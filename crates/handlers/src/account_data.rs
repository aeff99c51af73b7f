//! Account data by its type. Answers to the reads behind `synapse/rest/client/account_data.py` and `tags.py`.

use std::sync::Arc;

use myelin_storage::account_data::AccountDatum;

use crate::sections::account_data::{PUSH_RULES, tag_content};
use crate::{Handlers, Result};

impl Handlers {
    /// The content of global account data, as JSON text.
    pub async fn global_account_data(&self, user_id: &str, kind: &str) -> Result<Option<String>> {
        if kind == PUSH_RULES {
            return Ok(Some(self.push_rules_for_user(user_id).await?.to_string()));
        }
        let data = self.storage.get_global_account_data_for_user(user_id).await?;
        Ok(self.content(&data, kind))
    }

    /// The content of a room's account data, as JSON text.
    pub async fn room_account_data(&self, user_id: &str, room_id: &str, kind: &str) -> Result<Option<String>> {
        // Push rules are not kept by room.
        if kind == PUSH_RULES {
            return Ok(self.unless_deleted("{}"));
        }
        let rooms = self.storage.get_room_account_data_for_user(user_id).await?;
        Ok(rooms.get(room_id).and_then(|data| self.content(data, kind)))
    }

    /// `get_tags_for_room`, as JSON text.
    pub async fn room_tags(&self, user_id: &str, room_id: &str) -> Result<String> {
        let rooms = self.storage.get_tags_for_user(user_id).await?;
        Ok(tag_content(rooms.get(room_id).map(Vec::as_slice).unwrap_or_default()))
    }

    fn content(&self, data: &[AccountDatum], kind: &str) -> Option<String> {
        let found: &(Arc<str>, Arc<str>) = data.iter().find(|(known, _)| &**known == kind)?;
        self.unless_deleted(&found.1)
    }

    /// With MSC3391, empty content means that there is none.
    fn unless_deleted(&self, content: &str) -> Option<String> {
        let deleted = self.config.server.experimental.msc3391 && content == "{}";
        (!deleted).then(|| content.to_owned())
    }
}
