//! Up to where a room was read. Answers to `synapse/rest/client/read_marker.py`.

use myelin_config::truthy;
use myelin_handlers::auth::AuthOptions;
use myelin_model::MatrixError;
use serde_json::{Value, json};

use crate::call::{Answer, Call, Refusal};

/// What only the writer of receipts can do.
const RECEIPTS: [&str; 2] = ["m.read", "m.read.private"];
/// MSC4446.
const ALLOW_BACKWARD: &str = "com.beeper.allow_backward";

/// `POST /rooms/{room_id}/read_markers`
pub async fn read_markers(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let body = call.json_object();
    let given = |name: &str| body.as_ref().ok().and_then(|body| body.get(name)).filter(|id| truthy(id));
    if RECEIPTS.iter().any(|name| given(name).is_some()) {
        return Err(Refusal::PassOn("receipts are written by another process"));
    }
    let fully_read = given("m.fully_read").cloned();
    if fully_read.as_ref().is_some_and(|id| !id.is_string()) {
        return Err(Refusal::PassOn("an event id that is no string"));
    }
    let handlers = &call.app.handlers;
    handlers.bump_presence_active_time(&requester).await?;
    let body = body?;
    let backward = body.get(ALLOW_BACKWARD).unwrap_or(&Value::Bool(false));
    let backward = match backward.as_bool() {
        _ if !handlers.config.server.experimental.enabled.contains("msc4446_enabled") => false,
        Some(backward) => backward,
        None => return Err(MatrixError::invalid_param(format!("{ALLOW_BACKWARD} must be a boolean.")).into()),
    };
    if let Some(event_id) = fully_read.as_ref().and_then(Value::as_str) {
        let room_id = call.parameters.get("room_id");
        handlers.received_client_read_marker(room_id, &requester.user_id, event_id, backward).await?;
    }
    Ok(Answer::value(&json!({})))
}
