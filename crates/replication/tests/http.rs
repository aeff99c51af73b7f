//! The HTTP client against a server that answers as it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use myelin_config::InstanceLocation;
use myelin_model::{MatrixError, StreamName};
use myelin_replication::http::Repeat;
use myelin_replication::{Client, HttpError};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

const USER: &str = "@alice:lab.test";

#[derive(Debug)]
struct Seen {
    line: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// What arrived, in order; and how often somebody connected.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<(Vec<Seen>, u32)>>);

impl Log {
    fn lock(&self) -> MutexGuard<'_, (Vec<Seen>, u32)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.lock().0)
    }

    fn connections(&self) -> u32 {
        self.lock().1
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, status: u16, answer: Value) {
        self.lock().1 += 1;
        let service = service_fn(move |request: Request<Incoming>| {
            let (log, answer) = (self.clone(), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = String::from_utf8_lossy(&body.collect().await?.to_bytes()).into_owned();
                let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
                let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
                log.lock().0.push(Seen { line: format!("{} {}", parts.method, parts.uri), headers, body });
                let answer = Full::new(Bytes::from(answer.to_string()));
                let response = Response::builder().status(status).header("Retry-After", "2").body(answer);
                Ok::<_, hyper::Error>(response.expect("a valid status and header"))
            }
        });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }
}

fn serve(listener: TcpListener, status: u16, answer: Value) -> Log {
    let log = Log::default();
    let serving = log.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serving.clone().serve(stream, status, answer.clone()));
        }
    });
    log
}

async fn server(status: u16, answer: Value) -> Result<(Client, Log)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = client("master", tcp(listener.local_addr()?.port()));
    Ok((client, serve(listener, status, answer)))
}

fn tcp(port: u16) -> InstanceLocation {
    InstanceLocation::Tcp { host: "127.0.0.1".to_owned(), port, tls: false }
}

fn client(name: &str, location: InstanceLocation) -> Client {
    Client::of(&BTreeMap::from([(name.to_owned(), location)]), Some("pssst"))
}

#[tokio::test]
async fn presence_is_posted() -> Result<()> {
    let (client, log) = server(200, json!({})).await?;
    let body = json!({"device_id": "D", "state": {"presence": "online"}, "force_notify": false, "is_sync": true});
    client.presence_set_state("master", USER, &body).await?;
    client.bump_presence_active_time("master", USER, None).await?;
    let seen = log.take();
    assert_eq!(seen[0].line, "POST /_synapse/replication/presence_set_state/%40alice%3Alab.test");
    assert_eq!(serde_json::from_str::<Value>(&seen[0].body)?, body);
    for (name, value) in
        [("authorization", "Bearer pssst"), ("host", "master:80"), ("content-type", "application/json")]
    {
        assert_eq!(seen[0].headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(seen[1].line, "POST /_synapse/replication/bump_presence_active_time/%40alice%3Alab.test");
    assert_eq!(seen[1].body, r#"{"device_id":null}"#);
    assert_eq!(log.connections(), 1, "the connection is kept");
    Ok(())
}

#[tokio::test]
async fn updates_come_over_a_unix_socket() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("Main_1.sock");
    let listener = UnixListener::bind(&path)?;
    let log = Log::default();
    let serving = log.clone();
    tokio::spawn(async move {
        let answer = json!({"updates": [[4, ["!r:t", ["@a:t"]]]], "upto_token": 5, "limited": false});
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serving.clone().serve(stream, 200, answer.clone()));
        }
    });
    let client = client("w2", InstanceLocation::Unix { path });
    let mut ids = Vec::new();
    for _ in 0..2 {
        let answer = client.get_repl_stream_updates("w2", StreamName::Typing, 3, 5).await?;
        assert_eq!(answer.updates, [(4, json!(["!r:t", ["@a:t"]]))]);
        assert_eq!((answer.upto_token, answer.limited), (5, false));
        let seen = log.take().pop().context("nothing arrived")?;
        let rest = seen.line.strip_prefix("GET /_synapse/replication/get_repl_stream_updates/typing/");
        let (id, query) = rest.and_then(|rest| rest.split_once('?')).context(seen.line.clone())?;
        assert_eq!((id.len(), query, seen.body.as_str()), (10, "from_token=3&upto_token=5", ""));
        ids.push(id.to_owned());
    }
    assert_ne!(ids[0], ids[1]);
    Ok(())
}

#[tokio::test]
async fn endpoints_without_arguments_end_with_a_slash() -> Result<()> {
    let (client, log) = server(200, json!({"_INT_STREAM_POS": {"events": 13}})).await?;
    let answer = client.send("master", "handle_new_device_update", &[], Repeat::Harmless, &json!({})).await?;
    assert_eq!(answer, json!({"_INT_STREAM_POS": {"events": 13}}));
    client.send("master", "remote_join", &["!r:t", "a/b"], Repeat::ById, &json!({})).await?;
    let seen = log.take();
    assert_eq!(seen[0].line, "POST /_synapse/replication/handle_new_device_update/");
    assert!(seen[1].line.starts_with("POST /_synapse/replication/remote_join/%21r%3At/a%2Fb/"), "{}", seen[1].line);
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_relayed() -> Result<()> {
    let body = json!({"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests", "retry_after_ms": 1500});
    let (client, log) = server(429, body.clone()).await?;
    let error = client.presence_set_state("master", USER, &json!({})).await.err().context("it was refused")?;
    let refusal = MatrixError::from(error);
    assert_eq!((refusal.status, refusal.body()), (429, body));
    assert_eq!(refusal.headers, [("Retry-After", "2".to_owned())]);
    assert_eq!(log.take().len(), 1, "a refusal is not repeated");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_understood_is_a_bad_gateway() -> Result<()> {
    let (client, _log) = server(200, json!(["no updates"])).await?;
    let error = client.get_repl_stream_updates("master", StreamName::Typing, 0, 1).await.err().context("nonsense")?;
    assert!(matches!(error, HttpError::BadAnswer { .. }), "{error}");
    let error = MatrixError::from(error);
    assert_eq!((error.status, error.error.as_str()), (502, "Failed to talk to master process"));
    let error = client.presence_set_state("w9", USER, &json!({})).await.err().context("nobody")?;
    assert!(matches!(error, HttpError::UnknownInstance(_)), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_process_that_starts_later_is_reached() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    drop(listener);
    let client = client("master", tcp(address.port()));
    let body = json!({});
    let request = client.presence_set_state("master", USER, &body);
    tokio::pin!(request);
    // The first try is refused at once; the second comes a second later.
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut request).await.is_err(), "it does not give up");
    let log = serve(TcpListener::bind(address).await?, 200, json!({}));
    request.await?;
    assert_eq!(log.take().len(), 1);
    Ok(())
}
