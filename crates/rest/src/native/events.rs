//! The long poll from before /sync. Answers to `EventStreamRestServlet` in `synapse/rest/client/events.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_handlers::event_stream::EventStreamRequest;
use myelin_model::{Direction, MatrixError};

use super::pagination::pagination_config;
use crate::call::{Answer, Call, Refusal};
use crate::query::python_int;

/// Milliseconds.
const DEFAULT_TIMEOUT: i64 = 30_000;

/// `GET /events`
pub async fn events(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    if requester.is_guest && !call.query.has("room_id") {
        return Err(MatrixError::unknown(400, "Guest users must specify room_id param").into());
    }
    let room_id = call.query.string("room_id")?;
    let config = pagination_config(&call, 10, Direction::Forwards).await?;
    let timeout = match call.query.first("timeout") {
        None => DEFAULT_TIMEOUT,
        Some(text) => python_int(text).ok_or_else(|| MatrixError::unknown(400, "timeout must be in milliseconds."))?,
    };
    let handlers = &call.app.handlers;
    // Synapse refuses their users with an exception, once there is news.
    if handlers.config.app_services.iter().any(|service| service.is_interested_in_user(&requester.user_id)) {
        return Err(Refusal::PassOn("a user of an application service"));
    }
    let request = EventStreamRequest {
        requester: &requester,
        from: config.from.as_ref(),
        limit: config.limit,
        timeout,
        room_id,
        raw: call.query.has("raw"),
    };
    let answer = handlers.event_stream(&request).await?;
    answer.map(Answer::json).ok_or(Refusal::PassOn("the state of a room is not complete yet"))
}
