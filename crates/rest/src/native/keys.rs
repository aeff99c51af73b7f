//! Keys for encryption. Answers to `synapse/rest/client/keys.py`.

use std::collections::BTreeMap;

use myelin_handlers::auth::AuthOptions;
use myelin_handlers::e2e_keys::DeviceQuery;
use myelin_handlers::e2e_upload::KeyUpload;
use myelin_model::MatrixError;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body;
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

/// `POST /keys/claim`
pub async fn claim(call: Call) -> Result<Answer, Refusal> {
    call.requester(AuthOptions::GUESTS).await?;
    call.query.integer("timeout")?;
    let query = call.json_object()?.remove("one_time_keys").unwrap_or_else(|| json!({}));
    let query = serde_json::from_value(query).map_err(|_| Refusal::PassOn("odd keys are claimed"))?;
    let claimed = call.app.handlers.claim_one_time_keys(query).await?;
    claimed.map(Answer::json).ok_or(Refusal::PassOn("others have keys of these users"))
}

/// `POST /keys/upload`
pub async fn upload(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    let body: Option<KeyUpload<'_>> = serde_json::from_str(call.json_object_text()?.get()).ok();
    let keys = body.and_then(|body| body.check());
    let keys = keys.ok_or(Refusal::PassOn("keys that are not as they should be"))?;
    let counts = call.app.handlers.upload_keys_for_user(&requester, keys).await?;
    counts.as_ref().map(Answer::value).ok_or(Refusal::PassOn("the device must be made"))
}

/// `POST /keys/device_signing/upload`
pub async fn upload_signing_keys(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let done = call.app.handlers.upload_signing_keys_for_user(&requester, call.json_object_text()?).await?;
    if done { Ok(Answer::value(&json!({}))) } else { Err(Refusal::PassOn("new cross-signing keys need a password")) }
}

/// `POST /keys/signatures/upload`
pub async fn upload_signatures(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    let signatures = body::json_object_or_deep(&call.body)?;
    if call.body.windows(6).any(|part| part == b"\\u0000") {
        return Err(Refusal::PassOn("NUL in signatures"));
    }
    let answer = call.app.handlers.upload_signatures_for_device_keys(&requester.user_id, &signatures).await?;
    answer.as_ref().map(Answer::value).ok_or(Refusal::PassOn("signatures that are not as they should be"))
}
