//! Requests to other servers: signed, repeated, and left out where a server has failed lately. Answers to
//! `MatrixFederationHttpClient` in `synapse/http/matrixfederationclient.py` and to `synapse/util/retryutils.py`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use myelin_config::Config;
use myelin_model::canonical_json;
use myelin_model::identifiers::is_valid_server_name;
use myelin_model::signing::{SignedRequest, SigningKey};
use myelin_replication::federation::{Agent, Outgoing, USER_AGENT};
use myelin_replication::{Command, Commands};
use myelin_storage::Storage;
use myelin_storage::transactions::RetryTimings;
use rand::RngExt;
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

use crate::now_ms;

/// Bytes of an answer. Synapse takes up to 100 MB, of anything; here only keys are asked for.
const MAX_RESPONSE_SIZE: usize = 1 << 20;
const FIRST_RETRY_AFTER: Duration = Duration::from_millis(500);
/// Retries are this much earlier or later, and longer and longer pauses as well.
const JITTER: std::ops::Range<f64> = 0.8..1.4;

/// What other servers are asked with.
pub struct FederationClient {
    config: Arc<Config>,
    storage: Storage,
    commands: Commands,
    /// Made with the first request: reading the system's certificates takes a while.
    agent: OnceCell<Result<Agent, String>>,
}

/// A request to a server.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    /// Sent by POST.
    pub content: Option<&'a Map<String, Value>>,
    /// For the head of the answer, and for its body. With it there is one attempt.
    pub timeout: Option<Duration>,
    /// Asked though it failed lately; another failure then does not count.
    pub ignore_backoff: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestFailed {
    #[error("Federation denied")]
    Denied,
    #[error("not retrying {0} because it failed recently")]
    NotRetrying(String),
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("{0}")]
    Send(String),
}

impl FederationClient {
    pub fn new(config: Arc<Config>, storage: Storage, commands: Commands) -> Self {
        Self { config, storage, commands, agent: OnceCell::new() }
    }

