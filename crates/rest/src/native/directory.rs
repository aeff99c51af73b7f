//! Names of rooms. Answers to `synapse/rest/client/directory.py` and `RoomAliasListServlet`.

use myelin_handlers::auth::AuthOptions;
use myelin_model::MatrixError;
use myelin_model::identifiers::{is_valid_server_name, parse_room_alias};
use serde_json::json;

use super::rooms::whole_state;
use crate::call::{Answer, Call, Refusal};

/// `GET /directory/room/{room_alias}`, for everybody.
pub async fn room(call: Call) -> Result<Answer, Refusal> {
    let alias = call.parameters.get("room_alias");
    let domain = parse_room_alias(alias).ok().map(|(_, domain)| domain).filter(|domain| is_valid_server_name(domain));
    let domain = domain.ok_or_else(|| MatrixError::invalid_param("Room alias invalid"))?;
    let handlers = &call.app.handlers;
    if domain != handlers.config.server.server_name {
        return Err(Refusal::PassOn("another server has the alias"));
    }
    let found = handlers.get_association(alias).await?;
    found.map(|found| Answer::value(&found)).ok_or(Refusal::PassOn("others must be asked for the alias"))
}

/// `GET /rooms/{room_id}/aliases`
pub async fn aliases(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let room_id = call.parameters.get("room_id");
    whole_state(&call, room_id).await?;
    let aliases = call.app.handlers.get_aliases_for_room(&requester, room_id).await?;
    Ok(Answer::value(&json!({ "aliases": aliases })))
}
