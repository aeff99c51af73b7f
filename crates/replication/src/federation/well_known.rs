//! Servers that say where they are in `.well-known`. Answers to `synapse/http/federation/well_known_resolver.py`.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::StatusCode;
use hyper_util::client::legacy::Client;
use myelin_config::{IpRange, is_blocked};
use rand::RngExt;
use serde::Deserialize;
use tokio::time::Instant;

use super::servers::literal;
use crate::connector::{Connector, Proxies, describe};

const DEFAULT_CACHE_PERIOD: Duration = Duration::from_hours(24);
const INVALID_CACHE_PERIOD: Duration = Duration::from_hours(1);
const DOWN_CACHE_PERIOD: Duration = Duration::from_mins(2);
const REMEMBER_DOMAIN_HAD_VALID: Duration = Duration::from_hours(2);
const MAX_CACHE_PERIOD: Duration = Duration::from_hours(48);
const MIN_CACHE_PERIOD: Duration = Duration::from_mins(5);
const JITTER: f64 = 0.1;
const MAX_SIZE: usize = 50 * 1024;
/// A fifth of its time before it ends, an answer is asked for again.
const GRACE_PERIOD_FACTOR: f64 = 0.2;
const RETRY_ATTEMPTS: usize = 3;
const RETRY_AFTER: Duration = Duration::from_millis(500);
const MAX_REDIRECTS: usize = 20;
/// Servers that are remembered, which Synapse does not bound.
const KEPT: usize = 10_000;

/// Values until a time.
struct Ttl<K, V>(Mutex<HashMap<K, (V, Instant, Duration)>>);

impl<K: Hash + Eq + Clone, V: Clone> Ttl<K, V> {
    fn new() -> Self {
        Self(Mutex::default())
    }

    /// With the time at which it ends, and how long it was to last.
    fn get(&self, key: &K) -> Option<(V, Instant, Duration)> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).filter(|(_, end, _)| *end > Instant::now()).cloned()
    }

    fn set(&self, key: K, value: V, period: Duration) {
        let (mut entries, now) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        if entries.len() >= KEPT && !entries.contains_key(&key) {
            entries.retain(|_, (_, end, _)| *end > now);
            if entries.len() >= KEPT
                && let Some(any) = entries.keys().next().cloned()
            {
                entries.remove(&any);
            }
        }
        entries.insert(key, (value, now + period, period));
    }
}

/// `_FetchWellKnownFailure`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failure {
    is_temporary: bool,
}

pub struct WellKnownResolver {
    client: Client<Connector, Full<Bytes>>,
    proxies: Proxies,
    blocked: Vec<IpRange>,
    user_agent: String,
    found: Ttl<String, Option<String>>,
    had_valid: Ttl<String, bool>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "m.server")]
    server: String,
}

struct Fetched {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl WellKnownResolver {
    pub fn new(
        client: Client<Connector, Full<Bytes>>,
        proxies: Proxies,
        blocked: Vec<IpRange>,
        user_agent: String,
    ) -> Self {
        Self { client, proxies, blocked, user_agent, found: Ttl::new(), had_valid: Ttl::new() }
    }

    /// `get_well_known`: which server `name` says stands for it.
    pub async fn get(&self, name: &str) -> Option<String> {
        self.get_at(name, &format!("https://{name}/.well-known/matrix/server")).await
    }

    async fn get_at(&self, name: &str, uri: &str) -> Option<String> {
        let key = name.to_owned();
        let known = self.found.get(&key);
        if let Some((server, end, period)) = &known
            && Instant::now() + period.mul_f64(GRACE_PERIOD_FACTOR) < *end
        {
            return server.clone();
        }
        let had_valid = self.had_valid.get(&key).is_some_and(|(had, ..)| had);
        match self.fetch(uri, had_valid).await {
            Ok((server, period)) => {
                // Remembered for longer than the answer itself.
                let remembered = period.unwrap_or(DEFAULT_CACHE_PERIOD) + REMEMBER_DOMAIN_HAD_VALID;
                self.had_valid.set(key.clone(), !server.is_empty(), remembered);
                let server = Some(server).filter(|server| !server.is_empty());
                self.found.set(key, server.clone(), period.unwrap_or_else(|| jittered(DEFAULT_CACHE_PERIOD)));
                server
            }
            Err(failure) => {
                if failure.is_temporary
                    && let Some((Some(server), ..)) = known
                {
                    return Some(server);
                }
                let period = if had_valid { DOWN_CACHE_PERIOD } else { INVALID_CACHE_PERIOD };
                self.found.set(key, None, jittered(period));
                None
            }
        }
    }

