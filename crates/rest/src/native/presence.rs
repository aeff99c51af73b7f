//! Who is there, and that one is. Answers to `PresenceStatusRestServlet` in `synapse/rest/client/presence.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_handlers::now_ms;
use myelin_model::MatrixError;
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

/// `PUT /presence/{user_id}/status`: one's own.
pub async fn set(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let user_id = call.parameters.get("user_id");
    parse_user_id(user_id)?;
    if &*requester.user_id != user_id {
        return Err(MatrixError::forbidden("Can only set your own presence state").into());
    }
    let handlers = &call.app.handlers;
    handlers.ratelimit_presence(&requester).await?;
    handlers.set_presence(&requester, call.json_object()?).await?;
    Ok(Answer::value(&json!({})))
}
