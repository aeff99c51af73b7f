//! What there is to join: `PublicRoomListRestServlet`, `RoomSummaryRestServlet` and `RoomHierarchyRestServlet` in
//! `synapse/rest/client/room.py`, and what of it other servers ask for in `synapse/federation/transport/server/`.

use http::Method;
use myelin_handlers::auth::AuthOptions;
use myelin_handlers::federation::authenticator::federation_denied;
use myelin_handlers::room_hierarchy::HierarchyRequest;
use myelin_handlers::room_list::{Network, PublicRoomsRequest, RoomListNextBatch};
use myelin_model::MatrixError;
use myelin_model::identifiers::{is_valid_room_id, is_valid_server_name, parse_room_alias};
use serde_json::{Map, Value};

use super::rooms::whole_state;
use crate::call::{Answer, Call, Refusal};
use crate::federation::FederationCall;
use crate::query::Query;

const ODD: Refusal = Refusal::PassOn("an odd question for public rooms");

/// `GET /publicRooms`
pub async fn public_rooms(call: Call) -> Result<Answer, Refusal> {
    let server = call.query.string("server")?;
    if let Err(error) = call.requester(AuthOptions::GUESTS).await {
        // Everybody may look at our own list, if the operator says so.
        let open = call.app.handlers.config.directory.public_rooms_without_auth;
        if !open
            || !matches!(error.errcode, "M_MISSING_TOKEN" | "M_UNKNOWN_TOKEN")
            || server.is_some_and(|server| !server.is_empty())
        {
            return Err(error.into());
        }
    }
    let limit = call.query.integer("limit")?.filter(|limit| *limit != 0);
    let since = call.query.string("since")?;
    check_server(&call, server)?;
    let since = since_token(since)?;
    let request = PublicRoomsRequest { network: Network::Main, limit, since, search_term: None, room_types: None };
    Ok(Answer::json(call.app.handlers.get_local_public_room_list(&request, None).await?))
}

/// `POST /publicRooms`
pub async fn search_public_rooms(call: Call) -> Result<Answer, Refusal> {
    call.requester(AuthOptions::GUESTS).await?;
    let server = call.query.string("server")?;
    let content = call.json_object()?;
    let limit = limit_of(&content)?;
    let network = network(&content)?;
    check_server(&call, server)?;
    let (since, (search_term, room_types)) = (since_of(&content)?, filter_of(&content)?);
    let request = PublicRoomsRequest { network, limit, since, search_term, room_types };
    Ok(Answer::json(call.app.handlers.get_local_public_room_list(&request, None).await?))
}

/// `GET` and `POST /_matrix/federation/v1/publicRooms`, for other servers.
pub async fn public_rooms_for_server(asked: FederationCall) -> Result<Answer, Refusal> {
    let handlers = &asked.call.app.handlers;
    if !handlers.config.federation.allow_public_rooms {
        return Err(federation_denied(Some(&asked.origin)).into());
    }
    let request = match asked.call.head.method {
        Method::POST => {
            let content = &asked.content;
            let (limit, network) = (limit_of(content)?, network(content)?);
            let (since, (search_term, room_types)) = (since_of(content)?, filter_of(content)?);
            PublicRoomsRequest { network, limit, since, search_term, room_types }
        }
        _ => listed(&asked.call.query)?,
    };
    Ok(Answer::json(handlers.get_local_public_room_list(&request, Some(&asked.origin)).await?))
}

/// What a server asks for in a query string.
fn listed(query: &Query) -> Result<PublicRoomsRequest, Refusal> {
    let limit = query.integer("limit")?.filter(|limit| *limit != 0);
    let since = query.string("since")?;
    let all = query.boolean("include_all_networks")?.unwrap_or_default();
    let network = match query.string("third_party_instance_id")? {
        _ if all => Network::All,
        None | Some("") => Network::Main,
        Some(id) => network_of(id)?,
    };
    Ok(PublicRoomsRequest { network, limit, since: since_token(since)?, search_term: None, room_types: None })
}

fn limit_of(content: &Map<String, Value>) -> Result<Option<i64>, Refusal> {
    let Some(limit) = content.get("limit") else { return Ok(Some(100)) };
    Ok(Some(limit.as_i64().filter(|limit| *limit >= 0).ok_or(ODD)?).filter(|limit| *limit != 0))
}

fn since_of(content: &Map<String, Value>) -> Result<Option<RoomListNextBatch>, Refusal> {
    match given(content, "since") {
        None => Ok(None),
        Some(since) => since_token(Some(since.as_str().ok_or(ODD)?)),
    }
}

fn given<'a>(content: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    content.get(name).filter(|value| !value.is_null())
}

fn network(content: &Map<String, Value>) -> Result<Network, Refusal> {
    let all = match content.get("include_all_networks") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(_) => return Err(ODD),
    };
    match given(content, "third_party_instance_id") {
        None if all => Ok(Network::All),
        None => Ok(Network::Main),
        Some(_) if all => {
            Err(MatrixError::unknown(400, "Can't use include_all_networks with an explicit network").into())
        }
        Some(Value::String(id)) => network_of(id),
        Some(_) => Err(ODD),
    }
}

