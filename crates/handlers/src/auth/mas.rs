//! Tokens of the Matrix Authentication Service, which says what they are. Answers to `synapse/api/auth/mas.py`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, PROXY_AUTHORIZATION};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use myelin_caches::Cache;
use myelin_config::Mas;
use myelin_model::{MatrixError, Requester};
use myelin_replication::connector::{Connector, Proxies, Versions, connector, describe, tls};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::{Handlers, Result};

const API: [&str; 2] = ["urn:matrix:client:api:*", "urn:matrix:org.matrix.msc2967.client:api:*"];
const DEVICE: [&str; 2] = ["urn:matrix:client:device:", "urn:matrix:org.matrix.msc2967.client:device:"];

/// How long an answer holds.
const CACHE_TIME: Duration = Duration::from_mins(2);
const CACHE_BYTES: usize = 16 << 20;
const RESPONSE_LIMIT: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_mins(1);

pub struct MasClient {
    address: String,
    metadata_address: String,
    secret: String,
    /// What the service says of itself, once it has said it.
    metadata: OnceCell<Value>,
    authorization: String,
    client: Client<Connector, Full<Bytes>>,
    proxies: Proxies,
    answers: Cache<Arc<str>, Arc<Introspection>>,
}

/// What the service says of a token.
#[derive(Debug)]
struct Introspection {
    answer: Answer,
    retrieved: Instant,
}

#[derive(Debug, Deserialize)]
struct Answer {
    active: bool,
    scope: Option<String>,
    username: Option<String>,
    device_id: Option<String>,
    /// Seconds; tokens of old sessions do not expire.
    expires_in: Option<i64>,
}

#[derive(Debug, thiserror::Error)]
enum MasError {
    #[error("request: {0}")]
    Request(#[from] http::Error),
    #[error("{}", describe(.0))]
    Client(#[from] hyper_util::client::legacy::Error),
    #[error("status {0}")]
    Status(http::StatusCode),
    #[error("answer: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("answer: {0}")]
    Json(#[from] serde_json::Error),
    #[error("issuer or account_management_uri is missing")]
    Metadata,
    #[error("no answer in time")]
    Timeout,
}

impl MasClient {
    pub fn new(config: &Mas) -> Self {
        let address = format!("{}/oauth2/introspect", config.endpoint);
        let proxies = Proxies::from_env(&address.parse().unwrap_or_default());
        let versions = if config.force_http2 { Versions::Http2 } else { Versions::Any };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .http2_only(config.force_http2)
            .build(connector(tls(config.endpoint.starts_with("https:")), versions, Some(proxies.clone())));
        Self {
            client,
            proxies,
            address,
            metadata_address: format!("{}/.well-known/openid-configuration", config.endpoint),
            secret: config.secret.clone(),
            metadata: OnceCell::new(),
            authorization: format!("Bearer {}", config.secret),
            answers: Cache::new(CACHE_BYTES, |token, introspection: &Arc<Introspection>| {
                token.len() + introspection.answer.scope.as_ref().map_or(0, String::len) + 300
            }),
        }
    }

    async fn introspect(&self, token: &str) -> std::result::Result<Arc<Introspection>, MasError> {
        if self.answers.get(token).is_some_and(|known| known.retrieved.elapsed() > CACHE_TIME) {
            self.answers.invalidate(token);
        }
        let ask = || async {
            let answer = tokio::time::timeout(TIMEOUT, self.ask(token)).await.map_err(|_| MasError::Timeout)??;
            Ok(Arc::new(Introspection { answer, retrieved: Instant::now() }))
        };
        self.answers.get_or_load(Arc::from(token), ask).await
    }

    async fn ask(&self, token: &str) -> std::result::Result<Answer, MasError> {
        let mut body = "token=".to_owned();
        body.extend(percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC));
        body.push_str("&token_type_hint=access_token");
        let mut request = Request::post(&self.address)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, HeaderValue::from_str(&self.authorization).map_err(http::Error::from)?)
            // The device may come as a value of its own instead of in the scope.
            .header("X-MAS-Supports-Device-Id", "1")
            .body(Full::from(body))?;
        Ok(serde_json::from_slice(&self.answer(&mut request).await?)?)
    }

    async fn answer(&self, request: &mut Request<Full<Bytes>>) -> std::result::Result<Bytes, MasError> {
        if let Some(authorization) = self.proxies.authorization(request.uri()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization);
        }
        let response = self.client.request(request.clone()).await?;
        if !response.status().is_success() {
            return Err(MasError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), RESPONSE_LIMIT).collect().await.map_err(MasError::Body)?;
        Ok(body.to_bytes())
    }

