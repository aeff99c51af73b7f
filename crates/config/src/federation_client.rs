//! How other servers are reached, and whom to ask for their keys. Answers to `synapse/config/federation.py`, `tls.py`,
//! `key.py`, and to the addresses and proxies of `server.py`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde_json::Value;

use crate::error::ConfigError;
use crate::federation::decode_key;
use crate::ip_range::{self, IpRange};
use crate::section::Section;
use crate::worker::InstanceLocation;

/// Durations are milliseconds.
#[derive(Clone, Debug)]
pub struct FederationClient {
    /// For the head of an answer, and again for its body.
    pub client_timeout: i64,
    /// Attempts after the first.
    pub max_short_retries: usize,
    pub max_short_retry_delay: i64,
    /// How long a server is left alone after it failed.
    pub min_retry_interval: i64,
    pub retry_multiplier: f64,
    pub max_retry_interval: i64,
    pub tls: FederationTls,
    /// Servers are not at these addresses.
    pub ip_blocklist: Vec<IpRange>,
    /// Unless names lead to these.
    pub ip_allowlist: Vec<IpRange>,
    /// Of `.well-known` when it redirects to http://.
    pub http_proxy: Option<String>,
    pub https_proxy: Option<String>,
    /// Reached without it, separated by commas.
    pub no_proxy: Option<String>,
    /// Behind the version in what `.well-known` is asked with.
    pub user_agent_suffix: Option<String>,
    /// The only processes that talk with other servers; without them, each does.
    pub restricted_to: Vec<InstanceLocation>,
    pub key_servers: Vec<TrustedKeyServer>,
}

#[derive(Clone, Debug)]
pub struct FederationTls {
    pub verify: bool,
    /// Hosts that need not prove who they are.
    pub unverified: Vec<Regex>,
    /// Older versions than 1.2 are not spoken, whatever the minimum is.
    pub only_1_3: bool,
    /// Certificates, instead of the system's.
    pub authorities: Option<Vec<Vec<u8>>>,
}

/// A server that is believed when it tells of others' keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKeyServer {
    pub server_name: String,
    /// By id. Without them its signature is not looked at.
    pub verify_keys: Option<BTreeMap<String, [u8; 32]>>,
}

pub fn read(
    root: &Section<'_>,
    instance_map: &BTreeMap<String, InstanceLocation>,
) -> Result<FederationClient, ConfigError> {
    let section = root.section("federation")?;
    let retries = section.integer("max_short_retries")?.unwrap_or(3);
    let (ip_blocklist, ip_allowlist) = read_addresses(root)?;
    let proxies = Proxies::read(root)?;
    let places = root.texts("outbound_federation_restricted_to")?;
    let place = |name: &String| instance_map.get(if name == "main" { "master" } else { name }).cloned();
    let tls = read_tls(root)?;
    Ok(FederationClient {
        client_timeout: section.duration_ms("client_timeout", 60_000)?,
        max_short_retries: usize::try_from(retries).unwrap_or_default(),
        max_short_retry_delay: section.duration_ms("max_short_retry_delay", 2_000)?,
        min_retry_interval: section.duration_ms("destination_min_retry_interval", 600_000)?,
        retry_multiplier: section.float_or("destination_retry_multiplier", 2.0)?,
        max_retry_interval: section.duration_ms("destination_max_retry_interval", 604_800_000)?.min(1 << 62),
        key_servers: read_key_servers(root, tls.verify)?,
        tls,
        ip_blocklist,
        ip_allowlist,
        http_proxy: proxies.http,
        https_proxy: proxies.https,
        no_proxy: proxies.no,
        user_agent_suffix: root.text("user_agent_suffix")?.filter(|suffix| !suffix.is_empty()),
        restricted_to: places.iter().filter_map(place).collect(),
    })
}

/// Blocked, and excepted from that.
fn read_addresses(root: &Section<'_>) -> Result<(Vec<IpRange>, Vec<IpRange>), ConfigError> {
    const OLD: &str = "federation_ip_range_blacklist";
    if root.keys().any(|key| key == OLD) {
        return Ok((ip_range::read_set(root, OLD, &[], &ip_range::NOWHERE)?, Vec::new()));
    }
    let blocked = ip_range::read_set(root, "ip_range_blacklist", &ip_range::PRIVATE, &ip_range::NOWHERE)?;
    Ok((blocked, ip_range::read_set(root, "ip_range_whitelist", &[], &[])?))
}

/// `parse_proxy_config`
struct Proxies {
    http: Option<String>,
    https: Option<String>,
    no: Option<String>,
}

impl Proxies {
    fn read(root: &Section<'_>) -> Result<Self, ConfigError> {
        for key in ["http_proxy", "https_proxy"] {
            if root.get(key).is_some_and(|value| !value.is_string()) {
                return Err(root.fault(key, "must be a string"));
            }
        }
        if root.get("no_proxy_hosts").is_some_and(|value| !value.is_array()) {
            return Err(root.fault("no_proxy_hosts", "must be a list of strings"));
        }
        let environment = |name: &str| {
            let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            set(name).or_else(|| set(&name.to_uppercase()))
        };
        let no = root.texts("no_proxy_hosts")?.join(",");
        Ok(Self {
            http: root.text("http_proxy")?.or_else(|| environment("http_proxy")).map(with_port),
            https: root.text("https_proxy")?.or_else(|| environment("https_proxy")).map(with_port),
            no: if root.has("no_proxy_hosts") { Some(no) } else { environment("no_proxy") },
        })
    }
}