/// `ThirdPartyInstanceID.from_string`
fn network_of(id: &str) -> Result<Network, Refusal> {
    match id.split_once('|') {
        // An empty application service is the server's own list.
        Some(("", network)) if !network.contains('|') => Ok(Network::Main),
        Some((service, network)) if !network.contains('|') => Ok(Network::Of(service.to_owned(), network.to_owned())),
        _ => Err(ODD),
    }
}

type Filter = (Option<String>, Option<Vec<Option<String>>>);

fn filter_of(content: &Map<String, Value>) -> Result<Filter, Refusal> {
    let filter = match given(content, "filter") {
        None => return Ok((None, None)),
        Some(Value::Object(filter)) => filter,
        Some(_) => return Err(ODD),
    };
    let term = match given(filter, "generic_search_term") {
        None => None,
        Some(term) => Some(term.as_str().ok_or(ODD)?.to_owned()),
    };
    let room_type = |value: &Value| match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(ODD),
    };
    let types = match given(filter, "room_types") {
        None => None,
        Some(Value::Array(types)) => Some(types.iter().map(room_type).collect::<Result<_, _>>()?),
        Some(_) => return Err(ODD),
    };
    Ok((term, types))
}

/// The list of another server is the fallback's affair.
fn check_server(call: &Call, server: Option<&str>) -> Result<(), Refusal> {
    match server {
        None | Some("") => Ok(()),
        Some(server) if server == call.app.handlers.config.server.server_name => Ok(()),
        Some(server) if !is_valid_server_name(server) => {
            Err(MatrixError::invalid_param(format!("Invalid server name: {server}")).into())
        }
        Some(_) => Err(Refusal::PassOn("another server has the list of rooms")),
    }
}

fn since_token(since: Option<&str>) -> Result<Option<RoomListNextBatch>, Refusal> {
    match since {
        None | Some("") => Ok(None),
        Some(token) => RoomListNextBatch::from_token(token).map(Some).ok_or(ODD),
    }
}

/// `GET /room_summary/{room_identifier}` and its older paths, for everybody.
pub async fn summary(call: Call) -> Result<Answer, Refusal> {
    let requester = match call.requester(AuthOptions::GUESTS).await {
        Ok(requester) => Some(requester),
        Err(error) if error.errcode == "M_MISSING_TOKEN" => None,
        Err(error) => return Err(error.into()),
    };
    let has_via = !call.query.strings("via")?.is_empty();
    let identifier = call.parameters.get("room_identifier");
    let handlers = &call.app.handlers;
    let (room_id, has_hosts) = if is_valid_room_id(identifier) {
        (identifier.to_owned(), has_via)
    } else if let Some(domain) = alias_domain(identifier) {
        if domain != handlers.config.server.server_name {
            return Err(Refusal::PassOn("another server has the alias"));
        }
        let found = handlers.get_association(identifier).await?;
        let found = found.ok_or(Refusal::PassOn("others must be asked for the alias"))?;
        (found["room_id"].as_str().unwrap_or_default().to_owned(), true)
    } else {
        let error = format!("{identifier} was not legal room ID or room alias");
        return Err(MatrixError::unknown(400, error).into());
    };
    whole_state(&call, &room_id).await?;
    let summary = handlers.get_room_summary(requester.as_ref(), &room_id, has_hosts).await?;
    summary.map(Answer::json).ok_or(Refusal::PassOn("nobody of this server is in the room"))
}

/// `RoomAlias.is_valid`
fn alias_domain(alias: &str) -> Option<&str> {
    parse_room_alias(alias).ok().map(|(_, domain)| domain).filter(|domain| is_valid_server_name(domain))
}

/// `GET /_matrix/federation/v1/hierarchy/{room_id}`
pub async fn hierarchy_for_server(asked: FederationCall) -> Result<Answer, Refusal> {
    let suggested_only = asked.call.query.boolean("suggested_only")?.unwrap_or_default();
    let room_id = asked.call.parameters.get("room_id");
    let handlers = &asked.call.app.handlers;
    let hierarchy = handlers.get_federation_hierarchy(&asked.origin, room_id, suggested_only).await?;
    hierarchy.map(Answer::json).ok_or(Refusal::PassOn("the state of a room is not complete yet"))
}

/// `GET /rooms/{room_id}/hierarchy`
pub async fn hierarchy(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    let handlers = &call.app.handlers;
    if handlers.config.server.experimental.enabled.contains("msc4235_enabled") {
        return Err(Refusal::PassOn("other servers may be named"));
    }
    let request = HierarchyRequest {
        room_id: call.parameters.get("room_id").to_owned(),
        max_depth: call.query.integer("max_depth")?,
        limit: call.query.integer("limit")?,
        suggested_only: call.query.boolean("suggested_only")?.unwrap_or_default(),
        from: call.query.string("from")?.map(ToOwned::to_owned),
    };
    let page = handlers.get_room_hierarchy(&requester, request).await?;
    page.map(Answer::json).ok_or(Refusal::PassOn("another server knows rooms of the hierarchy"))
}
