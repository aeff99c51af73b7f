//! Connections to other processes, over unix sockets, TCP and TLS: for HTTP replication, the fallback, the Matrix
//! Authentication Service and other homeservers. Answers to `synapse/http/replicationagent.py` and to
//! `BlocklistingReactorWrapper` in `synapse/http/client.py`.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use myelin_config::{InstanceLocation, IpRange, is_blocked};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tower::Service;

use crate::federation::servers::Servers;

const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// An address that has not answered does not keep from trying the next for longer.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(300);
/// Stands before the quoted path of a unix socket, where a URL has its host; no host name begins so.
const UNIX: &str = "unix_";

/// Opens connections, TLS included.
pub type Connector = HttpsConnector<PlainConnector>;

/// What opens plain connections, or the plain part of encrypted ones.
#[derive(Clone, Default)]
pub struct PlainConnector {
    pub(crate) proxies: Option<Proxies>,
    /// Which addresses names may lead to; without them, all.
    pub(crate) addresses: Option<Arc<Addresses>>,
    /// The authority of a URI is the name of a homeserver, which may be elsewhere.
    pub(crate) servers: Option<Arc<Servers>>,
}

/// `ip_range_blacklist` and `ip_range_whitelist`.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub blocked: Vec<IpRange>,
    pub excepted: Vec<IpRange>,
}

/// `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` of the environment, as Synapse's client in Rust takes them.
#[derive(Clone, Debug)]
pub struct Proxies {
    matcher: Arc<Matcher>,
    /// For proxies that are themselves at https://.
    tls: ClientConfig,
}

impl Proxies {
    /// Those for requests to the host of `uri`.
    pub fn from_env(uri: &Uri) -> Self {
        let matcher = Matcher::from_env();
        let encrypted = matcher.intercept(uri).is_some_and(|proxy| proxy.uri().scheme() == Some(&Scheme::HTTPS));
        Self { matcher: Arc::new(matcher), tls: tls(encrypted) }
    }

    /// Of http:// and of https://; `no`: names that are reached without them.
    pub fn new([http, https, no]: [Option<&str>; 3], tls: ClientConfig) -> Self {
        let [http, https, no] = [http, https, no].map(|value| value.unwrap_or_default().to_owned());
        Self { matcher: Arc::new(Matcher::builder().http(http).https(https).no(no).build()), tls }
    }

    /// `Proxy-Authorization` of a request that the proxy itself reads; one over TLS it only conveys.
    pub fn authorization(&self, uri: &Uri) -> Option<HeaderValue> {
        self.matcher.intercept(uri).filter(|_| uri.scheme() == Some(&Scheme::HTTP))?.basic_auth().cloned()
    }

    /// A tunnel for what is encrypted; the rest is for the proxy to read.
    async fn connect(&self, proxy: &Intercept, uri: Uri) -> io::Result<TokioIo<Reached>> {
        let mut to_proxy = HttpsConnectorBuilder::new()
            .with_tls_config(self.tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(PlainConnector::default());
        if uri.scheme() != Some(&Scheme::HTTPS) {
            let stream = to_proxy.call(proxy.uri().clone()).await.map_err(io::Error::other)?;
            return Ok(TokioIo::new(Reached::to_proxy(TokioIo::new(stream))));
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), to_proxy);
        if let Some(authorization) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        let stream = tunnel.call(uri).await.map_err(io::Error::other)?;
        Ok(TokioIo::new(Reached { stream: Box::new(TokioIo::new(stream)), by_proxy: false }))
    }
}

/// Which HTTP is spoken over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    Http1,
    Http2,
    /// What the other side prefers.
    Any,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open connection.
pub struct Reached {
    stream: Box<dyn Stream>,
    /// At the other end is a proxy that reads the requests.
    by_proxy: bool,
}

/// Where a URL to this process begins.
pub fn base_uri(location: &InstanceLocation) -> String {
    match location {
        InstanceLocation::Tcp { host, port, tls } => {
            let scheme = if *tls { "https" } else { "http" };
            let host = host.trim_start_matches('[').trim_end_matches(']');
            if host.contains(':') { format!("{scheme}://[{host}]:{port}") } else { format!("{scheme}://{host}:{port}") }
        }
        // A `%` may not stand in a host.
        InstanceLocation::Unix { path } => {
            let path = path.to_string_lossy();
            format!("http://{UNIX}{}", utf8_percent_encode(&path, NON_ALPHANUMERIC).to_string().replace('%', "_"))
        }
    }
}

/// Certificates are verified against those of the system, which are read only if they are `needed`.
pub fn tls(needed: bool) -> ClientConfig {
    let roots = if needed { system_roots() } else { RootCertStore::empty() };
    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}

pub(crate) fn system_roots() -> RootCertStore {
    let (mut roots, found) = (RootCertStore::empty(), rustls_native_certs::load_native_certs());
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!("no certificate can be verified: {:?}", found.errors);
    }
    roots
}

pub fn connector(tls: ClientConfig, versions: Versions, proxies: Option<Proxies>) -> Connector {
    let plain = PlainConnector { proxies, ..PlainConnector::default() };
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    match versions {
        Versions::Http1 => builder.enable_http1().wrap_connector(plain),
        Versions::Http2 => builder.enable_http2().wrap_connector(plain),
        Versions::Any => builder.enable_all_versions().wrap_connector(plain),
    }
}

impl Service<Uri> for PlainConnector {
    type Response = TokioIo<Reached>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let places = match &this.servers {
                Some(servers) => servers.resolve(&uri).await?,
                None => vec![uri],
            };
            let mut first = io::Error::other("there is no such server");
            for (index, place) in places.into_iter().enumerate() {
                let reached = tokio::time::timeout(CONNECT_WITHIN, this.reach(place)).await;
                match reached.map_err(|_| io::Error::from(io::ErrorKind::TimedOut)).flatten() {
                    Ok(stream) => return Ok(stream),
                    // The first is probably what matters.
                    Err(error) if index == 0 => first = error,
                    Err(_) => {}
                }
            }
            Err(first)
        })
    }
}

