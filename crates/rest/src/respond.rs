//! Answers as Synapse sends them. Answers to `respond_with_json` and `set_cors_headers` in `synapse/http/server.py`.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use myelin_model::MatrixError;

use crate::call::Answer;

/// Which Synapse this answers as.
pub const SERVER: &str = myelin_replication::federation::USER_AGENT;

/// Who answered: `native` or `fallback`. For operators and tests; clients ignore it.
pub const ANSWERED_BY: HeaderName = HeaderName::from_static("x-myelin");

const PAGE_404: &str = "\n<html>\n  <head><title>404 - No Such Resource</title></head>\n  <body>\n    <h1>No Such Resource</h1>\n    <p>Sorry. No luck finding that resource.</p>\n  </body>\n</html>\n";

/// The only way an error becomes a response: the cause goes to the log, once, and never to the client.
pub struct ErrorResponse(pub MatrixError);

impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        let Self(error) = self;
        if let Some(cause) = &error.cause {
            tracing::error!(status = error.status, errcode = error.errcode, "{cause}");
        }
        let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(status, error.body().to_string());
        for (name, value) in &error.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(*name, value);
            }
        }
        response
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = if self.cors {
            json(self.status, self.body)
        } else {
            let mut response = Response::new(Body::from(self.body));
            *response.status_mut() = self.status;
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            native(response.headers_mut());
            response
        };
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    native(headers);
    cors(headers);
    response
}

/// Twisted's own page for a path outside every resource.
pub fn no_such_resource() -> Response {
    let mut response = Response::new(Body::from(PAGE_404));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    native(response.headers_mut());
    response
}

/// Every OPTIONS is a CORS preflight.
pub fn preflight(path: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    native(headers);
    cors(headers);
    if path == "/_matrix/client/unstable/org.matrix.msc4108/rendezvous"
        || path.starts_with("/_synapse/client/rendezvous")
    {
        let allowed = HeaderValue::from_static("Content-Type, If-Match, If-None-Match");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        let exposed = HeaderValue::from_static("Synapse-Trace-Id, Server, ETag");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    response
}

fn native(headers: &mut HeaderMap) {
    headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
    headers.insert(ANSWERED_BY, HeaderValue::from_static("native"));
}

fn cors(headers: &mut HeaderMap) {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, DELETE, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "X-Requested-With, Content-Type, Authorization, Date"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Synapse-Trace-Id, Server"),
    ];
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
