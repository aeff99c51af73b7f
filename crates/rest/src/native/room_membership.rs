//! Who is in a room, for application services (MSC4502). Answers to `synapse/rest/client/room_membership.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_model::MatrixError;
use myelin_model::identifiers::{is_valid_room_id, is_valid_server_name, is_valid_user_id};
use serde_json::json;

use super::rooms::whole_state;
use crate::call::{Answer, Call, Refusal};
use crate::native::feature;

const SCOPE: &str = "urn:matrix:client:io.element.msc4502:rooms:is_joined";

/// `GET /rooms/{room_id}/is_joined`
pub async fn is_joined(call: Call) -> Result<Answer, Refusal> {
    let handlers = &call.app.handlers;
    feature(handlers.config.server.experimental.msc4502)?;
    let requester = call.requester(AuthOptions::default()).await?;
    handlers.assert_requester_has_scope(&requester, SCOPE, "Scopes.QUERY_ROOM_MEMBERSHIP")?;
    let room_id = call.parameters.get("room_id");
    if !is_valid_room_id(room_id) {
        return Err(MatrixError::invalid_param("Invalid room ID").into());
    }
    let joined = match (call.query.string("mxid")?, call.query.string("server_name")?) {
        (Some(user_id), None) => {
            if !is_valid_user_id(user_id) {
                return Err(MatrixError::invalid_param(format!("Invalid MXID: {user_id}")).into());
            }
            whole_state(&call, room_id).await?;
            handlers.is_user_joined(room_id, user_id).await?
        }
        (None, Some(server)) => {
            if !is_valid_server_name(server) {
                return Err(MatrixError::invalid_param(format!("Invalid server name: {server}")).into());
            }
            handlers.is_server_joined(room_id, server).await?
        }
        _ => {
            let error = "Exactly one of 'mxid' or 'server_name' query parameters must be given";
            return Err(MatrixError::missing_param(error).into());
        }
    };
    Ok(Answer::value(&json!({ "joined": joined })))
}
