//! `/joined_rooms`. Answers to `JoinedRoomsRestServlet` in `synapse/rest/client/room.py`.

use myelin_handlers::auth::AuthOptions;

use crate::call::{Answer, Call, Refusal};

/// `GET /joined_rooms`
pub async fn joined_rooms(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    Ok(Answer::json(call.app.handlers.joined_rooms(&requester).await?))
}