    /// `get_json` and `post_json`: the object that the server answers. `key`: what the request is signed with.
    pub async fn ask(&self, ask: Ask<'_>, key: &SigningKey) -> Result<Map<String, Value>, RequestFailed> {
        let whitelist = self.config.federation.domain_whitelist.as_ref();
        if !is_valid_server_name(ask.destination) || whitelist.is_some_and(|allowed| !allowed.contains(ask.destination))
        {
            return Err(RequestFailed::Denied);
        }
        let timings = self.storage.get_destination_retry_timings(ask.destination).await;
        let timings = timings.map_err(|error| RequestFailed::Send(error.to_string()))?;
        if !ask.ignore_backoff
            && timings.is_some_and(|timings| timings.retry_last_ts.saturating_add(timings.retry_interval) > now_ms())
        {
            return Err(RequestFailed::NotRetrying(ask.destination.to_owned()));
        }
        let sent = self.send_request(ask, key).await;
        self.remember(ask, timings, sent.as_ref().err());
        let answer = sent?;
        let is_json =
            answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
                value.split(';').next().is_some_and(|essence| essence.trim() == "application/json")
            });
        if !is_json {
            return Err(RequestFailed::Send("the answer is not application/json".to_owned()));
        }
        let body =
            tokio::time::timeout(self.timeout(ask), Limited::new(answer.into_body(), MAX_RESPONSE_SIZE).collect());
        let body = body.await.map_err(|_| RequestFailed::Send("timed out reading the answer".to_owned()))?;
        let body = body.map_err(|error| RequestFailed::Send(error.to_string()))?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| RequestFailed::Send(format!("the answer is odd: {error}")))
    }

    fn timeout(&self, ask: Ask<'_>) -> Duration {
        let default = u64::try_from(self.config.federation.client.client_timeout).unwrap_or_default();
        ask.timeout.unwrap_or(Duration::from_millis(default))
    }

    /// `_send_request`, with its attempts.
    async fn send_request(
        &self,
        ask: Ask<'_>,
        key: &SigningKey,
    ) -> Result<http::Response<hyper::body::Incoming>, RequestFailed> {
        let settings = &self.config.federation.client;
        let retries = if ask.timeout.is_some() { 0 } else { settings.max_short_retries };
        let longest = Duration::from_millis(u64::try_from(settings.max_short_retry_delay).unwrap_or_default());
        let mut pause = FIRST_RETRY_AFTER;
        let mut attempt = 0;
        loop {
            let sent = tokio::time::timeout(self.timeout(ask), self.send_once(ask, key)).await;
            let failed = match sent.unwrap_or_else(|_| Err("timed out".to_owned())) {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) => {
                    let status = answer.status();
                    if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS {
                        return Err(RequestFailed::Status(status));
                    }
                    format!("the server answered {status}")
                }
                Err(error) => error,
            };
            tracing::info!("request to {} failed: {}: {failed}", ask.destination, ask.path);
            if attempt == retries {
                return Err(RequestFailed::Send(failed));
            }
            attempt += 1;
            let jitter = rand::rng().random_range(JITTER);
            tokio::time::sleep(pause.min(longest).mul_f64(jitter)).await;
            pause = pause.saturating_mul(2);
        }
    }

    async fn send_once(&self, ask: Ask<'_>, key: &SigningKey) -> Result<http::Response<hyper::body::Incoming>, String> {
        let method = if ask.content.is_some() { Method::POST } else { Method::GET };
        let signed = SignedRequest {
            method: method.as_str(),
            uri: ask.path,
            origin: &self.config.server.server_name,
            destination: ask.destination,
            content: ask.content,
        };
        let signature = key.sign(&signed.text().map_err(|error| error.to_string())?);
        let authorization = format!(
            "X-Matrix origin=\"{}\",key=\"{}\",sig=\"{signature}\",destination=\"{}\"",
            signed.origin,
            key.id(),
            ask.destination
        );
        let authorization = HeaderValue::from_str(&authorization).map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(header::AUTHORIZATION, authorization);
        let mut body = Bytes::new();
        if let Some(content) = ask.content {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            body = canonical_json::encode_without(content, &[]).map_err(|error| error.to_string())?.into();
        }
        let config = Arc::clone(&self.config);
        let make = || async {
            let made = tokio::task::spawn_blocking(move || Agent::new(&config)).await;
            made.map_err(|error| error.to_string()).flatten()
        };
        let agent = self.agent.get_or_init(make).await.as_ref().map_err(Clone::clone)?;
        agent.request(Outgoing { method, destination: ask.destination, path: ask.path, headers, body }).await
    }

    /// `RetryDestinationLimiter`, beside the request: a server that failed is left alone, one that answers no longer.
    fn remember(&self, ask: Ask<'_>, known: Option<RetryTimings>, failed: Option<&RequestFailed>) {
        let settings = &self.config.federation.client;
        let known = known.unwrap_or(RetryTimings { failure_ts: None, retry_last_ts: 0, retry_interval: 0 });
        let next = match failed {
            None if known.retry_interval == 0 => return,
            None => RetryTimings { failure_ts: None, retry_last_ts: 0, retry_interval: 0 },
            // It is there, and refuses.
            Some(RequestFailed::Status(status)) if *status != StatusCode::UNAUTHORIZED => return,
            Some(_) if ask.ignore_backoff => return,
            Some(_) => {
                let now = now_ms();
                let factor = settings.retry_multiplier * rand::rng().random_range(JITTER);
                let retry_interval = match known.retry_interval {
                    0 => settings.min_retry_interval,
                    before => longer(before, factor).min(settings.max_retry_interval),
                };
                RetryTimings { failure_ts: Some(known.failure_ts.unwrap_or(now)), retry_last_ts: now, retry_interval }
            }
        };
        let is_back = known.failure_ts.is_some() && next.failure_ts.is_none();
        let (storage, commands) = (self.storage.clone(), self.commands.clone());
        let destination = ask.destination.to_owned();
        tokio::spawn(async move {
            match storage.set_destination_retry_timings(&destination, next, now_ms()).await {
                Ok(()) if is_back => commands.send(&Command::RemoteServerUp { server: destination }),
                Ok(()) => {}
                Err(error) => tracing::error!("cannot remember whether {destination} answers: {error}"),
            }
        });
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "milliseconds of at most centuries")]
fn longer(interval: i64, factor: f64) -> i64 {
    (interval as f64 * factor) as i64
}