impl PlainConnector {
    async fn reach(&self, uri: Uri) -> io::Result<TokioIo<Reached>> {
        if let Some(proxies) = &self.proxies
            && let Some(proxy) = proxies.matcher.intercept(&uri)
        {
            return proxies.connect(&proxy, uri).await;
        }
        let stream = connect(&uri, self.addresses.as_deref()).await?;
        Ok(TokioIo::new(Reached { stream, by_proxy: false }))
    }
}

async fn connect(uri: &Uri, addresses: Option<&Addresses>) -> io::Result<Box<dyn Stream>> {
    let host = uri.host().unwrap_or_default();
    if let Some(path) = host.strip_prefix(UNIX) {
        let path = path.replace('_', "%");
        let path = PathBuf::from(percent_decode_str(&path).decode_utf8_lossy().into_owned());
        return Ok(Box::new(UnixStream::connect(path).await?));
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let found: Vec<_> = tokio::net::lookup_host((host, uri.port_u16().unwrap_or(default))).await?.collect();
    let is_blocked = |found: &SocketAddr| {
        addresses.is_some_and(|addresses| is_blocked(found.ip(), &addresses.blocked, &addresses.excepted))
    };
    // One is enough: whoever answers for the name is not to be trusted.
    if let Some(blocked) = found.iter().find(|found| is_blocked(found)) {
        return Err(io::Error::other(format!("the address {} of {host} is blocked", blocked.ip())));
    }
    let stream = connect_first(found).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

/// To the address that answers first; each has a little time before the next is tried.
async fn connect_first(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut addresses = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    loop {
        match addresses.next() {
            Some(address) => attempts.push(TcpStream::connect(address)),
            None if attempts.is_empty() => return Err(error),
            None => {}
        }
        let wait = if addresses.len() > 0 { NEXT_ADDRESS_AFTER } else { CONNECT_WITHIN };
        match tokio::time::timeout(wait, attempts.next()).await {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(failed))) => error = failed,
            Ok(None) | Err(_) => {}
        }
    }
}

impl Reached {
    /// A connection to a process that sends requests on to whom they name.
    pub(crate) fn to_proxy(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { stream: Box::new(stream), by_proxy: true }
    }
}

impl Connection for Reached {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.by_proxy)
    }
}

impl AsyncRead for Reached {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Reached {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The error with its sources: hyper's own text says only "client error (Connect)".
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::Response;
    use http_body_util::Empty;
    use hyper::body::Incoming;
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn places_become_urls() {
        let tcp = |host: &str, tls| base_uri(&InstanceLocation::Tcp { host: host.to_owned(), port: 9, tls });
        assert_eq!(tcp("::1", false), "http://[::1]:9");
        assert_eq!(tcp("[::1]", true), "https://[::1]:9");
        assert_eq!(tcp("main_1", false), "http://main_1:9");
        let unix = base_uri(&InstanceLocation::Unix { path: "/run/a_b%.sock".into() });
        assert_eq!(unix, "http://unix__2Frun_2Fa_5Fb_25_2Esock");
        assert!(unix.parse::<Uri>().is_ok());
    }

    /// The head of the one request that arrives, and the whole answer to it.
    async fn answer_once(listener: &TcpListener, answer: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap()
    }

    #[tokio::test]
    async fn proxies_of_the_environment() {
        const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let (proxy, direct) = (TcpListener::bind("127.0.0.1:0").await, TcpListener::bind("127.0.0.1:0").await);
        let (proxy, direct) = (proxy.unwrap(), direct.unwrap());
        let (place, port) = (proxy.local_addr().unwrap(), direct.local_addr().unwrap().port());
        let matcher = Matcher::builder().all(format!("http://user:pass@{place}")).no("localhost").build();
        let proxies = Proxies { matcher: Arc::new(matcher), tls: tls(false) };
        let client: Client<_, Empty<Bytes>> =
            Client::builder(TokioExecutor::new()).build(connector(tls(false), Versions::Any, Some(proxies.clone())));
        let get = |uri: &str| client.get(uri.parse().unwrap());

        // What is not encrypted, the proxy reads.
        let (head, answer) = tokio::join!(answer_once(&proxy, OK), get("http://mas.test/introspect"));
        assert!(head.starts_with("GET http://mas.test/introspect HTTP/1.1\r\n"), "{head}");
        assert_eq!(answer.map(|answer: Response<Incoming>| answer.status()).unwrap(), 200);
        let authorization = |uri: &str| proxies.authorization(&uri.parse().unwrap());
        assert_eq!(authorization("http://mas.test/").unwrap(), "Basic dXNlcjpwYXNz");
        assert!(authorization("https://mas.test/").is_none() && authorization("http://localhost/").is_none());

        // What is, goes through a tunnel; here the proxy refuses it.
        let refused = "HTTP/1.1 403 Forbidden\r\n\r\n";
        let (head, answer) = tokio::join!(answer_once(&proxy, refused), get("https://mas.test/introspect"));
        assert!(head.starts_with("CONNECT mas.test:443 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"), "{head}");
        assert!(answer.unwrap_err().is_connect());

        let uri = format!("http://localhost:{port}/introspect");
        let (head, answer) = tokio::join!(answer_once(&direct, OK), get(&uri));
        assert!(head.starts_with("GET /introspect HTTP/1.1\r\n") && answer.is_ok(), "{head}");
    }
}
