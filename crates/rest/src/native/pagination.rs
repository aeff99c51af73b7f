//! Pages of a room. Answers to `RoomMessageListRestServlet` and `RoomEventContextServlet` in
//! `synapse/rest/client/room.py`, and to `synapse/rest/client/relations.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_handlers::filter::Filter;
use myelin_handlers::filtering::has_types_of_event_filter;
use myelin_handlers::now_ms;
use myelin_handlers::pagination::{MessagesRequest, PaginationConfig};
use myelin_handlers::room_context::ContextRequest;
use myelin_handlers::room_relations::{RelationsRequest, ThreadsRequest};
use myelin_model::{Direction, MatrixError, StreamToken};
use serde_json::Value;

use super::rooms::whole_state;
use crate::call::{Answer, Call, Refusal};
use crate::query::python_int;

/// Synapse's `MAX_LIMIT`, for those routes that have one.
const MAX_LIMIT: i64 = 1000;
/// Elsewhere; who wants more is passed on.
const MAX_NATIVE_LIMIT: i64 = 10_000;

/// `PaginationConfig.from_request`
pub(super) async fn pagination_config(
    call: &Call,
    limit: i64,
    direction: Direction,
) -> Result<PaginationConfig, Refusal> {
    let query = &call.query;
    let direction = query.one_of("dir", &["b", "f"])?.and_then(Direction::parse).unwrap_or(direction);
    let (from, to) = (query.string("from")?, query.string("to")?);
    let from = token(call, "from", from.filter(|text| *text != "END")).await?;
    let to = token(call, "to", to).await?;
    let limit = query.integer("limit")?.unwrap_or(limit).min(MAX_LIMIT);
    Ok(PaginationConfig { from, to, direction, limit: limit_of(limit)? })
}

async fn token(call: &Call, name: &str, text: Option<&str>) -> Result<Option<StreamToken>, MatrixError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    match call.app.handlers.parse_stream_token(text).await {
        Err(error) if error.status == 400 => Err(MatrixError::unknown(400, format!("'{name}' parameter is invalid"))),
        parsed => parsed.map(Some),
    }
}

fn limit_of(limit: i64) -> Result<usize, Refusal> {
    if limit > MAX_NATIVE_LIMIT {
        return Err(Refusal::PassOn("more is asked for than is held in memory here"));
    }
    usize::try_from(limit).map_err(|error| MatrixError::internal(error).into())
}

/// The parameter `filter`, and whether it asks for events as servers see them.
fn event_filter(call: &Call) -> Result<Option<(Filter, bool)>, Refusal> {
    let Some(json) = call.query.json("filter")? else { return Ok(None) };
    let experimental = &call.app.handlers.config.server.experimental;
    match json {
        Value::Null | Value::Bool(false) => Ok(None),
        Value::Object(json) if json.is_empty() => Ok(None),
        Value::Object(json) if has_types_of_event_filter(&json) && !experimental.msc3874 => {
            let federation = json.get("event_format").is_some_and(|format| format == "federation");
            Ok(Some((Filter::new(&json, experimental.msc3773), federation)))
        }
        _ => Err(Refusal::PassOn("an odd filter")),
    }
}

/// `GET /rooms/{room_id}/messages`
pub async fn messages(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    let config = pagination_config(&call, 10, Direction::Forwards).await?;
    let filter = event_filter(&call)?;
    let room_id = call.parameters.get("room_id");
    whole_state(&call, room_id).await?;
    let raw = call.query.has("raw") || filter.as_ref().is_some_and(|(_, federation)| *federation);
    let filter = filter.as_ref().map(|(filter, _)| filter);
    let request = MessagesRequest { requester: &requester, room_id, config: &config, filter, raw };
    let answer = call.app.handlers.get_messages(&request, now_ms()).await?;
    answer.map(Answer::json).ok_or(Refusal::PassOn("the room's history is fetched or deleted"))
}

/// `GET /rooms/{room_id}/context/{event_id}`
pub async fn context(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    let limit = limit_of(call.query.integer("limit")?.unwrap_or(10))?;
    let filter = event_filter(&call)?;
    let filter = filter.as_ref().map(|(filter, _)| filter);
    let (room_id, event_id) = (call.parameters.get("room_id"), call.parameters.get("event_id"));
    whole_state(&call, room_id).await?;
    let request = ContextRequest { requester: &requester, room_id, event_id, limit, filter };
    Ok(Answer::json(call.app.handlers.get_event_context(&request, now_ms()).await?))
}

/// `GET /rooms/{room_id}/relations/{parent_id}[/{relation_type}[/{event_type}]]`
pub async fn relations(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    let config = pagination_config(&call, 5, Direction::Backwards).await?;
    let recurse = call.query.boolean("recurse")?.unwrap_or_default()
        || call.query.boolean("org.matrix.msc3981.recurse")?.unwrap_or_default();
    let room_id = call.parameters.get("room_id");
    whole_state(&call, room_id).await?;
    let request = RelationsRequest {
        requester: &requester,
        room_id,
        parent_id: call.parameters.get("parent_id"),
        relation_type: call.parameters.optional("relation_type"),
        event_type: call.parameters.optional("event_type"),
        config: &config,
        recurse,
        include_original_event: call.head.uri.path().starts_with("/_matrix/client/unstable/"),
    };
    Ok(Answer::json(call.app.handlers.get_relations(&request, now_ms()).await?))
}

/// `GET /rooms/{room_id}/threads`
pub async fn threads(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let limit = call.query.integer("limit")?.unwrap_or(5);
    let from = call.query.string("from")?;
    let participated = call.query.one_of("include", &["all", "participated"])? == Some("participated");
    let from = from.filter(|text| !text.is_empty()).map(threads_token).transpose()?;
    let room_id = call.parameters.get("room_id");
    whole_state(&call, room_id).await?;
    let request = ThreadsRequest { requester: &requester, room_id, participated, limit: limit_of(limit)?, from };
    Ok(Answer::json(call.app.handlers.get_threads(&request, now_ms()).await?))
}

/// `ThreadsNextBatch.from_string`: depth and stream ordering.
fn threads_token(text: &str) -> Result<(i64, i64), MatrixError> {
    let parsed = text.split_once('_').and_then(|(depth, stream)| {
        let plain = !stream.contains('_');
        Some((python_int(depth.as_bytes())?, python_int(stream.as_bytes()).filter(|_| plain)?))
    });
    parsed.ok_or_else(|| MatrixError::unknown(400, "Invalid threads token"))
}
