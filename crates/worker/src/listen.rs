//! Listeners: TCP and unix sockets, drained at shutdown. Answers to `listen_http` and `listen_unix` in
//! `synapse/app/_base.py`.

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use myelin_config::Bind;
use myelin_rest::Peer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use crate::write_timeout::WriteTimeout;

/// A client must have sent its headers by then.
const HEADER_TIMEOUT: Duration = Duration::from_mins(1);
/// Headers larger than this are refused.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// After this, connections that are still busy are cut.
const DRAIN: Duration = Duration::from_secs(30);
/// A connection without a request is closed only after this: one may be on its way.
const LAST_REQUESTS: Duration = Duration::from_millis(100);
/// A client that reads nothing of its answer for so long is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_mins(2);
/// When accepting fails (out of file descriptors), wait before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket: clients can connect, nobody is served yet.
pub enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// Binds all addresses of a listener.
pub async fn bind(bind: &Bind) -> Result<Vec<Socket>> {
    match bind {
        Bind::Tcp { addresses, port } => {
            let mut sockets = Vec::new();
            for address in addresses {
                match TcpListener::bind((address.as_str(), *port)).await {
                    Ok(listener) => sockets.push(Socket::Tcp(listener)),
                    // `::` may have taken the IPv4 port as well.
                    Err(error)
                        if error.kind() == ErrorKind::AddrInUse && address == "0.0.0.0" && !sockets.is_empty() => {}
                    // A machine without IPv6 still has its IPv4 address.
                    Err(error) if address == "::" && addresses.len() > 1 => {
                        tracing::warn!("cannot listen on [::]:{port}: {error}");
                    }
                    Err(error) => return Err(error).with_context(|| format!("cannot listen on {address} port {port}")),
                }
            }
            Ok(sockets)
        }
        Bind::Unix { path, mode } => {
            let listener = bind_unix(path, *mode).with_context(|| format!("cannot listen on {}", path.display()))?;
            Ok(vec![Socket::Unix(listener, path.clone())])
        }
    }
}

fn bind_unix(path: &Path, mode: u32) -> std::io::Result<UnixListener> {
    // A socket left behind by a crash; anything else in its place is not ours to remove.
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Serves until `stop`, then lets the requests under way finish.
pub async fn serve(socket: Socket, router: Router, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&socket) => accepted,
        };
        match accepted {
            Ok((Stream::Tcp(stream), peer)) => spawn(&graceful, stream, &router, peer),
            Ok((Stream::Unix(stream), peer)) => spawn(&graceful, stream, &router, peer),
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    if let Socket::Unix(_, path) = &socket {
        drop(std::fs::remove_file(path));
    }
    // Whoever was let in by the kernel is served, too.
    while let Some(Ok((stream, peer))) = accept(&socket).now_or_never() {
        match stream {
            Stream::Tcp(stream) => spawn(&graceful, stream, &router, peer),
            Stream::Unix(stream) => spawn(&graceful, stream, &router, peer),
        }
    }
    drop(socket);
    tokio::time::sleep(LAST_REQUESTS).await;
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("some connections were still busy after {} s and were cut", DRAIN.as_secs());
    }
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

async fn accept(socket: &Socket) -> std::io::Result<(Stream, Arc<str>)> {
    match socket {
        Socket::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Stream::Tcp(stream), address.ip().to_canonical().to_string().into()))
        }
        Socket::Unix(listener, path) => {
            let (stream, _) = listener.accept().await?;
            Ok((Stream::Unix(stream), path.display().to_string().into()))
        }
    }
}

fn spawn<S>(graceful: &GracefulShutdown, stream: S, router: &Router, peer: Arc<str>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router.clone().layer(axum::Extension(Peer(peer))));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(WriteTimeout::new(stream, WRITE_TIMEOUT)), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        // The peer's going away is its own affair.
        if let Err(error) = connection.await {
            tracing::debug!("connection: {error}");
        }
    });
}