/// `parse_proxy`: 1080 is meant where no port is named.
fn with_port(proxy: String) -> String {
    let (scheme, rest) = proxy.split_once("://").unwrap_or(("http", &proxy));
    let authority = rest.split('/').next().unwrap_or_default();
    let after_host = authority.rsplit(['@', ']']).next().unwrap_or_default();
    if after_host.contains(':') { proxy } else { format!("{scheme}://{authority}:1080") }
}

fn read_tls(root: &Section<'_>) -> Result<FederationTls, ConfigError> {
    const VERSION: &str = "federation_client_minimum_tls_version";
    const UNVERIFIED: &str = "federation_certificate_verification_whitelist";
    let version = root.text_or(VERSION, "1")?;
    if !["1", "1.0", "1.1", "1.2", "1.3"].contains(&version.as_str()) {
        return Err(root.fault(VERSION, "must be one of: 1, 1.1, 1.2, 1.3"));
    }
    let glob = |glob: String| {
        if !glob.is_ascii() {
            return Err(root.fault(UNVERIFIED, format!("{glob} is not ASCII: names are written in punycode")));
        }
        let pattern = regex::escape(&glob).replace("\\*", ".*").replace("\\?", ".");
        Regex::new(&format!("(?i)^{pattern}$")).map_err(|error| root.fault(UNVERIFIED, error.to_string()))
    };
    Ok(FederationTls {
        verify: root.flag("federation_verify_certificates", true),
        unverified: root.texts(UNVERIFIED)?.into_iter().map(glob).collect::<Result<_, _>>()?,
        only_1_3: version == "1.3",
        authorities: read_authorities(root)?,
    })
}

fn read_authorities(root: &Section<'_>) -> Result<Option<Vec<Vec<u8>>>, ConfigError> {
    const KEY: &str = "federation_custom_ca_list";
    if !root.has(KEY) {
        return Ok(None);
    }
    let read = |path: &String| {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| root.fault(KEY, format!("cannot read {path}: {error}")))?;
        first_certificate(&text).ok_or_else(|| root.fault(KEY, format!("{path} is not a certificate")))
    };
    let found: Vec<_> = root.texts(KEY)?.iter().map(read).collect::<Result<_, _>>()?;
    if found.is_empty() { Err(root.fault(KEY, "names no certificates")) } else { Ok(Some(found)) }
}

/// Of a file in PEM, as Synapse: more than one it does not look at.
fn first_certificate(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
}

/// `trusted_key_servers`, and `perspectives` as it was once called.
fn read_key_servers(root: &Section<'_>, verify: bool) -> Result<Vec<TrustedKeyServer>, ConfigError> {
    const KEY: &str = "trusted_key_servers";
    let given = |key| root.keys().any(|given| given == key);
    if !given(KEY) && !given("perspectives") {
        let server_name = "matrix.org".to_owned();
        let server = TrustedKeyServer { server_name, verify_keys: None };
        return if verify { Ok(vec![server]) } else { Err(insecure(root)) };
    }
    if given(KEY) && !root.has(KEY) {
        return Err(root.fault(KEY, "must be a list"));
    }
    let mut servers = Vec::new();
    for section in root.sections(KEY)? {
        let server_name = section.required_text("server_name")?;
        let verify_keys =
            section.has("verify_keys").then(|| read_verify_keys(&section, |key| Some(key))).transpose()?;
        servers.push((TrustedKeyServer { server_name, verify_keys }, section.flag("accept_keys_insecurely", false)));
    }
    let old = root.section("perspectives")?.section("servers")?;
    for name in old.keys() {
        let section = old.section(name)?;
        let keys = section.has("verify_keys");
        let keys = keys.then(|| read_verify_keys(&section, |key| key.get("key"))).transpose()?;
        servers.push((TrustedKeyServer { server_name: name.to_owned(), verify_keys: keys }, false));
    }
    let trusted = |(server, insecurely): (TrustedKeyServer, bool)| {
        let has_keys = server.verify_keys.as_ref().is_some_and(|keys| !keys.is_empty());
        if verify || insecurely || has_keys { Ok(server) } else { Err(insecure(root)) }
    };
    servers.into_iter().map(trusted).collect()
}

fn insecure(root: &Section<'_>) -> ConfigError {
    let reason = "certificates are not verified, so that each server needs verify_keys or accept_keys_insecurely";
    root.fault("trusted_key_servers", reason)
}

/// `key`: where the base64 is in what stands at an id.
fn read_verify_keys(
    server: &Section<'_>,
    key: impl for<'a> Fn(&'a Value) -> Option<&'a Value>,
) -> Result<BTreeMap<String, [u8; 32]>, ConfigError> {
    let section = server.section("verify_keys")?;
    let mut keys = BTreeMap::new();
    for id in section.keys() {
        if !id.starts_with("ed25519:") {
            return Err(section.fault(id, "is of an unknown algorithm"));
        }
        let public = section.get(id).and_then(&key).and_then(Value::as_str).and_then(decode_key);
        keys.insert(id.to_owned(), public.ok_or_else(|| section.fault(id, "is not 32 bytes of base64"))?);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::with_port;

    #[test]
    fn ports_of_proxies() {
        for (given, meant) in [
            ("proxy.test", "http://proxy.test:1080"),
            ("proxy.test:3128", "proxy.test:3128"),
            ("https://user:pass@proxy.test/", "https://user:pass@proxy.test:1080"),
            ("https://user:pass@proxy.test:443/", "https://user:pass@proxy.test:443/"),
            ("http://[::1]", "http://[::1]:1080"),
            ("http://user:pass@[::1]:80", "http://user:pass@[::1]:80"),
        ] {
            assert_eq!(with_port(given.to_owned()), meant);
        }
    }
}
