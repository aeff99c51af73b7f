//! What `/.well-known/matrix` says. Answers to `synapse/config/server.py` (well-known) and `WellKnownBuilder`.

use serde_json::{Map, Value, json};

use crate::error::ConfigError;
use crate::section::Section;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The answer of `/.well-known/matrix/client`; none without a `public_baseurl`.
    pub client: Option<Map<String, Value>>,
    /// `m.server` of `/.well-known/matrix/server`; none unless `serve_server_wellknown` is set.
    pub server: Option<String>,
    /// The authentication service's addresses belong into the client's answer.
    pub needs_provider: bool,
    /// Bytes of the largest request body that Synapse takes.
    pub max_request_body_size: usize,
}

/// 200 events of the largest size.
const MAX_REQUEST_SIZE: i64 = 200 * 65536;

pub fn read(root: &Section<'_>) -> Result<Discovery, ConfigError> {
    let extra = root.get("extra_well_known_client_content").and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, instead) in [("m.homeserver", "public_baseurl"), ("m.identity_server", "default_identity_server")] {
        if extra.contains_key(key) {
            return Err(root.fault("extra_well_known_client_content", format!("use {instead} instead of {key}")));
        }
    }
    let client = root.text("public_baseurl")?.map(|url| {
        let url = if url.ends_with('/') { url } else { url + "/" };
        Map::from_iter([("m.homeserver".to_owned(), json!({ "base_url": url }))])
    });
    let identity_server = root.text("default_identity_server")?;
    let client = client.map(|mut client| {
        if let Some(url) = identity_server {
            client.insert("m.identity_server".to_owned(), json!({ "base_url": url }));
        }
        for (key, value) in extra {
            client.entry(key).or_insert(value);
        }
        client
    });
    let server_name = root.required_text("server_name")?;
    let upload = if root.flag("enable_media_repo", true) { root.size("max_upload_size", 50 << 20)? } else { 0 };
    Ok(Discovery {
        needs_provider: client.is_some() && root.section("matrix_authentication_service")?.flag("enabled", false),
        client,
        server: root.flag("serve_server_wellknown", false).then(|| with_port(&server_name)),
        max_request_body_size: usize::try_from(upload.max(MAX_REQUEST_SIZE)).unwrap_or(usize::MAX),
    })
}

/// Port 443 unless the server's name has its own.
fn with_port(server_name: &str) -> String {
    match server_name.rsplit_once(':') {
        Some((_, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => server_name.to_owned(),
        _ => format!("{server_name}:443"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_the_server() {
        assert_eq!(with_port("a.example"), "a.example:443");
        assert_eq!(with_port("a.example:8448"), "a.example:8448");
        assert_eq!(with_port("[::1]"), "[::1]:443");
    }
}
