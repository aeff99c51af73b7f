//! Requests of other servers: who asks, and whether it is their turn. Answers to `BaseFederationServlet` in
//! `synapse/federation/transport/server/_base.py`.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Method, header};
use myelin_handlers::federation::authenticator::{Caller, ServerRequest, missing_authentication};
use myelin_handlers::federation::ratelimit::Turn;
use serde_json::{Map, Value};

use crate::body;
use crate::call::{Answer, Call, Refusal};

/// An endpoint that is for other servers alone.
pub type SignedEndpoint = fn(FederationCall) -> BoxFuture<'static, Result<Answer, Refusal>>;

/// A request of a server that proved who it is.
pub struct FederationCall {
    pub call: Call,
    pub origin: Arc<str>,
    /// The body of PUT and POST.
    pub content: Map<String, Value>,
}

impl AsRef<Call> for FederationCall {
    fn as_ref(&self) -> &Call {
        &self.call
    }
}

/// Whose request it is, and their turn for as long as it is worked on.
pub struct Asker {
    pub origin: Arc<str>,
    _turn: Turn,
}

/// `_wrap`: the body is read first, whoever sent it.
pub async fn serve(call: Call, endpoint: SignedEndpoint) -> Result<Answer, Refusal> {
    let content = match call.head.method {
        Method::PUT | Method::POST => Some(body::json_object_or_deep(&call.body)?),
        _ => None,
    };
    let asker = asker(&call, content.as_ref()).await?.ok_or_else(missing_authentication)?;
    let origin = Arc::clone(&asker.origin);
    endpoint(FederationCall { call, origin, content: content.unwrap_or_default() }).await
}

/// Who asks, if it says so: routes with `REQUIRE_AUTH = False` are for everybody, but not for those who lie.
pub async fn asker(call: &Call, content: Option<&Map<String, Value>>) -> Result<Option<Asker>, Refusal> {
    let head = &call.head;
    let authorization: Vec<&[u8]> =
        head.headers.get_all(header::AUTHORIZATION).iter().map(header::HeaderValue::as_bytes).collect();
    let request = ServerRequest {
        method: head.method.as_str(),
        uri: head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str),
        authorization: &authorization,
        content,
    };
    let handlers = &call.app.handlers;
    match handlers.authenticate_server(request).await? {
        Caller::Nobody => Ok(None),
        Caller::Undecided(reason) => Err(Refusal::PassOn(reason)),
        Caller::Server(origin) => {
            call.notes.set_requester(origin.to_string());
            let turn = handlers.federation_requests.turn(&origin).await?;
            Ok(Some(Asker { origin, _turn: turn }))
        }
    }
}
