//! What administrators ask. Answers to `RoomRestServlet` in `synapse/rest/admin/rooms.py` and `UserRestServletV2Get` in
//! `synapse/rest/admin/users.py`.

use myelin_handlers::auth::AuthOptions;

use crate::call::{Answer, Call, Refusal};

async fn assert_requester_is_admin(call: &Call) -> Result<(), Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    Ok(call.app.handlers.assert_user_is_admin(&requester).await?)
}

/// `GET /_synapse/admin/v1/rooms/{room_id}`
pub async fn room(call: Call) -> Result<Answer, Refusal> {
    assert_requester_is_admin(&call).await?;
    Ok(Answer::value(&call.app.handlers.admin_room(call.parameters.get("room_id")).await?))
}

/// `GET /_synapse/admin/v2/users/{user_id}`
pub async fn user(call: Call) -> Result<Answer, Refusal> {
    assert_requester_is_admin(&call).await?;
    Ok(Answer::json(call.app.handlers.admin_user(call.parameters.get("user_id")).await?))
}