    /// `_fetch_well_known`: the server, and for how long, if that is said.
    async fn fetch(&self, uri: &str, retry: bool) -> Result<(String, Option<Duration>), Failure> {
        let fetched = self.request(uri, retry).await?;
        let parsed = if fetched.status == StatusCode::OK {
            serde_json::from_slice::<Body>(&fetched.body).ok().filter(|body| body.server.is_ascii())
        } else {
            None
        };
        let Some(body) = parsed else {
            tracing::info!("{uri} says nothing of a server: {}", fetched.status);
            return Err(Failure { is_temporary: false });
        };
        let period = cache_period(&fetched.headers, SystemTime::now());
        Ok((body.server, period.map(|period| period.clamp(MIN_CACHE_PERIOD, MAX_CACHE_PERIOD))))
    }

    /// `_make_well_known_request`
    async fn request(&self, uri: &str, retry: bool) -> Result<Fetched, Failure> {
        let attempts = if retry { RETRY_ATTEMPTS } else { 1 };
        for attempt in 1..=attempts {
            match self.request_once(uri).await {
                Ok(Some(fetched)) if !fetched.status.is_server_error() => return Ok(fetched),
                Ok(None) => {
                    tracing::warn!("{uri} is larger than {MAX_SIZE} bytes");
                    return Err(Failure { is_temporary: true });
                }
                Ok(Some(fetched)) => tracing::info!("{uri} fails: {}", fetched.status),
                Err(error) => tracing::info!("{uri} cannot be fetched: {error}"),
            }
            if attempt < attempts {
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
        Err(Failure { is_temporary: true })
    }

    /// With its redirects. None: it is too large.
    async fn request_once(&self, uri: &str) -> io::Result<Option<Fetched>> {
        let mut uri: Uri = uri.parse().map_err(io::Error::other)?;
        for _ in 0..=MAX_REDIRECTS {
            // Those that names lead to, the connector looks at.
            if let Some(address) = uri.host().and_then(literal)
                && is_blocked(address, &self.blocked, &[])
            {
                return Err(io::Error::other(format!("the address {address} is blocked")));
            }
            let mut request = Request::builder().method(Method::GET).uri(uri.clone());
            request = request.header(header::USER_AGENT, &self.user_agent);
            if let Some(authorization) = self.proxies.authorization(&uri) {
                request = request.header(header::PROXY_AUTHORIZATION, authorization);
            }
            let request = request.body(Full::default()).map_err(io::Error::other)?;
            let answer = self.client.request(request).await.map_err(|error| io::Error::other(describe(&error)))?;
            let (parts, body) = answer.into_parts();
            if is_redirect(parts.status) {
                let location = parts.headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
                let location = location.and_then(|location| join(&uri, location));
                uri = location.ok_or_else(|| io::Error::other("it redirects to nowhere"))?;
                continue;
            }
            let body = match Limited::new(body, MAX_SIZE).collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => return Ok(None),
                Err(error) => return Err(io::Error::other(error)),
            };
            return Ok(Some(Fetched { status: parts.status, headers: parts.headers, body }));
        }
        Err(io::Error::other("it redirects too often"))
    }
}

fn jittered(period: Duration) -> Duration {
    period.mul_f64(rand::rng().random_range(1.0 - JITTER..1.0 + JITTER))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// `urljoin`, for what servers write in `Location`.
fn join(base: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next()?;
    if location.starts_with("//") {
        return format!("{}:{location}", base.scheme_str()?).parse().ok();
    }
    if location.contains("://") {
        let uri: Uri = location.parse().ok()?;
        let is_web = [Scheme::HTTP, Scheme::HTTPS].iter().any(|scheme| uri.scheme() == Some(scheme));
        return is_web.then_some(uri);
    }
    let path = if location.starts_with('/') {
        location.to_owned()
    } else {
        let (folder, _) = base.path().rsplit_once('/')?;
        format!("{folder}/{location}")
    };
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

/// `_cache_period_from_headers`; nothing when they do not say.
fn cache_period(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let texts = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut max_age = None;
    for directive in texts.flat_map(|text| text.split(',')) {
        let (name, value) = directive.split_once('=').map_or((directive, None), |(name, value)| (name, Some(value)));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" => return Some(Duration::ZERO),
            "max-age" => max_age = value.and_then(|value| value.trim().parse::<i64>().ok()),
            _ => {}
        }
    }
    if let Some(seconds) = max_age {
        return Some(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()));
    }
    let expires = headers.get_all(header::EXPIRES).iter().next_back()?;
    // What is no date is in the past.
    let expires = expires.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok());
    Some(expires.and_then(|expires| expires.duration_since(now).ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests;
