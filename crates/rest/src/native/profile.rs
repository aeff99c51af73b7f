//! Profiles. Answers to `synapse/rest/client/profile.py`.

use std::collections::BTreeMap;

use myelin_handlers::auth::AuthOptions;
use myelin_handlers::profile::check_field_name;
use myelin_model::identifiers::{is_valid_user_id, parse_user_id};
use myelin_model::{MatrixError, Requester};
use serde_json::json;
use serde_json::value::RawValue;

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

/// A change of one field that its writer may look at.
struct Change<'a> {
    requester: Requester,
    user_id: &'a str,
    field_name: &'a str,
}

/// Guests may name themselves.
async fn change(call: &Call) -> Result<Change<'_>, MatrixError> {
    let (user_id, field_name) = (call.parameters.get("user_id"), call.parameters.get("field_name"));
    check_user_id(user_id)?;
    let options = if field_name == "displayname" { AuthOptions::GUESTS } else { AuthOptions::default() };
    let requester = call.requester(options).await?;
    check_field_name(field_name)?;
    Ok(Change { requester, user_id, field_name })
}

/// `_read_propagate`: MSC4069.
fn propagate(call: &Call) -> Result<bool, MatrixError> {
    let enabled = &call.app.handlers.config.server.experimental.enabled;
    if !enabled.contains("msc4069_profile_inhibit_propagation") {
        return Ok(true);
    }
    Ok(call.query.boolean("org.matrix.msc4069.propagate")?.unwrap_or(true))
}

/// `PUT /profile/{user_id}/{field_name}`
pub async fn set_field(call: Call) -> Result<Answer, Refusal> {
    let Change { requester, user_id, field_name } = change(&call).await?;
    let content = call.json_object_text()?;
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(content.get()).map_err(MatrixError::internal)?;
    let missing = || MatrixError::missing_param(format!("Missing key '{field_name}'"));
    let value = fields.get(field_name).ok_or_else(missing)?;
    let (handlers, propagate) = (&call.app.handlers, propagate(&call)?);
    handlers.check_may_change_profile(&requester).await?;
    handlers.set_profile_field(&requester, user_id, field_name, value, propagate).await?;
    Ok(Answer::value(&json!({})))
}

/// `DELETE /profile/{user_id}/{field_name}`
pub async fn delete_field(call: Call) -> Result<Answer, Refusal> {
    let Change { requester, user_id, field_name } = change(&call).await?;
    let (handlers, propagate) = (&call.app.handlers, propagate(&call)?);
    handlers.check_may_change_profile(&requester).await?;
    handlers.delete_profile_field(&requester, user_id, field_name, propagate).await?;
    Ok(Answer::value(&json!({})))
}
