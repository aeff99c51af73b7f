//! Health and discovery. Answers to `synapse/rest/health.py` and `synapse/rest/well_known.py`.

use bytes::Bytes;
use http::{StatusCode, header};
use myelin_model::MatrixError;
use serde_json::json;

use crate::call::{Answer, Call, Refusal};

/// Always well: what this process depends on may come and go.
#[expect(clippy::unused_async, reason = "an endpoint")]
pub async fn health(_: Call) -> Result<Answer, Refusal> {
    let answer = Answer::json("OK").with_header(header::CONTENT_TYPE, "text/plain");
    Ok(Answer { cors: false, ..answer })
}

/// `/.well-known/matrix/client`
#[expect(clippy::unused_async, reason = "an endpoint")]
pub async fn client(call: Call) -> Result<Answer, Refusal> {
    let well_known = &call.app.well_known;
    if well_known.needs_provider {
        return Err(Refusal::PassOn("the authentication service's addresses are asked from it"));
    }
    let found = well_known.client.as_ref().ok_or_else(|| MatrixError::not_found(".well-known not available"))?;
    Ok(Answer::value(&found.clone().into()))
}

/// `/.well-known/matrix/server`
#[expect(clippy::unused_async, reason = "an endpoint")]
pub async fn server(call: Call) -> Result<Answer, Refusal> {
    if let Some(found) = &call.app.well_known.server {
        let answer = Answer::json(json!({ "m.server": found }).to_string());
        return Ok(Answer { cors: false, ..answer });
    }
    let body = Bytes::from_static(b"404. Is anything ever truly *well* known?\n");
    let answer = Answer::json(body).with_header(header::CONTENT_TYPE, "text/plain");
    Ok(Answer { status: StatusCode::NOT_FOUND, cors: false, ..answer })
}
