//! Requests to other processes of the homeserver. Answers to `synapse/replication/http/_base.py`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use myelin_config::{Config, InstanceLocation};
use myelin_model::{MatrixError, StreamName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::connector::{Connector, Versions, base_uri, connector, describe, tls};

/// Python quotes everything but these.
const SAFE: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const ANSWER_WITHIN: Duration = Duration::from_mins(1);
/// A process that could not be reached is tried again a second later than the time before, at most after so many
/// seconds: it may be back at any moment, and all must be well within 5 s of it.
const MAX_WAIT: u64 = 3;
/// As long as Synapse, in seconds.
const RETRY_FOR: u64 = 60;
/// Tries of a request that was not answered in time.
const TIMEOUTS: u32 = 10;
const MAX_ANSWER: usize = 64 << 20;
const IDLE_TIMEOUT: Duration = Duration::from_mins(2);
const IDLE_CONNECTIONS: usize = 5;

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

impl From<HttpError> for MatrixError {
    fn from(error: HttpError) -> Self {
        let cause = Some(error.to_string());
        match error {
            HttpError::Refused(refusal) => refusal,
            HttpError::Unreachable { instance, .. } | HttpError::BadAnswer { instance, .. } => {
                Self { cause, ..Self::unknown(502, format!("Failed to talk to {instance} process")) }
            }
            HttpError::UnknownInstance(_) => Self::internal(error),
        }
    }
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
    http: legacy::Client<Connector, Full<Bytes>>,
    /// Where requests to each instance begin: `http://host:port`.
    bases: BTreeMap<String, String>,
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
        Self::of(&config.worker.instance_map, config.worker.replication_secret.as_deref())
    }

    /// `instances` by wire name.
    pub fn of(instances: &BTreeMap<String, InstanceLocation>, secret: Option<&str>) -> Self {
        let bases = instances.iter().map(|(name, location)| (name.clone(), base_uri(location))).collect();
        let tls = tls(instances.values().any(InstanceLocation::is_tls));
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_timer(TokioTimer::new())
            .build(connector(tls, Versions::Http1, None));
        let authorization = secret.map(|secret| format!("Bearer {secret}"));
        Self(Arc::new(Inner { http, bases, authorization }))
    }

    /// `ReplicationGetStreamUpdates`: rows in (`from`, `upto`] of a stream that is not in the database.
    pub async fn get_repl_stream_updates(
        &self,
        instance: &str,
        stream: StreamName,
        from: i64,
        upto: i64,
    ) -> Result<Updates, HttpError> {
        let path = path("get_repl_stream_updates", &[stream.as_str(), &transaction_id()]);
        let path = format!("{path}?from_token={from}&upto_token={upto}");
        let answer = self.request(instance, Method::GET, &path, Bytes::new()).await?;
        serde_json::from_value(answer).map_err(|error| bad_answer(instance, &error))
    }

    /// `ReplicationPresenceSetState`.
    pub async fn presence_set_state(&self, instance: &str, user_id: &str, body: &Value) -> Result<(), HttpError> {
        self.send(instance, "presence_set_state", &[user_id], Repeat::Harmless, body).await.map(drop)
    }

    /// `ReplicationBumpPresenceActiveTime`.
    pub async fn bump_presence_active_time(
        &self,
        instance: &str,
        user_id: &str,
        device_id: Option<&str>,
    ) -> Result<(), HttpError> {
        let body = json!({ "device_id": device_id });
        self.send(instance, "bump_presence_active_time", &[user_id], Repeat::Harmless, &body).await.map(drop)
    }

    /// Any endpoint that takes a POST. The answer may have `_INT_STREAM_POS`: what its writer wrote.
    pub async fn send(
        &self,
        instance: &str,
        name: &str,
        path_args: &[&str],
        repeat: Repeat,
        body: &(impl Serialize + Sync),
    ) -> Result<Value, HttpError> {
        let body = serde_json::to_vec(body).map_err(|error| bad_answer(instance, &error))?;
        let id = transaction_id();
        let mut args = path_args.to_vec();
        if repeat == Repeat::ById {
            args.push(&id);
        }
        self.request(instance, Method::POST, &path(name, &args), Bytes::from(body)).await
    }

    /// Tries until the process answers, within the bounds of `RETRY_FOR` and `TIMEOUTS`.
    async fn request(&self, instance: &str, method: Method, path: &str, body: Bytes) -> Result<Value, HttpError> {
        let (mut waited, mut timeouts) = (0, 0);
        loop {
            let (wait, reason) = match self.try_request(instance, method.clone(), path, body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Other(error)) => return Err(error),
                Err(Failure::Timeout) => {
                    timeouts += 1;
                    ((timeouts < TIMEOUTS).then_some(1), "no answer in time".to_owned())
                }
                Err(Failure::Connect(reason)) => {
                    let wait = MAX_WAIT.min(waited + 1);
                    waited += wait;
                    ((waited <= RETRY_FOR).then_some(wait), reason)
                }
            };
            let Some(wait) = wait else { return Err(unreachable(instance, reason)) };
            tracing::debug!("{instance} cannot be reached and will be tried again in {wait} s: {reason}");
            tokio::time::sleep(Duration::from_secs(wait)).await;
        }
    }

    async fn try_request(&self, instance: &str, method: Method, path: &str, body: Bytes) -> Result<Value, Failure> {
        let base = self.0.bases.get(instance);
        let base = base.ok_or_else(|| Failure::Other(HttpError::UnknownInstance(instance.to_owned())))?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{base}{path}"))
            .header(header::HOST, format!("{instance}:80"))
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.0.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body));
        let request = request.map_err(|error| Failure::Other(unreachable(instance, error.to_string())))?;
        let exchange = async {
            let response = self.0.http.request(request).await.map_err(|error| match describe(&error) {
                reason if error.is_connect() => Failure::Connect(reason),
                // It may have been understood: a repetition is for the caller to decide.
                reason => Failure::Other(unreachable(instance, reason)),
            })?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(|error| Failure::Other(unreachable(instance, error.to_string())))?;
            Ok::<_, Failure>((parts, body.to_bytes()))
        };
        let (parts, body) = tokio::time::timeout(ANSWER_WITHIN, exchange).await.map_err(|_| Failure::Timeout)??;
        if parts.status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| Failure::Other(bad_answer(instance, &error)));
        }
        Err(Failure::Other(HttpError::Refused(refusal(parts.status.as_u16(), &parts.headers, &body))))
    }
}

/// What makes it safe to send a request twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Nothing happens the second time.
    Harmless,
    /// `CACHE`: an id in the path, for which the other process remembers its answer.
    ById,
}

/// Without arguments it ends with a slash.
fn path(name: &str, args: &[&str]) -> String {
    let args: Vec<String> = args.iter().map(|arg| utf8_percent_encode(arg, &SAFE).to_string()).collect();
    format!("/_synapse/replication/{name}/{}", args.join("/"))
}

fn unreachable(instance: &str, reason: String) -> HttpError {
    HttpError::Unreachable { instance: instance.to_owned(), reason }
}

/// What the other process said, for the client.
fn refusal(status: u16, headers: &HeaderMap, body: &[u8]) -> MatrixError {
    let body: serde_json::Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let error = text("error").unwrap_or("Internal server error").to_owned();
    let mut refusal = MatrixError::unknown(status, error);
    for (key, value) in body.iter().filter(|(key, _)| *key != "error") {
        refusal.extra.insert(key.clone(), value.clone());
    }
    if let Some(wait) = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()) {
        refusal.headers.push(("Retry-After", wait.to_owned()));
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
