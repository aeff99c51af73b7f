//! The fallback: requests that Myelin does not serve itself, passed on unchanged and streamed both ways.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use myelin_config::InstanceLocation;
use myelin_model::MatrixError;
use myelin_replication::connector::{Connector, Versions, base_uri, connector, describe, tls};

use crate::respond::{ANSWERED_BY, ErrorResponse};

/// A loop of proxies shows as a growing count; a longer chain than this is one.
const MAX_HOPS: u32 = 4;
const HOPS: HeaderName = HeaderName::from_static("x-myelin-hops");
/// A long-poll may last as long as its client asks; nginx cuts it off at 10 minutes by default setups.
const RESPONSE_TIMEOUT: Duration = Duration::from_mins(15);
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
const IDLE_CONNECTIONS: usize = 256;

/// Headers that belong to one connection (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A client for the configured fallback.
pub struct Upstream {
    client: Client<Connector, Body>,
    /// Scheme and authority.
    base: Uri,
}

impl Upstream {
    pub fn new(target: &InstanceLocation) -> Result<Self, http::uri::InvalidUri> {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_timer(TokioTimer::new())
            .set_host(false)
            .build(connector(tls(target.is_tls()), Versions::Http1, None));
        Ok(Self { client, base: base_uri(target).parse()? })
    }

    /// Passes a request on; method, raw path, headers and body stay as they came.
    /// Says with it whether the answer is the fallback's.
    pub async fn forward(&self, request: Request<Body>) -> (Response, bool) {
        match self.try_forward(request).await {
            Ok(response) => (response, true),
            Err(error) => (ErrorResponse(error).into_response(), false),
        }
    }

    async fn try_forward(&self, request: Request<Body>) -> Result<Response, MatrixError> {
        let (mut parts, body) = request.into_parts();
        let hops = hops(&parts.headers) + 1;
        if hops > MAX_HOPS {
            return Err(bad_gateway("the request came back: the fallback leads to this process"));
        }
        let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut uri = self.base.clone().into_parts();
        uri.path_and_query = Some(path);
        parts.uri = Uri::from_parts(uri).map_err(|error| bad_gateway(error.to_string()))?;
        parts.version = http::Version::HTTP_11;
        strip_hop_by_hop(&mut parts.headers);
        parts.headers.insert(HOPS, HeaderValue::from(hops));
        let answer = self.client.request(Request::from_parts(parts, body));
        let answer = match tokio::time::timeout(RESPONSE_TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(bad_gateway(describe(&error))),
            Err(_) => return Err(bad_gateway("no answer within 15 minutes")),
        };
        let mut response = answer.map(Body::new);
        strip_hop_by_hop(response.headers_mut());
        response.headers_mut().insert(ANSWERED_BY, HeaderValue::from_static("fallback"));
        Ok(response)
    }
}

fn bad_gateway(cause: impl Into<String>) -> MatrixError {
    let error = MatrixError::unknown(502, "Failed to talk to the fallback worker");
    MatrixError { cause: Some(format!("fallback: {}", cause.into())), ..error }
}

fn hops(headers: &HeaderMap) -> u32 {
    headers.get(HOPS).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}
