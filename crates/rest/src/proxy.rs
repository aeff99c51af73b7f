//! The fallback: requests that Myelin does not serve itself, passed on unchanged and streamed both ways.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use myelin_config::Fallback;
use myelin_model::MatrixError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::respond::{ANSWERED_BY, ErrorResponse};

/// A loop of proxies shows as a growing count; a longer chain than this is one.
const MAX_HOPS: u32 = 4;
const HOPS: HeaderName = HeaderName::from_static("x-myelin-hops");
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
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
    authority: Authority,
}

impl Upstream {
    pub fn new(target: Fallback) -> Option<Self> {
        let authority = match &target {
            Fallback::Http { host, port } => format!("{host}:{port}").parse().ok()?,
            Fallback::Unix { .. } => Authority::from_static("localhost"),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .set_host(false)
            .build(Connector { target });
        Some(Self { client, authority })
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
        let mut uri = http::uri::Parts::default();
        (uri.scheme, uri.authority, uri.path_and_query) =
            (Some(Scheme::HTTP), Some(self.authority.clone()), Some(path));
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

/// The error with its sources: hyper's own text says only "client error (Connect)".
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
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

/// Opens connections to the one target, whatever the URI says.
#[derive(Clone)]
struct Connector {
    target: Fallback,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let target = self.target.clone();
        Box::pin(async move {
            let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect(target));
            let stream = stream.await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
            Ok(TokioIo::new(stream))
        })
    }
}

async fn connect(target: Fallback) -> std::io::Result<Stream> {
    match target {
        Fallback::Http { host, port } => {
            // An IPv6 address stands in brackets in a URL.
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream))
        }
        Fallback::Unix { path } => UnixStream::connect(PathBuf::from(&path)).await.map(Stream::Unix),
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
