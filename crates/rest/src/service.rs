//! One request from its first byte to its answer. Answers to `synapse/http/site.py` and `_AsyncResource` in
//! `synapse/http/server.py`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use myelin_config::{Bind, Config, Discovery, Listener};
use myelin_handlers::Handlers;
use myelin_model::MatrixError;
use tracing::Instrument;

use crate::body;
use crate::call::{Call, Notes, Refusal};
use crate::federation;
use crate::metrics::Metrics;
use crate::proxy::Upstream;
use crate::query::Query;
use crate::respond::{self, ErrorResponse};
use crate::routes::{Found, Mounts, Route, Served, Table, all};
use crate::tracked::Tracker;

/// What all listeners share.
pub struct App {
    pub handlers: Arc<Handlers>,
    pub table: Table,
    pub upstream: Option<Upstream>,
    pub metrics: Metrics,
    pub well_known: Discovery,
    /// Python modules are configured: what they may change is not answered here.
    pub has_modules: bool,
    requests: AtomicU64,
}

impl App {
    pub fn new(config: &Config, handlers: Arc<Handlers>) -> Result<Self, AppError> {
        Ok(Self {
            table: Table::new()?,
            upstream: config.worker.fallback.as_ref().map(Upstream::new).transpose()?,
            metrics: Metrics::new(&config.server.server_name)?,
            well_known: config.discovery.clone(),
            has_modules: !config.server.modules.is_empty(),
            requests: AtomicU64::new(0),
            handlers,
        })
    }

    /// Our endpoint for a method of a route, unless a module may have a say.
    fn endpoint(&self, route: &Route, method: &str) -> Option<Served> {
        route.endpoint(method).filter(|_| !(self.has_modules && route.modular))
    }

