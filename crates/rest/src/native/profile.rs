//! Profiles. Answers to `synapse/rest/client/profile.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_handlers::profile::check_field_name;
use myelin_model::identifiers::{is_valid_user_id, parse_user_id};
use myelin_model::{MatrixError, Requester};

use crate::call::{Answer, Call, Refusal};
use crate::token;

/// `_auth_and_ratelimit_profile_lookup`
async fn who(call: &Call) -> Result<Option<Requester>, MatrixError> {
    let handlers = &call.app.handlers;
    let requester = if handlers.config.profile.require_auth {
        Some(call.requester(AuthOptions::default()).await?)
    } else if token::has_token(&call.head.headers, &call.query) {
        Some(call.requester(AuthOptions::GUESTS).await?)
    } else {
        None
    };
    handlers.ratelimit(&handlers.profile_lookups, requester.as_ref(), &call.client).await?;
    Ok(requester)
}

fn check_user_id(user_id: &str) -> Result<(), MatrixError> {
    if is_valid_user_id(user_id) { Ok(()) } else { Err(MatrixError::invalid_param("Invalid user id")) }
}

/// A user of this server, whom the requester may ask for.
async fn local(call: &Call, user_id: &str, requester: Option<&Requester>) -> Result<(), Refusal> {
    let handlers = &call.app.handlers;
    handlers.check_profile_query_allowed(user_id, requester).await?;
    let (_, domain) = parse_user_id(user_id)?;
    if domain != handlers.config.server.server_name {
        return Err(Refusal::PassOn("another server has the profile"));
    }
    Ok(())
}

/// `GET /profile/{user_id}`
pub async fn profile(call: Call) -> Result<Answer, Refusal> {
    let requester = who(&call).await?;
    let user_id = call.parameters.get("user_id");
    check_user_id(user_id)?;
    local(&call, user_id, requester.as_ref()).await?;
    Ok(Answer::json(call.app.handlers.get_profile(user_id).await?))
}

/// `GET /profile/{user_id}/{field_name}`
pub async fn field(call: Call) -> Result<Answer, Refusal> {
    let requester = who(&call).await?;
    let (user_id, name) = (call.parameters.get("user_id"), call.parameters.get("field_name"));
    check_user_id(user_id)?;
    check_field_name(name)?;
    local(&call, user_id, requester.as_ref()).await?;
    Ok(Answer::json(call.app.handlers.get_profile_field(user_id, name).await?))
}
