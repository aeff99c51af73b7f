//! `POST /user_directory/search`. Answers to `synapse/rest/client/user_directory.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_model::MatrixError;
use serde_json::Value;

use crate::call::{Answer, Call, Refusal};

/// Bytes in which words are looked for here: in some scripts that takes long.
const MAX_TERM: usize = 4096;

/// `POST /user_directory/search`
pub async fn search(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let handlers = &call.app.handlers;
    if !handlers.config.directory.user_search {
        return Ok(Answer::json(r#"{"limited":false,"results":[]}"#));
    }
    handlers.ratelimit(&handlers.user_searches, Some(&requester), "").await?;
    let body = call.json_object()?;
    let limit = match body.get("limit") {
        None => 10,
        Some(limit) => limit.as_i64().ok_or(Refusal::PassOn("an odd limit"))?,
    };
    let term = body.get("search_term");
    match term.ok_or_else(|| MatrixError::unknown(400, "`search_term` is required field"))? {
        Value::String(term) if term.len() <= MAX_TERM => {
            Ok(Answer::json(handlers.search_users(&requester, term, limit).await?))
        }
        _ => Err(Refusal::PassOn("what is searched for is very long, or no text")),
    }
}
