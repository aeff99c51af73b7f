//! The access log line, as log parsers know it from Synapse. Answers to `synapse/http/site.py`.

use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;

static TOKEN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"([?&]access_token)=[^&]*").ok());

/// What one finished request was.
pub struct Finished<'a> {
    /// First X-Forwarded-For entry, or the peer.
    pub client: &'a str,
    /// Port, tag or socket path of the listener.
    pub site: &'a str,
    pub method: &'a str,
    /// Raw path and query.
    pub uri: &'a str,
    pub status: u16,
    pub user_agent: &'a str,
    pub took: Duration,
    pub bytes: u64,
    pub fallback: bool,
}

/// Database times are not measured per request, hence the zeros.
pub fn log(finished: &Finished<'_>) {
    let Finished { client, site, method, status, user_agent, took, bytes, fallback, .. } = finished;
    let uri = redact(finished.uri);
    let took = took.as_secs_f64();
    let via = if *fallback { " via fallback" } else { "" };
    tracing::info!(
        target: "synapse.access.http",
        "{client} - {site} - {{None}} Processed request: {took:.3}sec/0.000sec ru=(0.000sec, 0.000sec) \
         db=(0.000sec/0.000sec/0) {bytes}B {status} \"{method} {uri} HTTP/1.1\" \"{user_agent}\" [0 dbevts]{via}"
    );
}

/// A token in the query must not reach a log.
pub fn redact(uri: &str) -> String {
    TOKEN.as_ref().map_or_else(
        || uri.split('?').next().unwrap_or_default().to_owned(),
        |pattern| pattern.replace_all(uri, "$1=<redacted>").into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_not_logged() {
        assert_eq!(redact("/sync?access_token=secret&x=1"), "/sync?access_token=<redacted>&x=1");
        assert_eq!(redact("/sync?x=1&access_token=secret"), "/sync?x=1&access_token=<redacted>");
        assert_eq!(redact("/sync?access_token="), "/sync?access_token=<redacted>");
    }
}
