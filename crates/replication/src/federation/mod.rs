//! Requests to other homeservers: where those are, and how they are reached. Answers to
//! `synapse/http/federation/matrix_federation_agent.py` and to the part of `synapse/http/proxyagent.py` for federation.

pub mod dns;
pub mod servers;
mod tls;
mod well_known;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dns::{Dns, Lookup};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use myelin_config::{Config, IpRange, is_blocked};
use rand::seq::SliceRandom;
use rustls::ClientConfig;
use servers::{Servers, literal};
use tower::Service;
use well_known::WellKnownResolver;

use crate::connector::{Addresses, Connector, PlainConnector, Proxies, Reached, base_uri, describe};

/// What Synapse calls itself.
pub const USER_AGENT: &str = "Synapse/1.163.2";
const IDLE_CONNECTIONS: usize = 5;
const IDLE_TIMEOUT: Duration = Duration::from_mins(2);

/// `MatrixFederationAgent`: one attempt, without a bound on its time.
pub struct Agent {
    way: Way,
    blocked: Vec<IpRange>,
}

enum Way {
    Direct {
        client: Client<Connector, Full<Bytes>>,
        well_known: Box<WellKnownResolver>,
    },
    /// `outbound_federation_restricted_to`: another process sends the request on.
    Through {
        client: Client<ToProxy, Full<Bytes>>,
        authorization: HeaderValue,
    },
}

/// A request: the path with its query, as it was signed.
pub struct Outgoing<'a> {
    pub method: Method,
    pub destination: &'a str,
    pub path: &'a str,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Agent {
    pub fn new(config: &Config) -> Result<Self, String> {
        Self::with_lookup(config, Arc::new(Dns::from_system()))
    }

    /// Asking `lookup` instead of the domain name system.
    pub fn with_lookup(config: &Config, lookup: Arc<dyn Lookup>) -> Result<Self, String> {
        let settings = &config.federation.client;
        let tls = tls::config(&settings.tls).map_err(|error| error.to_string())?;
        let blocked = settings.ip_blocklist.clone();
        if !settings.restricted_to.is_empty() {
            let places = settings.restricted_to.iter().map(|place| base_uri(place).parse::<Uri>());
            let places = places.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
            let secret = config.worker.replication_secret.as_deref().unwrap_or_default();
            let authorization =
                HeaderValue::from_str(&format!("Bearer {secret}")).map_err(|error| error.to_string())?;
            let client = client(ToProxy { places, connector: connector(tls, PlainConnector::default()) });
            return Ok(Self { way: Way::Through { client, authorization }, blocked });
        }
        let proxies = [&settings.http_proxy, &settings.https_proxy, &settings.no_proxy].map(Option::as_deref);
        let proxies = Proxies::new(proxies, tls.clone());
        let addresses = Arc::new(Addresses { blocked: blocked.clone(), excepted: settings.ip_allowlist.clone() });
        let plain = PlainConnector { proxies: Some(proxies.clone()), addresses: Some(addresses), servers: None };
        let servers = Some(Arc::new(Servers::new(lookup)));
        let suffix = settings.user_agent_suffix.as_ref().map(|suffix| format!(" {suffix}")).unwrap_or_default();
        let well_known = WellKnownResolver::new(
            client(connector(tls.clone(), plain.clone())),
            proxies,
            blocked.clone(),
            format!("{USER_AGENT}{suffix}"),
        );
        let client = client(connector(tls, PlainConnector { servers, ..plain }));
        Ok(Self { way: Way::Direct { client, well_known: Box::new(well_known) }, blocked })
    }

    /// The answer when its head is here, whatever it says. Errors are for the log.
    pub async fn request(&self, outgoing: Outgoing<'_>) -> Result<Response<Incoming>, String> {
        let Outgoing { method, destination, path, mut headers, body } = outgoing;
        let name: Uri = format!("https://{destination}/").parse().map_err(|_| "no name of a server".to_owned())?;
        let address = name.host().and_then(literal);
        // Without exceptions, which are for what names lead to.
        if address.is_some_and(|address| is_blocked(address, &self.blocked, &[])) {
            return Err("IP address blocked".to_owned());
        }
        let (scheme, mut host) = (self.way.scheme(), destination.to_owned());
        match &self.way {
            Way::Direct { well_known, .. } => {
                if address.is_none()
                    && name.port().is_none()
                    && let Some(delegated) = well_known.get(destination).await
                {
                    host = delegated;
                }
                headers.insert(header::HOST, HeaderValue::from_str(&host).map_err(|error| error.to_string())?);
            }
            Way::Through { authorization, .. } => {
                headers.insert(header::PROXY_AUTHORIZATION, authorization.clone());
            }
        }
        let mut request = Request::builder().method(method).uri(format!("{scheme}://{host}{path}"));
        if let Some(all) = request.headers_mut() {
            *all = headers;
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let answer = match &self.way {
            Way::Direct { client, .. } => client.request(request).await,
            Way::Through { client, .. } => client.request(request).await,
        };
        answer.map_err(|error| describe(&error))
    }
}

impl Way {
    fn scheme(&self) -> &'static str {
        match self {
            Self::Direct { .. } => "https",
            Self::Through { .. } => "matrix-federation",
        }
    }
}

fn connector(tls: ClientConfig, plain: PlainConnector) -> Connector {
    HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(plain)
}

fn client<C: hyper_util::client::legacy::connect::Connect + Clone>(connector: C) -> Client<C, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .pool_timer(TokioTimer::new())
        .retry_canceled_requests(false)
        .build(connector)
}

/// `_RandomSampleEndpoints`: to any of the processes that talk with other servers.
#[derive(Clone)]
struct ToProxy {
    places: Arc<[Uri]>,
    connector: Connector,
}

impl Service<Uri> for ToProxy {
    type Response = TokioIo<Reached>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let mut this = self.clone();
        Box::pin(async move {
            let mut places = this.places.to_vec();
            places.shuffle(&mut rand::rng());
            let mut error = Self::Error::from(io::Error::from(io::ErrorKind::AddrNotAvailable));
            for place in places {
                match this.connector.call(place).await {
                    Ok(stream) => return Ok(TokioIo::new(Reached::to_proxy(TokioIo::new(stream)))),
                    Err(failed) => error = failed,
                }
            }
            Err(error)
        })
    }
}
