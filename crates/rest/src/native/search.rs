//! Searching messages. Answers to `SearchRestServlet` in `synapse/rest/client/room.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_handlers::now_ms;
use myelin_handlers::search_request::SearchRequest;
use myelin_model::MatrixError;

use crate::call::{Answer, Call, Refusal};

/// `POST /search`
pub async fn search(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let content = call.json_object()?;
    let batch = call.query.string("next_batch")?;
    let handlers = &call.app.handlers;
    if !handlers.config.directory.search {
        return Err(MatrixError::unknown(400, "Search is disabled on this homeserver").into());
    }
    let request = SearchRequest::parse(&content, batch, handlers.config.server.experimental.msc3773)?;
    let request = request.ok_or(Refusal::PassOn("an odd search"))?;
    let answer = handlers.search(&requester, request, now_ms()).await?;
    answer.map(Answer::json).ok_or(Refusal::PassOn("the state of a room is not complete yet"))
}
