//! Account data by its type. Answers to `synapse/handlers/account_data.py` and to what is behind
//! `synapse/rest/client/account_data.py` and `tags.py`. Another process writes it.

use std::sync::Arc;

use myelin_model::MatrixError;
use myelin_replication::http::Repeat;
use myelin_storage::account_data::AccountDatum;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::sections::account_data::{PUSH_RULES, tag_content};
use crate::{Handlers, Result};

/// `MAX_TAG_LENGTH`, in bytes.
const MAX_TAG_LENGTH: usize = 255;
pub(crate) const FULLY_READ: &str = "m.fully_read";

/// What the writer is sent; content stays as the client wrote it.
#[derive(Serialize)]
struct Written<'a> {
    content: &'a RawValue,
}

/// `_check_can_set_account_data_type`
pub fn check_can_set_account_data_type(kind: &str) -> Result<()> {
    let instead = match kind {
        FULLY_READ => "/rooms/!roomId:server.name/read_markers",
        PUSH_RULES => "/pushrules",
        _ => return Ok(()),
    };
    let error = format!("Cannot set {kind} through this API. Use {instead}");
    Err(MatrixError::new(405, "M_BAD_JSON", error))
}

impl Handlers {
    /// The content of global account data, as JSON text.
    pub async fn global_account_data(&self, user_id: &str, kind: &str) -> Result<Option<String>> {
        if kind == PUSH_RULES {
            return Ok(Some(self.push_rules_for_user(user_id).await?));
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

    /// `add_account_data_for_user`, or `add_account_data_to_room`. With MSC3391, empty content removes it.
    pub async fn add_account_data(
        &self,
        user_id: &str,
        room_id: Option<&str>,
        kind: &str,
        content: &RawValue,
    ) -> Result<()> {
        let empty = || serde_json::from_str::<serde_json::Map<_, _>>(content.get()).is_ok_and(|map| map.is_empty());
        if self.config.server.experimental.msc3391 && empty() {
            return self.remove_account_data(user_id, room_id, kind).await;
        }
        self.set_account_data(user_id, room_id, kind, content).await
    }

    /// The same whatever the content.
    pub(crate) async fn set_account_data(
        &self,
        user_id: &str,
        room_id: Option<&str>,
        kind: &str,
        content: &RawValue,
    ) -> Result<()> {
        let written = Written { content };
        match room_id {
            None => self.ask_account_data_writer("add_user_account_data", &[user_id, kind], &written).await,
            Some(room_id) => {
                self.ask_account_data_writer("add_room_account_data", &[user_id, room_id, kind], &written).await
            }
        }
    }

    /// `remove_account_data_for_user`, or `remove_account_data_for_room`: MSC3391.
    pub async fn remove_account_data(&self, user_id: &str, room_id: Option<&str>, kind: &str) -> Result<()> {
        let nothing = json!({});
        match room_id {
            None => self.ask_account_data_writer("remove_user_account_data", &[user_id, kind], &nothing).await,
            Some(room_id) => {
                self.ask_account_data_writer("remove_room_account_data", &[user_id, room_id, kind], &nothing).await
            }
        }
    }

    /// Whether a room may be tagged: a user without any membership in it may not.
    pub async fn check_tag(&self, user_id: &str, room_id: &str, tag: &str) -> Result<()> {
        if tag.len() > MAX_TAG_LENGTH {
            return Err(MatrixError::invalid_param("tag parameter's length is over 255 bytes"));
        }
        let membership = self.storage.get_local_current_membership_for_user_in_room(user_id, room_id).await?;
        let error = || MatrixError::forbidden(format!("User {user_id} has no membership in room {room_id}"));
        membership.map(drop).ok_or_else(error)
    }

    /// `add_tag_to_room`
    pub async fn add_tag(&self, user_id: &str, room_id: &str, tag: &str, content: &RawValue) -> Result<()> {
        self.ask_account_data_writer("add_tag", &[user_id, room_id, tag], &Written { content }).await
    }

    /// `remove_tag_from_room`
    pub async fn remove_tag(&self, user_id: &str, room_id: &str, tag: &str) -> Result<()> {
        self.ask_account_data_writer("remove_tag", &[user_id, room_id, tag], &json!({})).await
    }

    async fn ask_account_data_writer(
        &self,
        name: &str,
        path_args: &[&str],
        body: &(impl Serialize + Sync),
    ) -> Result<()> {
        let writer = &self.config.worker.stream_writers.account_data;
        self.ask_writer(writer, name, path_args, Repeat::Harmless, body).await.map(drop)
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
