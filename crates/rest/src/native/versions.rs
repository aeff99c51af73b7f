//! `/_matrix/client/versions`. Answers to `synapse/rest/client/versions.py`.

use http::header;
use myelin_handlers::auth::AuthOptions;

use crate::call::{Answer, Call, Refusal};
use crate::token;

/// Without a token the answer is everybody's and may be cached.
const PUBLIC: &str = "public, max-age=600, s-maxage=3600, stale-while-revalidate=600";

/// `GET /versions`: locked and expired accounts may ask too.
pub async fn versions(call: Call) -> Result<Answer, Refusal> {
    let handlers = &call.app.handlers;
    let answer = if token::has_token(&call.head.headers, &call.query) {
        let options = AuthOptions { allow_guest: true, allow_expired: true, allow_locked: true };
        let requester = call.requester(options).await?;
        Answer::json(handlers.versions(Some(&requester.user_id)).await?)
    } else {
        Answer::json(handlers.versions(None).await?).with_header(header::CACHE_CONTROL, PUBLIC)
    };
    Ok(answer.with_header(header::VARY, "Authorization"))
}
