//! Backups of the keys of encrypted rooms. Answers to the reads in `synapse/rest/client/room_keys.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_model::MatrixError;

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
