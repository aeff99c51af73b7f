//! Keys for encryption. Answers to `synapse/rest/client/keys.py`.

use std::collections::BTreeMap;

use myelin_handlers::auth::AuthOptions;
use myelin_handlers::e2e_keys::DeviceQuery;
use myelin_model::MatrixError;
use serde::Deserialize;
use serde_json::Value;

use crate::call::{Answer, Call, Refusal};

#[derive(Deserialize)]
struct KeyQuery {
    device_keys: DeviceQuery,
}

/// `POST /keys/query`
pub async fn query(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    // Of requests to other servers, which are not made here.
    call.query.integer("timeout")?;
    let query = match serde_json::from_slice::<KeyQuery>(&call.body) {
        Ok(query) => query.device_keys,
        Err(_) => device_query(call.json_object()?.get("device_keys"))?,
    };
    let answer = call.app.handlers.query_devices(&requester, &query).await?;
    answer.map(Answer::json).ok_or(Refusal::PassOn("another server has keys of these users"))
}

/// What of the body is wrong, where it is not just odd.
fn device_query(device_keys: Option<&Value>) -> Result<DeviceQuery, MatrixError> {
    let users = device_keys.and_then(Value::as_object);
    let users = users.ok_or_else(|| MatrixError::bad_json("'device_keys' must be a JSON object"))?;
    let devices = |value: &Value| -> Option<Vec<String>> {
        value.as_array()?.iter().map(|id| Some(id.as_str()?.to_owned())).collect()
    };
    let query: Option<BTreeMap<_, _>> =
        users.iter().map(|(user_id, value)| Some((user_id.clone(), devices(value)?))).collect();
    query.ok_or_else(|| MatrixError::bad_json("'device_keys' values must be a list of strings"))
}

/// `GET /keys/changes`: `to` means nothing.
pub async fn changes(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    let from = call.query.required_string("from")?;
    call.query.string("to")?;
    let from = call.app.handlers.parse_stream_token(from).await?;
    Ok(Answer::value(&call.app.handlers.get_user_ids_changed(&requester.user_id, &from).await?))
}
