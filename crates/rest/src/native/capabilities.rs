//! `/capabilities`. Answers to `synapse/rest/client/capabilities.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_handlers::capabilities;

use crate::call::{Answer, Call, Refusal};

/// `GET /capabilities`
pub async fn capabilities(call: Call) -> Result<Answer, Refusal> {
    call.requester(AuthOptions::GUESTS).await?;
    Ok(Answer::value(&capabilities::capabilities(&call.app.handlers.config)))
}
