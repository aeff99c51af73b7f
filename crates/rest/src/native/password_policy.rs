//! What passwords must be like. Answers to `synapse/rest/client/password_policy.py`.

use serde_json::{Map, Value};

use crate::call::{Answer, Call, Refusal};

const PARAMETERS: [&str; 5] =
    ["minimum_length", "require_digit", "require_symbol", "require_lowercase", "require_uppercase"];

/// `GET /password_policy`, for everybody.
#[expect(clippy::unused_async, reason = "endpoints are asynchronous")]
pub async fn password_policy(call: Call) -> Result<Answer, Refusal> {
    let policy = &call.app.handlers.config.auth.password_policy;
    let told = PARAMETERS.iter().filter_map(|name| Some((format!("m.{name}"), policy.get(*name)?.clone())));
    Ok(Answer::value(&Value::Object(told.collect::<Map<_, _>>())))
}