    /// Methods and patterns that are registered on these listeners and not served here.
    pub fn passed_on(&self, mounts: &[Mounts]) -> Vec<String> {
        let here = all().filter(|route| mounts.iter().any(|mounts| mounts.has(route.resource)));
        here.flat_map(|route| {
            let methods = route.methods.split(' ').filter(|method| self.endpoint(route, method).is_none());
            methods.map(|method| format!("{method} {}", route.pattern)).collect::<Vec<_>>()
        })
        .collect()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("the address of the fallback: {0}")]
    Fallback(#[from] http::uri::InvalidUri),
    #[error("route table: {0}")]
    Routes(#[from] regex::Error),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// One listener's view of the app.
#[derive(Clone)]
pub struct Site(Arc<SiteInner>);

struct SiteInner {
    app: Arc<App>,
    tag: Arc<str>,
    mounts: Mounts,
    x_forwarded: bool,
    request_id_header: Option<String>,
}

impl Site {
    pub fn app(&self) -> &Arc<App> {
        &self.0.app
    }

    /// Names the listener in logs.
    pub fn tag(&self) -> &str {
        &self.0.tag
    }

    /// `GET-17`, or what the reverse proxy calls the request.
    fn request_id(&self, request: &Request<Body>) -> String {
        let number = self.0.app.requests.fetch_add(1, Ordering::Relaxed);
        let header = self.0.request_id_header.as_ref().and_then(|name| request.headers().get(name.as_str()));
        match header.and_then(|value| value.to_str().ok()) {
            Some(given) => format!("{}-{given}", request.method()),
            None => format!("{}-{number}", request.method()),
        }
    }
}

/// The peer's address, put into the request's extensions by the listener.
#[derive(Clone)]
pub struct Peer(pub Arc<str>);

/// Everything that an http listener answers.
pub fn router(app: Arc<App>, listener: &Listener) -> Router {
    let place = match &listener.bind {
        Bind::Tcp { port, .. } => port.to_string(),
        Bind::Unix { .. } => "unix".to_owned(),
    };
    let site = Site(Arc::new(SiteInner {
        app,
        tag: listener.tag.clone().unwrap_or(place).into(),
        mounts: Mounts::new(&listener.resources),
        x_forwarded: listener.x_forwarded,
        request_id_header: listener.request_id_header.clone(),
    }));
    Router::new().fallback(serve).with_state(site)
}

/// What the log wants to know, kept because the request moves on.
pub struct Seen {
    pub method: String,
    pub uri: String,
    pub client: Arc<str>,
    pub user_agent: Arc<str>,
}

impl Seen {
    fn of(site: &Site, request: &Request<Body>) -> Self {
        let headers = request.headers();
        let user_agent = headers.get_all(header::USER_AGENT).iter().next_back();
        let user_agent = user_agent.map(|value| String::from_utf8_lossy(value.as_bytes()));
        let forwarded = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
        let forwarded = forwarded.filter(|_| site.0.x_forwarded).and_then(|list| list.split(',').next());
        let peer = || request.extensions().get::<Peer>().map_or_else(|| "-".into(), |peer| Arc::clone(&peer.0));
        Self {
            method: request.method().as_str().to_owned(),
            uri: request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
            client: forwarded.map_or_else(peer, |first| first.trim().into()),
            user_agent: user_agent.as_deref().unwrap_or_default().into(),
        }
    }
}

async fn serve(State(site): State<Site>, request: Request<Body>) -> Response {
    let found = site.app().table.find(&site.0.mounts, request.method().as_str(), request.uri().path());
    let span = tracing::error_span!("request", id = %site.request_id(&request));
    let notes = Arc::new(Notes::default());
    let seen = Seen::of(&site, &request);
    let (client, user_agent) = (Arc::clone(&seen.client), Arc::clone(&seen.user_agent));
    let usage = Arc::clone(&notes.usage);
    let work = async move {
        // Dropped with this future if the client goes away first.
        let tracker = Tracker::start(site.clone(), seen, found.servlet(), Arc::clone(&notes));
        let asked = Asked { site: &site, client, user_agent, notes };
        let (response, fallback) = asked.answer(found, request).await;
        tracker.follow(response, fallback)
    };
    usage.charge(work.instrument(span)).await
}

/// A request's surroundings.
struct Asked<'a> {
    site: &'a Site,
    client: Arc<str>,
    user_agent: Arc<str>,
    notes: Arc<Notes>,
}

/// The answer, and whether the fallback gave it.
type Answered = (Response, bool);

impl Asked<'_> {
    async fn answer(self, found: Found, request: Request<Body>) -> Answered {
        let path = request.uri().path();
        if request.method() == Method::OPTIONS {
            return (respond::preflight(path), false);
        }
        if self.site.0.mounts.metrics() && is_metrics(path) {
            return (expose(self.site.app()), false);
        }
        if let Found::Route(route, index) = found
            && let Some(endpoint) = self.site.app().endpoint(route, request.method().as_str())
        {
            return self.native(endpoint, index, request).await;
        }
        // Nobody is told to call it (it answers for no stream); the fallback must not be reached this way.
        let replication = path.starts_with("/_synapse/replication");
        match &self.site.app().upstream {
            Some(upstream) if self.site.0.mounts.passes_on() && !replication => upstream.forward(request).await,
            _ => (not_served(found), false),
        }
    }

    async fn native(self, endpoint: Served, index: usize, request: Request<Body>) -> Answered {
        if request.uri().path_and_query().is_some_and(|target| target.as_str().contains("%00")) {
            // Postgres has no such text: one of them would fail a statement that others share. In Synapse it is a 500.
            let error = MatrixError::invalid_param("NUL in the path or in a parameter");
            return (ErrorResponse(error).into_response(), false);
        }
        let app = Arc::clone(self.site.app());
        let (head, rest) = request.into_parts();
        // The body of a GET means nothing; a request that is passed on still has it.
        let (body, rest) = if matches!(head.method, Method::GET | Method::HEAD) {
            (Bytes::new(), rest)
        } else {
            match body::read(&head.headers, rest, app.well_known.max_request_body_size).await {
                Ok(body) => (body.clone(), Body::from(body)),
                Err(error) => return (ErrorResponse(error).into_response(), false),
            }
        };
        let head = Arc::new(head);
        let call = Call {
            parameters: app.table.parameters(index, head.uri.path()),
            query: head.uri.query().map(Query::parse).unwrap_or_default(),
            app: Arc::clone(&app),
            head: Arc::clone(&head),
            body,
            client: self.client,
            user_agent: self.user_agent,
            notes: self.notes,
        };
        let answer = match endpoint {
            Served::Open(endpoint) => endpoint(call).await,
            Served::Signed(endpoint) => federation::serve(call, endpoint).await,
        };
        match (answer, &app.upstream) {
            (Ok(answer), _) => (answer.into_response(), false),
            (Err(Refusal::Error(error)), _) => (ErrorResponse(error).into_response(), false),
            (Err(Refusal::PassOn(reason)), Some(upstream)) => {
                tracing::debug!("passed on: {reason}");
                let head = Arc::unwrap_or_clone(head);
                upstream.forward(Request::from_parts(head, rest)).await
            }
            (Err(Refusal::PassOn(reason)), None) => {
                tracing::warn!("{} cannot be answered without a fallback: {reason}", head.uri.path());
                (ErrorResponse(MatrixError::unrecognized(404)).into_response(), false)
            }
        }
    }
}

fn not_served(found: Found) -> Response {
    match found {
        Found::Outside => respond::no_such_resource(),
        Found::WrongMethod(_) => ErrorResponse(MatrixError::unrecognized(405)).into_response(),
        Found::Route(..) | Found::Unknown => ErrorResponse(MatrixError::unrecognized(404)).into_response(),
    }
}

fn is_metrics(path: &str) -> bool {
    path.strip_prefix("/_synapse/metrics").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The exposition.
fn expose(app: &App) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (StatusCode::OK, content_type, app.metrics.render()).into_response()
}

/// The `metrics` listener: any path, in Synapse too.
pub fn metrics_router(app: Arc<App>) -> Router {
    Router::new()
        .fallback(axum::routing::get(|State(app): State<Arc<App>>| async move { expose(&app) }))
        .with_state(app)
}
