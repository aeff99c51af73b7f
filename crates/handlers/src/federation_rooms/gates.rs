//! Who may ask about a room. Answers to `check_server_matches_acl` in `synapse/federation/federation_server.py` and to
//! `assert_host_in_room` in `synapse/handlers/event_auth.py`.

use std::sync::Arc;

use myelin_model::{Event, MatrixError};

use crate::{Handlers, Result};

impl Handlers {
    /// Whether somebody of the server is in the room, which is not known while its state is not complete.
    pub(crate) async fn assert_host_in_room(&self, room_id: &str, host: &str) -> Result<()> {
        if self.storage.is_partial_state_room(room_id).await? {
            let error = "Unable to authorise you right now; room is partial-stated here.";
            return Err(MatrixError::new(403, "ORG.MATRIX.MSC3895_UNABLE_DUE_TO_PARTIAL_STATE", error));
        }
        let joined = self.storage.is_host_joined([Arc::from(room_id)], host).await?;
        if joined.into_values().any(|is_joined| is_joined) {
            return Ok(());
        }
        Err(MatrixError::forbidden("Host not in room."))
    }

    /// Whether the room's ACL lets the server in.
    pub(crate) async fn check_server_matches_acl(&self, origin: &str, room_id: &str) -> Result<()> {
        let Some(event) = self.get_current_state_event(room_id, "m.room.server_acl", "").await? else { return Ok(()) };
        if self.acl_allows(&event, host_of(origin)) {
            return Ok(());
        }
        Err(MatrixError::forbidden("Server is banned from room"))
    }

    /// `server_matches_acl_event`
    pub(crate) fn acl_allows(&self, event: &Event, host: &str) -> bool {
        self.federation_rooms.acls.of(event).allows(host)
    }
}

/// `parse_server_name`: without the port.
fn host_of(server_name: &str) -> &str {
    if server_name.ends_with(']') {
        return server_name;
    }
    server_name.rsplit_once(':').map_or(server_name, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_no_port() {
        for (name, host) in [("a.b:80", "a.b"), ("a.b", "a.b"), ("[::1]", "[::1]"), ("[::1]:80", "[::1]")] {
            assert_eq!(host_of(name), host);
        }
    }
}
