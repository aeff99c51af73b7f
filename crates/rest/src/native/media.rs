//! What may be uploaded. Answers to `MediaConfigResource` in `synapse/rest/client/media.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_model::MatrixError;
use serde_json::json;

use crate::call::{Answer, Call, Refusal};

/// `GET /media/config`
pub async fn config(call: Call) -> Result<Answer, Refusal> {
    let size = call.app.handlers.config.capabilities.max_upload_size;
    let size = size.ok_or_else(|| MatrixError::unrecognized(404))?;
    call.requester(AuthOptions::default()).await?;
    Ok(Answer::value(&json!({ "m.upload.size": size })))
}
