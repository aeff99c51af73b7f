//! A user's devices. Answers to `synapse/rest/client/devices.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_model::MatrixError;
use serde_json::{Value, json};

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

/// `PUT /devices/{device_id}`
pub async fn rename(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    let body = call.json_object()?;
    let name = match body.get("display_name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name.as_str()),
        Some(_) => return Err(Refusal::PassOn("a name that is no string")),
    };
    if requester.app_service.is_some() {
        return Err(Refusal::PassOn("an application service may create the device"));
    }
    let device_id = call.parameters.get("device_id");
    call.app.handlers.update_device(&requester.user_id, device_id, name).await?;
    Ok(Answer::value(&json!({})))
}
