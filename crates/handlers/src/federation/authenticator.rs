//! Which server asks. Answers to `Authenticator` in `synapse/federation/transport/server/_base.py`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::{HashMap, HashSet};
use myelin_model::MatrixError;
use myelin_model::identifiers::is_valid_server_name;
use myelin_model::signing::SignedRequest;
use myelin_replication::Command;
use myelin_storage::transactions::RetryTimings;
use serde_json::{Map, Value};

use crate::keyring::Verified;
use crate::python_text::repr_text;
use crate::{Handlers, Result, now_ms};

/// Headers of one request that are looked at; nobody has more than two keys.
const MAX_HEADERS: usize = 20;

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct ServerRequest<'a> {
    pub method: &'a str,
    /// Path and query, byte for byte.
    pub uri: &'a str,
    /// The `Authorization` headers.
    pub authorization: &'a [&'a [u8]],
    /// The body of PUT and POST.
    pub content: Option<&'a Map<String, Value>>,
}

/// Who made a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// `NoAuthenticationError`: it does not say. Some routes are for everybody.
    Nobody,
    Server(Arc<str>),
    /// It cannot be told here.
    Undecided(&'static str),
}

/// `NoAuthenticationError`
pub fn missing_authentication() -> MatrixError {
    unauthorized(401, "Missing Authorization headers")
}

pub(crate) fn unauthorized(status: u16, error: impl Into<String>) -> MatrixError {
    MatrixError::new(status, "M_UNAUTHORIZED", error)
}

/// `FederationDeniedError`
pub fn federation_denied(server: Option<&str>) -> MatrixError {
    MatrixError::forbidden(format!("Federation denied with {}.", server.unwrap_or("None")))
}

/// One `X-Matrix` header.
#[derive(Debug, PartialEq, Eq)]
struct XMatrix {
    origin: String,
    key: String,
    signature: String,
    destination: Option<String>,
}

/// `_parse_auth_header`. Commas and quotes are taken as Synapse takes them, which is not as RFC 9110 says.
fn parse(header: &[u8]) -> Option<XMatrix> {
    let text = str::from_utf8(header).ok()?.strip_prefix("X-Matrix")?;
    let parameters = text.trim_start_matches(' ');
    if parameters.len() == text.len() {
        return None;
    }
    let mut named = HashMap::new();
    for parameter in parameters.split(',') {
        let (name, value) = parameter.trim_matches([' ', '\t']).split_once('=')?;
        named.insert(name.to_lowercase(), unquote(value));
    }
    let origin = named.remove("origin")?;
    if !is_valid_server_name(&origin) {
        return None;
    }
    let (key, signature) = (named.remove("key")?, named.remove("sig")?);
    Some(XMatrix { origin, key, signature, destination: named.remove("destination") })
}

/// What begins with a quote loses its first and last character, and its backslashes.
fn unquote(value: &str) -> String {
    if !value.starts_with('"') {
        return value.to_owned();
    }
    let mut inner = value.chars();
    inner.next();
    inner.next_back();
    let mut out = String::new();
    while let Some(c) = inner.next() {
        match c {
            '\\' => out.push(inner.next().unwrap_or('\\')),
            c => out.push(c),
        }
    }
    out
}

impl Handlers {
    /// `authenticate_request`
    pub async fn authenticate_server(&self, request: ServerRequest<'_>) -> Result<Caller> {
        if request.authorization.is_empty() {
            return Ok(Caller::Nobody);
        }
        let mut origin = None;
        let mut signatures: HashMap<String, Vec<(String, String)>> = HashMap::new();
        let headers = request.authorization.iter().take(MAX_HEADERS);
        for header in headers.filter(|header| header.starts_with(b"X-Matrix")) {
            let Some(parsed) = parse(header) else {
                tracing::warn!("malformed Authorization header of a server");
                return Err(unauthorized(400, "Malformed Authorization header"));
            };
            if let Some(received) = parsed.destination.filter(|name| *name != self.config.server.server_name) {
                let received = repr_text(&received);
                let error = format!("Destination mismatch in auth header, received: {received}");
                return Err(unauthorized(401, error));
            }
            let known = signatures.entry(parsed.origin.clone()).or_default();
            known.retain(|(key, _)| *key != parsed.key);
            known.push((parsed.key, parsed.signature));
            // The last one is who asks.
            origin = Some(parsed.origin);
        }
        let whitelist = self.config.federation.domain_whitelist.as_ref();
        if whitelist.is_some_and(|allowed| origin.as_ref().is_none_or(|origin| !allowed.contains(origin))) {
            return Err(federation_denied(origin.as_deref()));
        }
        let Some(origin) = origin else { return Ok(Caller::Nobody) };
        let signatures = signatures.remove(&origin).unwrap_or_default();
        self.verify_request(Arc::from(origin), request, &signatures).await
    }

