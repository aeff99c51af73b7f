//! What other servers ask that is not about one room. Answers to `synapse/federation/transport/server/federation.py`.

use myelin_model::MatrixError;
use myelin_model::identifiers::{parse_room_alias, parse_user_id};
use serde_json::json;

use crate::call::{Answer, Call, Refusal};
use crate::federation::{FederationCall, asker};
use crate::respond::SERVER;

/// `GET /version`, for everybody.
pub async fn version(call: Call) -> Result<Answer, Refusal> {
    let _asker = asker(&call, None).await?;
    let (name, version) = SERVER.split_once('/').unwrap_or((SERVER, ""));
    Ok(Answer::value(&json!({ "server": { "name": name, "version": version } })))
}

/// `GET /query/{query_type}`
pub async fn query(asked: FederationCall) -> Result<Answer, Refusal> {
    if !asked.call.query.is_utf8() {
        return Err(MatrixError::internal("a query string that is not UTF-8").into());
    }
    match asked.call.parameters.get("query_type") {
        "profile" => profile(&asked).await,
        "directory" => directory(&asked).await,
        "client_keys" => Err(Refusal::PassOn("keys of devices by a query")),
        other => Err(MatrixError::not_found(format!("No handler for Query type '{other}'")).into()),
    }
}

/// A parameter that Synapse takes for granted.
fn needed<'a>(asked: &'a FederationCall, name: &str) -> Result<&'a str, Refusal> {
    let value = asked.call.query.utf8_string(name)?;
    value.ok_or_else(|| MatrixError::internal(format!("the query has no {name}")).into())
}

/// `on_profile_query`
async fn profile(asked: &FederationCall) -> Result<Answer, Refusal> {
    let handlers = &asked.call.app.handlers;
    if !handlers.config.federation.allow_profile_lookup {
        return Err(MatrixError::forbidden("Profile lookup over federation is disabled on this homeserver").into());
    }
    let user_id = needed(asked, "user_id")?;
    let (_, domain) = parse_user_id(user_id)?;
    if domain != handlers.config.server.server_name {
        return Err(MatrixError::unknown(400, "User is not hosted on this homeserver").into());
    }
    let field = asked.call.query.utf8_string("field")?;
    Ok(Answer::json(handlers.on_profile_query(user_id, field).await?))
}

/// `on_directory_query`
async fn directory(asked: &FederationCall) -> Result<Answer, Refusal> {
    let handlers = &asked.call.app.handlers;
    let alias = needed(asked, "room_alias")?;
    let (_, domain) = parse_room_alias(alias)?;
    if domain != handlers.config.server.server_name {
        return Err(MatrixError::unknown(400, "Room Alias is not hosted on this homeserver").into());
    }
    let found = handlers.get_association(alias).await?;
    found.map(|found| Answer::value(&found)).ok_or(Refusal::PassOn("others must be asked for the alias"))
}

/// `GET /user/devices/{user_id}`
pub async fn user_devices(asked: FederationCall) -> Result<Answer, Refusal> {
    let user_id = asked.call.parameters.get("user_id");
    let devices = asked.call.app.handlers.on_federation_query_user_devices(user_id).await?;
    devices.map(Answer::json).ok_or(Refusal::PassOn("application services must be asked for keys"))
}

/// `POST /user/keys/query`
pub async fn query_keys(asked: FederationCall) -> Result<Answer, Refusal> {
    let query = asked.content.get("device_keys");
    let keys = asked.call.app.handlers.on_federation_query_client_keys(query).await?;
    keys.map(Answer::json).ok_or(Refusal::PassOn("application services must be asked for keys, or odd keys"))
}

/// `POST /user/keys/claim`
pub async fn claim_keys(mut asked: FederationCall) -> Result<Answer, Refusal> {
    let query = asked.content.remove("one_time_keys").unwrap_or_else(|| json!({}));
    let query = serde_json::from_value(query).map_err(|_| Refusal::PassOn("odd keys are claimed"))?;
    let claimed = asked.call.app.handlers.on_claim_client_keys(query).await?;
    claimed.map(Answer::json).ok_or(Refusal::PassOn("application services must be asked for keys"))
}

/// `GET /openid/userinfo`, for everybody who has such a token. Synapse: only its main process can read them.
pub async fn openid_userinfo(call: Call) -> Result<Answer, Refusal> {
    let _asker = asker(&call, None).await?;
    let refuse = |errcode, error| Refusal::Error(MatrixError::new(401, errcode, error));
    let token = call.query.string("access_token")?;
    let token = token.ok_or_else(|| refuse("M_MISSING_TOKEN", "Access Token required"))?;
    let user_id = call.app.handlers.on_openid_userinfo(token).await?;
    let user_id = user_id.ok_or_else(|| refuse("M_UNKNOWN_TOKEN", "Access Token unknown or expired"))?;
    Ok(Answer::value(&json!({ "sub": user_id })))
}