    async fn load_metadata(&self) -> std::result::Result<Value, MasError> {
        let mut request =
            Request::get(&self.metadata_address).header(ACCEPT, "application/json").body(Full::default())?;
        let answer =
            tokio::time::timeout(TIMEOUT, self.answer(&mut request)).await.map_err(|_| MasError::Timeout)??;
        let metadata: Value = serde_json::from_slice(&answer)?;
        let has = |key: &str| metadata[key].is_string();
        if has("issuer") && has("account_management_uri") { Ok(metadata) } else { Err(MasError::Metadata) }
    }
}

impl Introspection {
    fn is_active(&self) -> bool {
        let lasts =
            |seconds: i64| u64::try_from(seconds).is_ok_and(|s| self.retrieved.elapsed() < Duration::from_secs(s));
        self.answer.active && self.answer.expires_in.is_none_or(lasts)
    }

    fn scope(&self) -> BTreeSet<String> {
        let scope = self.answer.scope.as_deref().unwrap_or_default();
        scope.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// Sessions of old clients name the device, others carry it in their scope.
    fn device_id(&self, scope: &BTreeSet<String>) -> Result<Option<String>> {
        let device_id = if self.answer.device_id.is_some() {
            self.answer.device_id.clone()
        } else {
            let named = |word: &String| DEVICE.iter().find_map(|prefix| word.strip_prefix(prefix).map(str::to_owned));
            let mut devices: BTreeSet<String> = scope.iter().filter_map(named).collect();
            if devices.len() > 1 {
                return Err(MatrixError::new(500, "M_FORBIDDEN", "Multiple device IDs in scope"));
            }
            devices.pop_first()
        };
        match device_id.as_ref().map(|device_id| device_id.chars().count()) {
            None | Some(1..=255) => Ok(device_id),
            Some(_) => Err(MatrixError::new(500, "M_FORBIDDEN", "Invalid device ID in introspection result")),
        }
    }
}

impl Handlers {
    /// `auth_metadata`: what the service says of itself, remembered from its first answer on. Nothing without a service.
    pub async fn auth_metadata(&self) -> Result<Option<&Value>> {
        let Some(mas) = &self.auth.mas else { return Ok(None) };
        let load = || mas.load_metadata();
        let metadata = mas.metadata.get_or_try_init(load).await;
        let error = |error| MatrixError::internal(format!("{}: {error}", mas.metadata_address));
        metadata.map(Some).map_err(error)
    }

    /// `is_request_using_the_shared_secret`; nothing without a service.
    pub fn is_token_of_mas(&self, token: &str) -> Option<bool> {
        self.auth.mas.as_ref().map(|mas| mas.secret == token)
    }

    pub(super) async fn mas_requester(&self, mas: &MasClient, token: &str) -> Result<Requester> {
        let introspection = mas.introspect(token).await.map_err(|error| {
            let cause = format!("{}: {error}", mas.address);
            MatrixError { cause: Some(cause), ..MatrixError::unknown(503, "Unable to introspect the access token") }
        })?;
        let inactive = || MatrixError::unknown_token("Token is not active", false);
        if !introspection.is_active() {
            return Err(inactive());
        }
        let scope = introspection.scope();
        if !API.iter().any(|api| scope.contains(*api)) {
            return Err(MatrixError::unknown_token("Token doesn't grant access to the Matrix C-S API", false));
        }
        let username = introspection.answer.username.as_ref();
        let invalid = || MatrixError::new(500, "M_FORBIDDEN", "Invalid username claim in the introspection result");
        let user_id = format!("@{}:{}", username.ok_or_else(invalid)?, self.config.server.server_name);
        if self.storage.get_user_by_id(&user_id).await?.is_none() {
            return Err(MatrixError::new(500, "M_FORBIDDEN", "User not found"));
        }
        let device_id = introspection.device_id(&scope)?;
        if let Some(device_id) = &device_id
            && self.storage.get_device(&user_id, device_id).await?.is_none()
        {
            // Logged out: the service deletes the device before our copy of its answer expires.
            mas.answers.invalidate(token);
            return Err(inactive());
        }
        let user_id: Arc<str> = user_id.into();
        Ok(Requester {
            user_id: Arc::clone(&user_id),
            device_id: device_id.map(Arc::from),
            access_token_id: None,
            is_guest: false,
            shadow_banned: false,
            app_service: None,
            authenticated_entity: user_id,
            scope,
        })
    }
}
