//! Names of rooms. Answers to the reads in `synapse/handlers/directory.py`.

use std::collections::BTreeSet;

use myelin_model::{MatrixError, Requester};
use serde_json::{Value, json};

use crate::{Handlers, Result};

impl Handlers {
    /// `get_association`, of an alias of this server; nothing when an application service must be asked for it, or
    /// who is in the room is not known yet.
    pub async fn get_association(&self, alias: &str) -> Result<Option<Value>> {
        let Some(found) = self.storage.get_association_from_room_alias(alias).await? else {
            if self.config.app_services.iter().any(|service| service.is_room_alias_in_namespace(alias)) {
                return Ok(None);
            }
            return Err(MatrixError::not_found(format!("Room alias {alias} not found")));
        };
        if self.storage.is_partial_state_room(&found.room_id).await? {
            return Ok(None);
        }
        let users = self.storage.get_users_in_room(&found.room_id).await?;
        let hosts = users.iter().filter_map(|user_id| user_id.split_once(':')).map(|(_, host)| host);
        let mut servers: BTreeSet<&str> = hosts.chain(found.servers.iter().map(String::as_str)).collect();
        // Ours comes first.
        let own = servers.take(self.config.server.server_name.as_str());
        let servers: Vec<&str> = own.into_iter().chain(servers).collect();
        Ok(Some(json!({ "room_id": found.room_id, "servers": servers })))
    }

    /// `get_aliases_for_room`: for members, and for server admins.
    pub async fn get_aliases_for_room(&self, requester: &Requester, room_id: &str) -> Result<Vec<String>> {
        if !self.is_server_admin(requester).await? {
            self.check_user_in_room_or_world_readable(room_id, requester, false).await?;
        }
        Ok(self.storage.get_aliases_for_room(room_id).await?)
    }
}
