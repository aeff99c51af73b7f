//! Keys of servers. Answers to `synapse/rest/key/v2/`.

use std::collections::BTreeMap;

use myelin_handlers::federation::notary::KeyQuery;
use serde_json::Value;

use crate::call::{Answer, Call, Refusal};

/// `GET /_matrix/key/v2/server`: our own.
pub fn local(call: &Call) -> Result<Answer, Refusal> {
    let keys = call.app.handlers.local_keys()?;
    keys.map(Answer::json).ok_or(Refusal::PassOn("there is no signing key in the configuration"))
}

/// `GET /_matrix/key/v2/query/{server}[/{key_id}]`
pub async fn of_server(call: Call) -> Result<Answer, Refusal> {
    let server = call.parameters.get("server");
    let mut keys = BTreeMap::new();
    if let Some(id) = call.parameters.optional("key_id").filter(|id| !id.is_empty() && !server.is_empty()) {
        keys.insert(id.to_owned(), call.query.integer("minimum_valid_until_ts")?);
    }
    answer(&call, &KeyQuery::from([(server.to_owned(), keys)])).await
}

/// `POST /_matrix/key/v2/query`
pub async fn of_servers(call: Call) -> Result<Answer, Refusal> {
    let content = call.json_object()?;
    // What is wrong with a body is told in pydantic's words.
    let query = content.get("server_keys").and_then(key_query).ok_or(Refusal::PassOn("an odd question for keys"))?;
    answer(&call, &query).await
}

fn key_query(servers: &Value) -> Option<KeyQuery> {
    let criteria = |(id, criteria): (&String, &Value)| {
        let minimum = match criteria.as_object()?.get("minimum_valid_until_ts")? {
            Value::Null => None,
            minimum => Some(minimum.as_i64()?),
        };
        Some((id.clone(), minimum))
    };
    let keys = |(server, keys): (&String, &Value)| {
        Some((server.clone(), keys.as_object()?.iter().map(criteria).collect::<Option<_>>()?))
    };
    servers.as_object()?.iter().map(keys).collect()
}

async fn answer(call: &Call, query: &KeyQuery) -> Result<Answer, Refusal> {
    let handlers = &call.app.handlers;
    if handlers.keyring.notary.is_empty() {
        return Err(Refusal::PassOn("there is no signing key in the configuration"));
    }
    let keys = handlers.query_server_keys(query).await?;
    keys.map(Answer::json).ok_or(Refusal::PassOn("too many keys are being fetched"))
}
