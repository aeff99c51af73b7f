//! What a user was told of. Answers to `synapse/rest/client/notifications.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_handlers::now_ms;
use myelin_model::MatrixError;

use crate::call::{Answer, Call, Refusal};
use crate::query::python_int;

/// Synapse's own.
const MAX_LIMIT: i64 = 500;

/// `GET /notifications`
pub async fn notifications(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let from = call.query.string("from")?.map(|text| {
        python_int(text.as_bytes())
            .ok_or_else(|| MatrixError::unknown(400, "Query parameter \"from\" contains unrecognised token"))
    });
    let from = from.transpose()?;
    let limit = call.query.integer("limit")?.unwrap_or(50).min(MAX_LIMIT);
    let only_highlight = call.query.string("only")? == Some("highlight");
    let answer = call.app.handlers.notifications(&requester, (from, limit), only_highlight, now_ms()).await?;
    Ok(Answer::json(answer))
}
