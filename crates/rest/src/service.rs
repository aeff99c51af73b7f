//! One request from its first byte to its log line. Answers to `synapse/http/site.py` and `server.py`.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode, header};
use http_body::Body as _;
use myelin_config::{Bind, Config, Listener};
use myelin_model::MatrixError;

use crate::access_log::{self, Finished};
use crate::metrics::Metrics;
use crate::proxy::Upstream;
use crate::respond::{self, ANSWERED_BY, ErrorResponse};
use crate::routes::{Found, Table};

/// What all listeners share.
pub struct App {
    pub table: Table,
    pub upstream: Option<Upstream>,
    pub metrics: Metrics,
}

impl App {
    pub fn new(config: &Config) -> Result<Self, AppError> {
        Ok(Self {
            table: Table::new()?,
            upstream: config.worker.fallback.clone().and_then(Upstream::new),
            metrics: Metrics::new(&config.server.server_name)?,
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("route table: {0}")]
    Routes(#[from] regex::Error),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// One listener's view of the app.
#[derive(Clone)]
pub struct Site {
    app: Arc<App>,
    /// Port, tag or socket path: names the listener in logs and metrics.
    name: Arc<str>,
    tag: Arc<str>,
    x_forwarded: bool,
}

/// The peer's address, put into the request's extensions by the listener.
#[derive(Clone)]
pub struct Peer(pub Arc<str>);

pub fn router(app: Arc<App>, listener: &Listener) -> Router {
    let place = match &listener.bind {
        Bind::Tcp { port, .. } => port.to_string(),
        Bind::Unix { path, .. } => path.display().to_string(),
    };
    let name: Arc<str> = listener.tag.clone().unwrap_or(place).into();
    let site = Site { app, tag: Arc::clone(&name), name, x_forwarded: listener.x_forwarded };
    Router::new().fallback(serve).with_state(site)
}

async fn serve(State(site): State<Site>, request: Request<Body>) -> Response {
    let start = Instant::now();
    let seen = Seen::of(&site, &request);
    let found = site.app.table.find(&seen.method, request.uri().path());
    let servlet = match found {
        Found::Route(route) | Found::WrongMethod(route) => route.servlet,
        Found::Unknown | Found::Outside => "UnrecognizedRequest",
    };
    // Dropped with the request if the client goes away, so that the gauge goes down in any case.
    let mut measured = Measured { site: &site, method: &seen.method, servlet, start, outcome: None };
    site.app.metrics.started(&seen.method, servlet);
    let response = answer(&site, found, request).await;
    let fallback = response.headers().get(ANSWERED_BY).is_some_and(|by| by == "fallback");
    measured.outcome = Some((response.status().as_u16(), fallback));
    access_log::log(&Finished {
        client: &seen.client,
        site: &site.name,
        method: &seen.method,
        uri: &seen.uri,
        status: response.status().as_u16(),
        user_agent: &seen.user_agent,
        took: start.elapsed(),
        bytes: response.body().size_hint().exact().unwrap_or(0),
        fallback,
    });
    response
}

struct Measured<'a> {
    site: &'a Site,
    method: &'a str,
    servlet: &'a str,
    start: Instant,
    outcome: Option<(u16, bool)>,
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        let (metrics, took) = (&self.site.app.metrics, self.start.elapsed());
        metrics.finished(self.method, self.servlet, &self.site.tag, self.outcome, took);
    }
}

/// What the log wants to know, kept because the request moves on.
struct Seen {
    method: String,
    uri: String,
    client: String,
    user_agent: String,
}

impl Seen {
    fn of(site: &Site, request: &Request<Body>) -> Self {
        let text = |name: header::HeaderName| {
            request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned()
        };
        let forwarded = request.headers().get("x-forwarded-for").and_then(|value| value.to_str().ok());
        let forwarded = forwarded.filter(|_| site.x_forwarded).and_then(|list| list.split(',').next());
        let peer = || request.extensions().get::<Peer>().map_or("-", |peer| &*peer.0).to_owned();
        Self {
            method: request.method().as_str().to_owned(),
            uri: request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
            client: forwarded.map_or_else(peer, |first| first.trim().to_owned()),
            user_agent: text(header::USER_AGENT),
        }
    }
}

async fn answer(site: &Site, found: Found, request: Request<Body>) -> Response {
    if respond::is_preflight(request.method()) {
        return respond::preflight();
    }
    if request.uri().path() == "/health" {
        return respond::health();
    }
    if let Some(upstream) = &site.app.upstream {
        return upstream.forward(request).await;
    }
    match found {
        Found::Outside => respond::no_such_resource(),
        Found::WrongMethod(_) => ErrorResponse(MatrixError::unrecognized(405)).into_response(),
        Found::Route(_) | Found::Unknown => ErrorResponse(MatrixError::unrecognized(404)).into_response(),
    }
}

/// The `metrics` listener: the exposition on `/metrics` and `/_synapse/metrics`.
pub fn metrics_router(app: Arc<App>) -> Router {
    let expose = |State(app): State<Arc<App>>| async move {
        let body = app.metrics.render();
        (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], body)
    };
    Router::new().fallback(axum::routing::get(expose)).with_state(app)
}
