//! Names and tokens for new accounts. Answers to `UsernameAvailabilityRestServlet` and
//! `RegistrationTokenValidityRestServlet` in `synapse/rest/client/register.py`.

use serde_json::json;

use crate::call::{Answer, Call, Refusal};
use crate::native::unless_delegated;

/// `GET /register/available`, for everybody.
pub async fn available(call: Call) -> Result<Answer, Refusal> {
    unless_delegated(&call)?;
    let handlers = &call.app.handlers;
    handlers.check_registration_enabled()?;
    if !handlers.config.registration.inhibit_user_in_use_error {
        let _turn = handlers.username_checks.turn(&call.client).await?;
        handlers.check_username(call.query.required_string("username")?).await?;
    }
    Ok(Answer::value(&json!({ "available": true })))
}

/// `GET /register/m.login.registration_token/validity`, for everybody.
pub async fn token_validity(call: Call) -> Result<Answer, Refusal> {
    unless_delegated(&call)?;
    let handlers = &call.app.handlers;
    handlers.ratelimit(&handlers.token_validity_checks, None, &call.client).await?;
    handlers.check_registration_enabled()?;
    let token = call.query.required_string("token")?;
    Ok(Answer::value(&json!({ "valid": handlers.registration_token_is_valid(token).await? })))
}
