//! Threads that users follow. Answers to the reads in `synapse/rest/client/thread_subscriptions.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_model::MatrixError;
use myelin_model::identifiers::check_room_id;
use serde_json::json;

use super::rooms::whole_state;
use crate::call::{Answer, Call, Refusal};
use crate::native::feature;
use crate::query::python_int;

const MAX_LIMIT: i64 = 512;

/// `GET /rooms/{room_id}/thread/{thread_root_id}/subscription`
pub async fn subscription(call: Call) -> Result<Answer, Refusal> {
    feature(call.app.handlers.config.server.experimental.msc4306)?;
    let (room_id, thread_root) = (call.parameters.get("room_id"), call.parameters.get("thread_root_id"));
    check_room_id(room_id)?;
    if !thread_root.starts_with('$') {
        return Err(MatrixError::invalid_param("Invalid event ID").into());
    }
    let requester = call.requester(AuthOptions::default()).await?;
    whole_state(&call, room_id).await?;
    let handlers = &call.app.handlers;
    let automatic = handlers.get_thread_subscription_settings(&requester, room_id, thread_root).await?;
    let automatic = automatic.ok_or_else(|| MatrixError::not_found("Not subscribed."))?;
    Ok(Answer::value(&json!({ "automatic": automatic })))
}

/// `GET /thread_subscriptions`: `from` is the later end, `to` the earlier one.
pub async fn subscriptions(call: Call) -> Result<Answer, Refusal> {
    let handlers = &call.app.handlers;
    feature(handlers.config.server.experimental.msc4306)?;
    let requester = call.requester(AuthOptions::default()).await?;
    let limit = call.query.integer("limit")?.unwrap_or(100).min(MAX_LIMIT);
    let (from, to) = (call.query.string("from")?, call.query.string("to")?);
    if call.query.one_of("dir", &["b"])?.is_none() {
        return Err(MatrixError::missing_param("Missing string query parameter 'dir'").into());
    }
    if limit == 0 {
        return Err(MatrixError::invalid_param("limit must be greater than 0").into());
    }
    let bad = |name: &str| MatrixError::invalid_param(format!("`{name}` is not a valid token"));
    let upper = from.map(|text| position(text).ok_or_else(|| bad("from"))).transpose()?;
    let lower = match to {
        None => 0,
        Some(text) => match position(text) {
            Some(position) => position,
            None => sliding_sync_position(&call, text).await?,
        },
    };
    Ok(Answer::value(&handlers.get_thread_subscriptions(&requester, (lower, upper), limit).await?))
}

/// `ThreadSubscriptionsToken`
fn position(text: &str) -> Option<i64> {
    python_int(text.strip_prefix("ts")?.as_bytes())
}

/// What `SlidingSyncStreamToken` says of this stream.
async fn sliding_sync_position(call: &Call, text: &str) -> Result<i64, MatrixError> {
    let token = text.split_once('/').filter(|(connection, _)| python_int(connection.as_bytes()).is_some());
    let (_, token) = token.ok_or_else(|| MatrixError::unknown(400, "Invalid stream token"))?;
    Ok(call.app.handlers.parse_stream_token(token).await?.thread_subscriptions)
}
