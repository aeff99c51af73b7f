//! Connections to the processes of the instance_map. Answers to `synapse/http/replicationagent.py`.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use myelin_config::InstanceLocation;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// Stands before the quoted path of a unix socket, where a URL has its host; no host name begins so.
const UNIX: &str = "unix_";

/// What opens plain connections.
#[derive(Clone)]
pub(crate) struct Connector;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connection for Box<dyn Stream> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Where a URL to this process begins.
pub(crate) fn base_uri(location: &InstanceLocation) -> String {
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

/// TLS for the processes that have it; certificates are verified against those of the system.
pub(crate) fn with_tls(instances: &BTreeMap<String, InstanceLocation>) -> HttpsConnector<Connector> {
    let tls = instances.values().any(|location| matches!(location, InstanceLocation::Tcp { tls: true, .. }));
    let builder = if tls { HttpsConnectorBuilder::new().with_native_roots() } else { Err(io::Error::other("no TLS")) };
    let builder = match builder {
        Ok(builder) => builder,
        Err(error) => {
            if tls {
                tracing::warn!("no certificate can be verified: {error}");
            }
            HttpsConnectorBuilder::new().with_tls_config(no_roots())
        }
    };
    builder.https_or_http().enable_http1().wrap_connector(Connector)
}

fn no_roots() -> ClientConfig {
    ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(async move {
            let stream = tokio::time::timeout(CONNECT_WITHIN, connect(&uri)).await;
            stream.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map(TokioIo::new)
        })
    }
}

async fn connect(uri: &Uri) -> io::Result<Box<dyn Stream>> {
    let host = uri.host().unwrap_or_default();
    if let Some(path) = host.strip_prefix(UNIX) {
        let path = path.replace('_', "%");
        let path = PathBuf::from(percent_decode_str(&path).decode_utf8_lossy().into_owned());
        return Ok(Box::new(UnixStream::connect(path).await?));
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
