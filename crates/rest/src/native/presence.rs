//! Who is there. Answers to `PresenceStatusRestServlet` in `synapse/rest/client/presence.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_handlers::now_ms;
use myelin_model::identifiers::parse_user_id;
use serde_json::json;

use crate::call::{Answer, Call, Refusal};

/// `GET /presence/{user_id}/status`
pub async fn status(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let user_id = call.parameters.get("user_id");
    parse_user_id(user_id)?;
    let handlers = &call.app.handlers;
    if !handlers.config.server.presence.enabled {
        return Ok(Answer::value(&json!({ "presence": "offline" })));
    }
    Ok(Answer::value(&handlers.presence_status(&requester, user_id, now_ms()).await?))
}
