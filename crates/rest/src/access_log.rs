//! The access log line, as log parsers know it from Synapse. Answers to `synapse/http/site.py` and
//! `redact_uri` in `synapse/http/__init__.py`.

use std::time::Duration;

use myelin_handlers::usage::Used;
use percent_encoding::percent_decode_str;

/// Parameters whose values are secrets.
const SECRET: [&str; 2] = ["access_token", "client_secret"];

/// What one finished request was.
pub struct Finished<'a> {
    /// First X-Forwarded-For entry, or the peer.
    pub client: &'a str,
    /// Tag or port of the listener, or `unix`.
    pub site: &'a str,
    /// The user or server that asked, or `None`.
    pub requester: &'a str,
    pub method: &'a str,
    /// Raw path and query.
    pub uri: &'a str,
    pub status: u16,
    /// The client got the whole answer.
    pub complete: bool,
    pub user_agent: &'a str,
    pub processing: Duration,
    pub sending: Duration,
    pub bytes: u64,
    pub used: Used,
}

/// `ru` has all of the processor time in its first number: user and system time are not told apart per request.
/// How many events came from the database is not counted.
pub fn log(finished: &Finished<'_>) {
    let Finished { client, site, requester, method, status, user_agent, bytes, .. } = finished;
    let uri = redact(finished.uri);
    let (processing, sending) = (finished.processing.as_secs_f64(), finished.sending.as_secs_f64());
    let (cpu, waiting, database) =
        (finished.used.cpu.as_secs_f64(), finished.used.waiting.as_secs_f64(), finished.used.database.as_secs_f64());
    let statements = finished.used.statements;
    let lost = if finished.complete { "" } else { "!" };
    let line = format_args!(
        "{client} - {site} - {{{requester}}} Processed request: {processing:.3}sec/{sending:.3}sec \
         ru=({cpu:.3}sec, 0.000sec) db=({waiting:.3}sec/{database:.3}sec/{statements}) {bytes}B {status}{lost} \"{method} {uri} HTTP/1.1\" \
         \"{user_agent}\" [0 dbevts]"
    );
    // The listener's tag is part of the logger's name, and a target cannot be made at run time.
    if finished.uri == "/health" || *method == "OPTIONS" {
        tracing::debug!(target: "synapse.access.http", logger_suffix = site, "{line}");
    } else {
        tracing::info!(target: "synapse.access.http", logger_suffix = site, "{line}");
    }
}

/// A secret in the query must not reach a log, however its name is escaped.
pub fn redact(uri: &str) -> String {
    let Some((path, query)) = uri.split_once('?') else { return uri.to_owned() };
    let mut out = format!("{path}?");
    for item in query.split_inclusive(['&', ';']) {
        let (name, separator) = (item.split('=').next().unwrap_or_default(), item.strip_suffix(['&', ';']));
        let decoded = percent_decode_str(name).decode_utf8_lossy();
        if SECRET.contains(&decoded.as_ref()) && item.len() > name.len() {
            out.extend([name, "=<redacted>"]);
            out.push_str(separator.and_then(|kept| item.get(kept.len()..)).unwrap_or_default());
        } else {
            out.push_str(item);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_logged() {
        for (uri, expected) in [
            ("/sync", "/sync"),
            ("/sync?access_token=secret&x=1", "/sync?access_token=<redacted>&x=1"),
            ("/sync?x=1&access_token=secret", "/sync?x=1&access_token=<redacted>"),
            ("/sync?x=1;access_token=secret;y", "/sync?x=1;access_token=<redacted>;y"),
            ("/sync?access%5Ftoken=s&%61ccess_token=t", "/sync?access%5Ftoken=<redacted>&%61ccess_token=<redacted>"),
            ("/sync?access_token=", "/sync?access_token=<redacted>"),
            ("/x?client_secret=s", "/x?client_secret=<redacted>"),
        ] {
            assert_eq!(redact(uri), expected);
        }
    }
}
