//! Backups of the keys of encrypted rooms. Answers to `synapse/rest/client/room_keys.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_handlers::e2e_room_keys::UploadedVersion;
use myelin_model::MatrixError;
use serde_json::json;

use crate::call::{Answer, Call, Refusal};
use crate::query::python_int;

/// `GET /room_keys/keys[/{room_id}][/{session_id}]`
pub async fn keys(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let version = python_int(call.query.required_string("version")?.as_bytes());
    let (room_id, session_id) = (call.parameters.optional("room_id"), call.parameters.optional("session_id"));
    let handlers = &call.app.handlers;
    Ok(Answer::json(handlers.room_keys(&requester.user_id, version, room_id, session_id).await?))
}

/// `GET /room_keys/version`
pub async fn latest_version(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    Ok(Answer::value(&call.app.handlers.room_keys_version(&requester.user_id, None).await?))
}

/// `GET /room_keys/version/{version}`
pub async fn version(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    // What is no number is no version.
    let version = python_int(call.parameters.get("version").as_bytes());
    let version = version.ok_or_else(|| MatrixError::not_found("No backup found"))?;
    Ok(Answer::value(&call.app.handlers.room_keys_version(&requester.user_id, Some(version)).await?))
}

/// What Synapse answers with an exception.
const ODD_BODY: Refusal = Refusal::PassOn("a body that is not as it should be");

/// `PUT /room_keys/keys[/{room_id}][/{session_id}]`
pub async fn upload_keys(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let body = call.json_object_text()?.get();
    let version = call.query.required_string("version")?;
    let (room_id, session_id) = (call.parameters.optional("room_id"), call.parameters.optional("session_id"));
    let mut body = body.to_owned();
    if let Some(session_id) = session_id {
        body = format!(r#"{{"sessions":{{{}:{body}}}}}"#, json!(session_id));
    }
    if let Some(room_id) = room_id {
        body = format!(r#"{{"rooms":{{{}:{body}}}}}"#, json!(room_id));
    }
    let keys = serde_json::from_str(&body).map_err(|_| ODD_BODY)?;
    let number = python_int(version.as_bytes());
    let handlers = &call.app.handlers;
    Ok(Answer::value(&handlers.upload_room_keys(&requester.user_id, version, number, keys).await?))
}

/// `DELETE /room_keys/keys[/{room_id}][/{session_id}]`
pub async fn delete_keys(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let version = python_int(call.query.required_string("version")?.as_bytes());
    let (room_id, session_id) = (call.parameters.optional("room_id"), call.parameters.optional("session_id"));
    let handlers = &call.app.handlers;
    Ok(Answer::value(&handlers.delete_room_keys(&requester.user_id, version, room_id, session_id).await?))
}

/// `POST /room_keys/version`
pub async fn create_version(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let info: UploadedVersion<'_> = serde_json::from_str(call.json_object_text()?.get()).map_err(|_| ODD_BODY)?;
    let auth_data = info.auth_data.ok_or(ODD_BODY)?;
    let handlers = &call.app.handlers;
    let version = handlers.create_room_keys_version(&requester.user_id, &info.algorithm, auth_data).await?;
    Ok(Answer::value(&json!({ "version": version })))
}

/// `PUT /room_keys/version/{version}`
pub async fn update_version(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let (version, body) = (call.parameters.get("version"), call.json_object()?);
    if body.get("version").is_some_and(|named| named.as_str() != Some(version)) {
        return Err(MatrixError::invalid_param("Version in body does not match").into());
    }
    let info: UploadedVersion<'_> = serde_json::from_slice(&call.body).map_err(|_| ODD_BODY)?;
    let number = python_int(version.as_bytes());
    call.app.handlers.update_room_keys_version(&requester.user_id, number, &info).await?;
    Ok(Answer::value(&json!({})))
}

/// `DELETE /room_keys/version/{version}`
pub async fn delete_version(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let version = python_int(call.parameters.get("version").as_bytes());
    call.app.handlers.delete_room_keys_version(&requester.user_id, version).await?;
    Ok(Answer::value(&json!({})))
}
