//! The ways to log in. Answers to `LoginRestServlet.on_GET` in `synapse/rest/client/login.py`.

use serde_json::json;

use crate::call::{Answer, Call, Refusal};

/// `GET /login`, for everybody.
#[expect(clippy::unused_async, reason = "endpoints are asynchronous")]
pub async fn flows(call: Call) -> Result<Answer, Refusal> {
    let capabilities = &call.app.handlers.config.capabilities;
    if capabilities.foreign_logins {
        return Err(Refusal::PassOn("others than Synapse say who somebody is"));
    }
    let mut flows = Vec::new();
    if capabilities.get_login_token {
        flows.push(json!({ "type": "m.login.token", "get_login_token": true }));
    }
    // Passwords can be changed where they are known.
    if capabilities.change_password {
        flows.push(json!({ "type": "m.login.password" }));
    }
    flows.push(json!({ "type": "m.login.application_service" }));
    Ok(Answer::value(&json!({ "flows": flows })))
}
