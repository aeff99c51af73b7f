//! Where calls are held (MSC4143). Answers to `synapse/rest/client/matrixrtc.py`.

use myelin_handlers::auth::AuthOptions;
use serde_json::json;

use crate::call::{Answer, Call, Refusal};
use crate::native::feature;

/// `GET /rtc/transports`
pub async fn transports(call: Call) -> Result<Answer, Refusal> {
    let config = &call.app.handlers.config;
    feature(config.server.experimental.msc4143)?;
    call.requester(AuthOptions::default()).await?;
    let transports = &config.capabilities.rtc_transports;
    Ok(Answer::value(&if transports.is_empty() { json!({}) } else { json!({ "rtc_transports": transports }) }))
}
