//! Requests to other processes of the homeserver. Answers to `synapse/replication/http/_base.py`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use myelin_config::{Config, InstanceLocation};
use myelin_model::{MatrixError, StreamName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Python quotes everything but these.
const SAFE: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const ANSWER_WITHIN: Duration = Duration::from_mins(1);
/// Waits before a process that could not be reached is tried again.
const RETRIES: [u64; 6] = [1, 2, 4, 8, 16, 32];
/// Tries of a request that was not answered in time.
const TIMEOUTS: u32 = 10;
const MAX_ANSWER: usize = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The other process refused; its answer is for the client.
    #[error("{0}")]
    Refused(MatrixError),
    #[error("{instance} cannot be reached: {reason}")]
    Unreachable { instance: String, reason: String },
    #[error("the instance_map has no {0}")]
    UnknownInstance(String),
    #[error("{instance} gave an answer that cannot be understood: {reason}")]
    BadAnswer { instance: String, reason: String },
}

/// What a stream's writer has in its memory.
#[derive(Debug, Deserialize)]
pub struct Updates {
    pub updates: Vec<(i64, Value)>,
    pub upto_token: i64,
    pub limited: bool,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    instances: BTreeMap<String, InstanceLocation>,
    /// `Bearer …`
    authorization: Option<String>,
}

/// Whether a retry can help.
enum Failure {
    Connect(String),
    Timeout,
    Other(HttpError),
}

impl Client {
    pub fn new(config: &Config) -> Self {
        let authorization = config.worker.replication_secret.as_ref().map(|secret| format!("Bearer {secret}"));
        Self(Arc::new(Inner { instances: config.worker.instance_map.clone(), authorization }))
    }

    /// `ReplicationGetStreamUpdates`: rows in (`from`, `upto`] of a stream that is not in the database.
    pub async fn get_repl_stream_updates(
        &self,
        instance: &str,
        stream: StreamName,
        from: i64,
        upto: i64,
    ) -> Result<Updates, HttpError> {
        let path = format!(
            "/_synapse/replication/get_repl_stream_updates/{}/{}?from_token={from}&upto_token={upto}",
            stream.as_str(),
            transaction_id()
        );
        let answer = self.request(instance, Method::GET, &path, Bytes::new()).await?;
        serde_json::from_value(answer).map_err(|error| bad_answer(instance, &error))
    }

    /// `ReplicationPresenceSetState`.
    pub async fn presence_set_state(&self, instance: &str, user_id: &str, body: &Value) -> Result<(), HttpError> {
        let path = format!("/_synapse/replication/presence_set_state/{}", utf8_percent_encode(user_id, &SAFE));
        self.request(instance, Method::POST, &path, Bytes::from(body.to_string())).await.map(drop)
    }

    /// Tries until the process answers, within the bounds of `RETRIES` and `TIMEOUTS`.
    async fn request(&self, instance: &str, method: Method, path: &str, body: Bytes) -> Result<Value, HttpError> {
        let mut waits = RETRIES.iter();
        let mut timeouts = 0;
        loop {
            let (wait, reason) = match self.try_request(instance, method.clone(), path, body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Other(error)) => return Err(error),
                Err(Failure::Timeout) => {
                    timeouts += 1;
                    ((timeouts < TIMEOUTS).then_some(1), "no answer in time".to_owned())
                }
                Err(Failure::Connect(reason)) => (waits.next().copied(), reason),
            };
            let Some(wait) = wait else {
                return Err(HttpError::Unreachable { instance: instance.to_owned(), reason });
            };
            tracing::warn!("{instance} cannot be reached and will be tried again in {wait} s: {reason}");
            tokio::time::sleep(Duration::from_secs(wait)).await;
        }
    }

    async fn try_request(&self, instance: &str, method: Method, path: &str, body: Bytes) -> Result<Value, Failure> {
        let location = self.0.instances.get(instance);
        let location = location.ok_or_else(|| Failure::Other(HttpError::UnknownInstance(instance.to_owned())))?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, format!("{instance}:80"))
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.0.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let bad = |error: &dyn std::fmt::Display| Failure::Other(bad_answer(instance, error));
        let request = request.body(Full::new(body)).map_err(|error| bad(&error))?;
        let exchange = async {
            match location {
                InstanceLocation::Tcp { tls: true, .. } => {
                    Err(Failure::Connect("TLS between workers is not supported".to_owned()))
                }
                InstanceLocation::Tcp { host, port, .. } => {
                    let host = host.trim_start_matches('[').trim_end_matches(']');
                    send(TcpStream::connect((host, *port)).await, request).await
                }
                InstanceLocation::Unix { path } => send(UnixStream::connect(path).await, request).await,
            }
        };
        let (status, body) = tokio::time::timeout(ANSWER_WITHIN, exchange).await.map_err(|_| Failure::Timeout)??;
        if status == http::StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| bad(&error));
        }
        Err(Failure::Other(HttpError::Refused(refusal(status.as_u16(), &body))))
    }
}

async fn send<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: std::io::Result<S>,
    request: Request<Full<Bytes>>,
) -> Result<(http::StatusCode, Bytes), Failure> {
    let connect = |error: &dyn std::fmt::Display| Failure::Connect(error.to_string());
    let stream = stream.map_err(|error| connect(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| connect(&error))?;
    // Ends when the answer is read and the sender is dropped.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| connect(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| Failure::Connect(error.to_string()))?;
    Ok((status, body.to_bytes()))
}

/// What the other process said, for the client.
fn refusal(status: u16, body: &[u8]) -> MatrixError {
    let body: serde_json::Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let error = text("error").unwrap_or("Internal server error").to_owned();
    let mut refusal = MatrixError::unknown(status, error);
    for (key, value) in body.iter().filter(|(key, _)| *key != "error") {
        refusal.extra.insert(key.clone(), value.clone());
    }
    refusal
}

fn bad_answer(instance: &str, error: &dyn std::fmt::Display) -> HttpError {
    HttpError::BadAnswer { instance: instance.to_owned(), reason: error.to_string() }
}

/// Ten letters; the other process answers a repeated one from its memory.
fn transaction_id() -> String {
    (0..10).map(|_| char::from(rand::random_range(b'a'..=b'z'))).collect()
}
