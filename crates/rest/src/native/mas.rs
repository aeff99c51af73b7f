//! What the Matrix Authentication Service asks, and what is told of it. Answers to `synapse/rest/synapse/mas/users.py` and
//! `synapse/rest/client/auth_metadata.py`.

use http::header;
use myelin_model::MatrixError;
use serde_json::json;

use crate::call::{Answer, Call, Refusal};
use crate::token;

const CACHE: &str = "public, max-age=600, s-maxage=3600, stale-while-revalidate=600";

/// `GET /auth_metadata`, for everybody.
pub async fn auth_metadata(call: Call) -> Result<Answer, Refusal> {
    match call.app.handlers.auth_metadata().await {
        Ok(Some(metadata)) => Ok(Answer::value(metadata).with_header(header::CACHE_CONTROL, CACHE)),
        Ok(None) => Err(MatrixError::unrecognized(404).into()),
        Err(mut error) => {
            error.headers.push(("Cache-Control", CACHE.to_owned()));
            Err(error.into())
        }
    }
}

/// `assert_request_is_from_mas`
fn assert_request_is_from_mas(call: &Call) -> Result<(), MatrixError> {
    let handlers = &call.app.handlers;
    if handlers.config.auth.mas.is_none() {
        return Err(MatrixError::unrecognized(404));
    }
    let token = token::token(&call.head.headers, &call.query)?;
    if handlers.is_token_of_mas(token) == Some(true) {
        return Ok(());
    }
    Err(MatrixError::unknown(403, "This endpoint must only be called by MAS"))
}

/// `GET /_synapse/mas/query_user`
pub async fn query_user(call: Call) -> Result<Answer, Refusal> {
    assert_request_is_from_mas(&call)?;
    let localpart = call.query.required_string("localpart")?;
    Ok(Answer::value(&call.app.handlers.mas_user(localpart).await?))
}

/// `GET /_synapse/mas/is_localpart_available`
pub async fn is_localpart_available(call: Call) -> Result<Answer, Refusal> {
    assert_request_is_from_mas(&call)?;
    let localpart = call.query.string("localpart")?;
    let localpart = localpart.ok_or_else(|| MatrixError::unknown(400, "Missing localpart"))?;
    call.app.handlers.check_username(localpart).await?;
    Ok(Answer::value(&json!({})))
}