    async fn verify_request(
        &self,
        origin: Arc<str>,
        request: ServerRequest<'_>,
        signatures: &[(String, String)],
    ) -> Result<Caller> {
        let signed = SignedRequest {
            method: request.method,
            uri: request.uri,
            origin: &origin,
            destination: &self.config.server.server_name,
            content: request.content,
        };
        let text = signed.text().map_err(MatrixError::internal)?;
        match self.verify_for_server(&origin, &text, signatures, now_ms()).await? {
            Verified::Yes => {}
            Verified::Undecided(reason) => return Ok(Caller::Undecided(reason)),
        }
        // Who signs a request is there again.
        if self.storage.get_destination_retry_timings(&origin).await?.is_some() {
            self.mark_as_up(&origin);
        }
        Ok(Caller::Server(origin))
    }
}

/// Servers that are being marked as up. Not more at once: the next request of the others marks them.
const MARKED_AT_ONCE: usize = 100;

/// Which they are.
#[derive(Clone, Default)]
pub struct MarkedAsUp(Arc<Mutex<HashSet<Arc<str>>>>);

impl MarkedAsUp {
    fn servers(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody else does it.
    fn begin(&self, server: &Arc<str>) -> bool {
        let mut servers = self.servers();
        servers.len() < MARKED_AT_ONCE && servers.insert(Arc::clone(server))
    }
}

impl Handlers {
    /// `reset_retry_timings`, beside the request: it is tried again to send to the server.
    fn mark_as_up(&self, origin: &Arc<str>) {
        if !self.marked_as_up.begin(origin) {
            return;
        }
        let (storage, commands) = (self.storage.clone(), self.commands.clone());
        let (marked, origin) = (self.marked_as_up.clone(), Arc::clone(origin));
        tokio::spawn(async move {
            tracing::info!("marking {origin} as up");
            match storage.set_destination_retry_timings(&origin, RetryTimings::default(), now_ms()).await {
                Ok(()) => commands.send(&Command::RemoteServerUp { server: origin.to_string() }),
                Err(error) => tracing::error!("cannot mark {origin} as up: {error}"),
            }
            marked.servers().remove(&origin);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin_and_key(header: &str) -> Option<(String, String)> {
        parse(header.as_bytes()).map(|parsed| (parsed.origin, parsed.key))
    }

    #[test]
    fn headers() {
        let expected = Some(("a.test:8448".to_owned(), "ed25519:1".to_owned()));
        for good in [
            r#"X-Matrix origin=a.test:8448,key="ed25519:1",sig="x""#,
            r#"X-Matrix   origin="a.test:8448" ,	KEY="ed25519:1" , sig="x",destination="b",other=y"#,
            r#"X-Matrix origin=b.test,origin="a.tes\t:8448",key="ed25519\:1",sig=x"#,
            r#"X-Matrix origin="a.test:8448x,key="ed25519:1',sig="#,
        ] {
            assert_eq!(origin_and_key(good), expected, "{good}");
        }
        for bad in [
            "X-Matrix",
            "X-Matrix ",
            "X-Matrixorigin=a.test,key=k,sig=s",
            "X-Matrix\torigin=a.test,key=k,sig=s",
            "X-Matrix origin=a.test,key=k",
            "X-Matrix origin=a.test,key=k,sig",
            "X-Matrix origin=a.test,key=k,sig=s,",
            "X-Matrix origin=a_b,key=k,sig=s",
            "X-Matrix origin=,key=k,sig=s",
            "X-Matrix origin= a.test,key=k,sig=s",
        ] {
            assert_eq!(origin_and_key(bad), None, "{bad}");
        }
        assert_eq!(parse(b"X-Matrix origin=a.test,key=\xff,sig=s"), None);
    }

    #[test]
    fn quotes() {
        for (text, expected) in [
            ("a", "a"),
            (r#""a""#, "a"),
            (r#""a\"b\\""#, r#"a"b\"#),
            ("\"", ""),
            (r#""abc"#, "ab"),
            (r#"a"b""#, r#"a"b""#),
        ] {
            assert_eq!(unquote(text), expected, "{text}");
        }
    }
}
