//! Stored filters. Answers to `synapse/rest/client/filter.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_model::MatrixError;
use myelin_model::identifiers::parse_user_id;
use serde_json::json;

use crate::call::{Answer, Call, Refusal};
use crate::query::python_int;

/// `GET /user/{user_id}/filter/{filter_id}`
pub async fn get(call: Call) -> Result<Answer, Refusal> {
    let user_id = call.parameters.get("user_id");
    parse_user_id(user_id)?;
    let requester = call.requester(AuthOptions::default()).await?;
    let handlers = &call.app.handlers;
    handlers.check_filter_owner(&requester, user_id, "get")?;
    let filter_id = python_int(call.parameters.get("filter_id").as_bytes());
    let filter_id = filter_id.ok_or_else(|| MatrixError::unknown(400, "Invalid filter_id"))?;
    let filter = handlers.get_filter(user_id, filter_id).await?;
    Ok(Answer::json(filter.as_bytes().to_vec()))
}

/// `POST /user/{user_id}/filter`
pub async fn create(call: Call) -> Result<Answer, Refusal> {
    let user_id = call.parameters.get("user_id");
    parse_user_id(user_id)?;
    let requester = call.requester(AuthOptions::default()).await?;
    let handlers = &call.app.handlers;
    handlers.check_filter_owner(&requester, user_id, "create")?;
    let filter_id = handlers.add_filter(user_id, call.json_object()?).await?;
    Ok(Answer::value(&json!({ "filter_id": filter_id.to_string() })))
}
