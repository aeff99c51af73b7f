//! Reads of one room. Answers to `synapse/rest/client/room.py` and `events.py`.

use http::StatusCode;
use myelin_handlers::auth::AuthOptions;
use myelin_handlers::now_ms;
use myelin_handlers::room_members::MembersQuery;
use myelin_model::{Direction, MatrixError, Requester};

use crate::call::{Answer, Call, Refusal};

/// Synapse waits until it has the whole state of a room that it joined the fast way; so may the fallback.
pub(super) async fn whole_state(call: &Call, room_id: &str) -> Result<(), Refusal> {
    if call.app.handlers.storage.is_partial_state_room(room_id).await.map_err(MatrixError::from)? {
        return Err(Refusal::PassOn("the room's state is not complete yet"));
    }
    Ok(())
}

/// `GET /rooms/{room_id}/members`
pub async fn members(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    let room_id = call.parameters.get("room_id");
    let handlers = &call.app.handlers;
    let at = match call.query.string("at")? {
        Some(text) => Some(handlers.parse_stream_token(text).await?),
        None => None,
    };
    let query = MembersQuery {
        at: at.as_ref(),
        membership: call.query.string("membership")?,
        not_membership: call.query.string("not_membership")?,
    };
    whole_state(&call, room_id).await?;
    Ok(Answer::json(handlers.room_members(&requester, room_id, &query, now_ms()).await?))
}

/// `GET /rooms/{room_id}/joined_members`
pub async fn joined_members(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let room_id = call.parameters.get("room_id");
    whole_state(&call, room_id).await?;
    let handlers = &call.app.handlers;
    let service = of_requester(&call, &requester);
    let is_interested = |user_id: &str| service.is_some_and(|service| service.is_interested_in_user(user_id));
    Ok(Answer::json(handlers.joined_members(&requester, room_id, is_interested).await?))
}

fn of_requester<'a>(call: &'a Call, requester: &Requester) -> Option<&'a myelin_config::AppService> {
    let id = requester.app_service.as_deref()?;
    call.app.handlers.config.app_services.iter().find(|service| service.id == id)
}

/// `GET /rooms/{room_id}/state`
pub async fn state(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    let room_id = call.parameters.get("room_id");
    whole_state(&call, room_id).await?;
    Ok(Answer::json(call.app.handlers.room_state(&requester, room_id, now_ms()).await?))
}

/// `GET /rooms/{room_id}/state/{event_type}[/{state_key}]`
pub async fn state_event(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    let as_event = call.query.one_of("format", &["content", "event"])? == Some("event");
    let room_id = call.parameters.get("room_id");
    whole_state(&call, room_id).await?;
    let key = (call.parameters.get("event_type"), call.parameters.get("state_key"));
    Ok(Answer::json(call.app.handlers.room_state_event(&requester, room_id, key, as_event, now_ms()).await?))
}

/// `GET /rooms/{room_id}/event/{event_id}`
pub async fn event(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    if call.query.has("fi.mau.msc2815.include_unredacted_content") {
        return Err(Refusal::PassOn("redacted content was asked for"));
    }
    let (room_id, event_id) = (call.parameters.get("room_id"), call.parameters.get("event_id"));
    whole_state(&call, room_id).await?;
    Ok(Answer::json(call.app.handlers.room_event(&requester, room_id, event_id, now_ms()).await?))
}

/// `GET /events/{event_id}`: of whatever room.
pub async fn event_anywhere(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let event_id = call.parameters.get("event_id");
    let handlers = &call.app.handlers;
    if let Some(event) = handlers.storage.get_event(event_id).await.map_err(MatrixError::from)? {
        whole_state(&call, &event.room_id).await?;
    }
    Ok(match handlers.event(&requester, event_id, now_ms()).await? {
        Some(event) => Answer::json(event),
        None => Answer { status: StatusCode::NOT_FOUND, ..Answer::json(r#""Event not found.""#) },
    })
}

/// Milliseconds since 1970.
pub(super) fn timestamp(call: &Call) -> Result<i64, Refusal> {
    match call.query.required_integer("ts")? {
        // Python's answer repeats all the digits.
        i64::MAX => Err(Refusal::PassOn("a time beyond 64 bits")),
        timestamp => Ok(timestamp),
    }
}

/// `GET /rooms/{room_id}/timestamp_to_event`
pub async fn timestamp_to_event(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let room_id = call.parameters.get("room_id");
    whole_state(&call, room_id).await?;
    let handlers = &call.app.handlers;
    handlers.check_user_in_room_or_world_readable(room_id, &requester, false).await?;
    let timestamp = timestamp(&call)?;
    let direction = call.query.one_of("dir", &["b", "f"])?.and_then(Direction::parse).unwrap_or(Direction::Forwards);
    let found = handlers.get_event_for_timestamp(room_id, timestamp, direction).await?;
    found.map(|found| Answer::value(&found)).ok_or(Refusal::PassOn("other servers may know a closer event"))
}
