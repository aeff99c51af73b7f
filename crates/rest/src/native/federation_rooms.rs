//! What other servers read of rooms. Answers to the servlets of rooms in
//! `synapse/federation/transport/server/federation.py`.

use std::sync::Arc;

use http::StatusCode;
use myelin_handlers::federation_rooms::MissingEvents;
use myelin_model::{Direction, MatrixError};
use serde_json::{Map, Value, json};

use crate::call::{Answer, Call, Refusal};
use crate::federation::{FederationCall, serve};
use crate::native::rooms::timestamp;

/// `StateDag.GET_MISSING_EVENTS_FIELD` (MSC4242)
const WALK_STATE_DAG: &str = "org.matrix.msc4242.state_dag";
/// The room was joined the fast way: who else is in it is only about known.
const NOT_COMPLETE: Refusal = Refusal::PassOn("the room's state is not complete yet");

/// `GET /event/{event_id}`
pub async fn event(asked: FederationCall) -> Result<Answer, Refusal> {
    let event_id = asked.call.parameters.get("event_id");
    let found = asked.call.app.handlers.federation_event(&asked.origin, event_id).await?;
    Ok(found.map_or_else(|| Answer { status: StatusCode::NOT_FOUND, ..Answer::json(r#""""#) }, Answer::json))
}

/// `GET /state/{room_id}`
pub async fn state(asked: FederationCall) -> Result<Answer, Refusal> {
    let event_id = asked.call.query.required_string("event_id")?;
    let room_id = asked.call.parameters.get("room_id");
    Ok(Answer::json(asked.call.app.handlers.federation_state(&asked.origin, room_id, event_id).await?))
}

/// `GET /state_ids/{room_id}`
pub async fn state_ids(asked: FederationCall) -> Result<Answer, Refusal> {
    let event_id = asked.call.query.required_string("event_id")?;
    if event_id.is_empty() {
        return Err(MatrixError::internal("state_ids of no event").into());
    }
    let room_id = asked.call.parameters.get("room_id");
    Ok(Answer::json(asked.call.app.handlers.federation_state_ids(&asked.origin, room_id, event_id).await?))
}

/// `GET /backfill/{room_id}`
pub async fn backfill(asked: FederationCall) -> Result<Answer, Refusal> {
    let call = &asked.call;
    let versions: Vec<Arc<str>> =
        call.query.strings("v").map_err(MatrixError::internal)?.into_iter().map(Arc::from).collect();
    if versions.is_empty() {
        return Err(MatrixError::internal("backfill from nowhere").into());
    }
    let Some(limit) = call.query.integer("limit")?.filter(|limit| *limit > 0) else {
        let error = json!({"error": "Did not include limit param"});
        return Ok(Answer { status: StatusCode::BAD_REQUEST, ..Answer::value(&error) });
    };
    let room_id = call.parameters.get("room_id");
    let found = call.app.handlers.federation_backfill(&asked.origin, room_id, &versions, limit).await?;
    found.map(Answer::json).ok_or(NOT_COMPLETE)
}

/// `POST /get_missing_events/{room_id}`
pub async fn missing_events(asked: FederationCall) -> Result<Answer, Refusal> {
    let room_id = asked.call.parameters.get("room_id");
    // What Python makes of other types is for Python to say.
    let missing = missing_of(&asked.content, room_id).ok_or(Refusal::PassOn("an odd question for missing events"))?;
    let found = asked.call.app.handlers.federation_missing_events(&asked.origin, &missing).await?;
    found.map(Answer::json).ok_or(NOT_COMPLETE)
}

fn missing_of<'a>(content: &Map<String, Value>, room_id: &'a str) -> Option<MissingEvents<'a>> {
    let ids = |key: &str| -> Option<Vec<Arc<str>>> {
        match content.get(key) {
            None => Some(Vec::new()),
            Some(list) => list.as_array()?.iter().map(|id| id.as_str().map(Arc::from)).collect(),
        }
    };
    if content.contains_key(WALK_STATE_DAG) {
        return None;
    }
    let limit = content.get("limit").map_or(Some(10), Value::as_i64)?;
    Some(MissingEvents { earliest: ids("earliest_events")?, latest: ids("latest_events")?, limit, room_id })
}

/// `GET /event_auth/{room_id}/{event_id}`
pub async fn event_auth(asked: FederationCall) -> Result<Answer, Refusal> {
    let (room_id, event_id) = (asked.call.parameters.get("room_id"), asked.call.parameters.get("event_id"));
    Ok(Answer::json(asked.call.app.handlers.federation_event_auth(&asked.origin, room_id, event_id).await?))
}

/// `GET /timestamp_to_event/{room_id}`
pub async fn timestamp_to_event(asked: FederationCall) -> Result<Answer, Refusal> {
    let call = &asked.call;
    let timestamp = timestamp(call)?;
    call.query.required_string("dir")?;
    let direction = match call.query.one_of("dir", &["f", "b"])? {
        Some("f") => Direction::Forwards,
        _ => Direction::Backwards,
    };
    let (handlers, room_id) = (&call.app.handlers, call.parameters.get("room_id"));
    let found = handlers.federation_timestamp_to_event(&asked.origin, room_id, timestamp, direction).await?;
    Ok(Answer::value(&found))
}

/// `GET /rooms/{room_id}/complexity`
pub async fn complexity(asked: FederationCall) -> Result<Answer, Refusal> {
    let room_id = asked.call.parameters.get("room_id");
    Ok(Answer::value(&asked.call.app.handlers.federation_room_complexity(room_id).await?))
}

/// `GET /extremities/{room_id}`, which is there only if it was enabled.
pub async fn extremities(call: Call) -> Result<Answer, Refusal> {
    if !call.app.handlers.config.server.experimental.enabled.contains("msc4370_enabled") {
        return Err(MatrixError::unrecognized(404).into());
    }
    serve(call, |asked| Box::pin(extremities_of(asked))).await
}

async fn extremities_of(asked: FederationCall) -> Result<Answer, Refusal> {
    let room_id = asked.call.parameters.get("room_id");
    Ok(Answer::value(&asked.call.app.handlers.federation_extremities(&asked.origin, room_id).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(content: &Value) -> Option<String> {
        let asked = missing_of(content.as_object().unwrap(), "!r")?;
        Some(format!("{:?} {:?} {}", asked.earliest, asked.latest, asked.limit))
    }

    #[test]
    fn questions_for_missing_events() {
        assert_eq!(missing(&json!({})).as_deref(), Some("[] [] 10"));
        let asked = json!({"earliest_events": ["$a"], "latest_events": ["$b"], "limit": -5, "min_depth": 3});
        assert_eq!(missing(&asked).as_deref(), Some(r#"["$a"] ["$b"] -5"#));
        for odd in [
            json!({"limit": "5"}),
            json!({"limit": 1.5}),
            json!({"limit": null}),
            json!({"earliest_events": "$a"}),
            json!({"latest_events": [1]}),
            json!({"latest_events": null}),
            json!({WALK_STATE_DAG: false}),
        ] {
            assert_eq!(missing(&odd), None, "{odd}");
        }
    }
}
