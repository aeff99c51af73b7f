//! Everything at once, as clients asked for it before /sync. Answers to `synapse/rest/client/initial_sync.py` and
//! `RoomInitialSyncRestServlet` in `synapse/rest/client/room.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_handlers::initial_sync::InitialSyncRequest;
use myelin_handlers::now_ms;
use myelin_model::Direction;

use super::pagination::pagination_config;
use super::rooms::whole_state;
use crate::call::{Answer, Call, Refusal};

/// `GET /initialSync`
pub async fn all(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let config = pagination_config(&call, 10, Direction::Forwards).await?;
    let include_archived = call.query.boolean("archived")?.unwrap_or_default();
    let raw = call.query.has("raw");
    let request = InitialSyncRequest { requester: &requester, limit: config.limit, include_archived, raw };
    let answer = call.app.handlers.initial_sync(&request, now_ms()).await?;
    answer.map(Answer::json).ok_or(Refusal::PassOn("a room's state is not complete yet"))
}

/// `GET /rooms/{room_id}/initialSync`
pub async fn room(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    let config = pagination_config(&call, 10, Direction::Forwards).await?;
    let room_id = call.parameters.get("room_id");
    whole_state(&call, room_id).await?;
    Ok(Answer::json(call.app.handlers.room_initial_sync(&requester, room_id, config.limit, now_ms()).await?))
}
