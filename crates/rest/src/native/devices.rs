//! A user's devices. Answers to `synapse/rest/client/devices.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_model::MatrixError;
use serde_json::json;

use crate::call::{Answer, Call, Refusal};

/// `GET /devices`
pub async fn devices(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    let devices = call.app.handlers.devices(&requester.user_id, None).await?;
    Ok(Answer::value(&json!({ "devices": devices })))
}

/// `GET /devices/{device_id}`
pub async fn device(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    let device_id = call.parameters.get("device_id");
    let mut devices = call.app.handlers.devices(&requester.user_id, Some(device_id)).await?;
    let device = devices.pop().ok_or_else(|| MatrixError::not_found("Not found"))?;
    Ok(Answer::value(&device))
}
