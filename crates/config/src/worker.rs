//! The worker itself, its neighbours and Redis. Answers to `synapse/config/workers.py` and `redis.py`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::ConfigError;
use crate::listener::{self, Listener};
use crate::roles::{self, Place};
use crate::section::Section;

/// What `master` is on the wire, yaml calls `main`.
const MAIN: &str = "main";
const MASTER: &str = "master";

/// Names that Synapse still accepts for a generic worker.
const APPS: [&str; 11] = [
    "synapse.app.generic_worker",
    "synapse.app.appservice",
    "synapse.app.client_reader",
    "synapse.app.event_creator",
    "synapse.app.federation_reader",
    "synapse.app.federation_sender",
    "synapse.app.frontend_proxy",
    "synapse.app.media_repository",
    "synapse.app.pusher",
    "synapse.app.synchrotron",
    "synapse.app.user_dir",
];

#[derive(Clone, Debug)]
pub struct Worker {
    /// The instance name: unique, in the database and on the wire.
    pub name: String,
    pub listeners: Vec<Listener>,
    pub replication_secret: Option<String>,
    pub log_config: Option<PathBuf>,
    pub pid_file: Option<PathBuf>,
    /// Wire names: the main process is `master`.
    pub instance_map: BTreeMap<String, InstanceLocation>,
    pub stream_writers: StreamWriters,
    /// Where requests go that Myelin does not serve itself.
    pub fallback: Option<InstanceLocation>,
}

/// Where a process listens: for HTTP replication, or for requests that are passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceLocation {
    Tcp { host: String, port: u16, tls: bool },
    Unix { path: PathBuf },
}

impl InstanceLocation {
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }
}

/// Who writes each stream, by wire name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamWriters {
    pub events: Vec<String>,
    pub typing: String,
    pub to_device: String,
    pub account_data: String,
    pub receipts: Vec<String>,
    pub presence: String,
    pub push_rules: String,
    pub device_lists: Vec<String>,
    pub thread_subscriptions: Vec<String>,
    pub quarantined_media: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Redis {
    pub host: String,
    pub port: u16,
    /// Wins over host, port and TLS.
    pub path: Option<PathBuf>,
    pub dbid: Option<i64>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub use_tls: bool,
    pub certificate_file: Option<PathBuf>,
    pub private_key_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    /// A folder of certificates; `ca_file` wins.
    pub ca_path: Option<PathBuf>,
}

pub fn read(root: &Section<'_>, warnings: &mut Vec<String>) -> Result<Worker, ConfigError> {
    let app = root.text_or("worker_app", "synapse.app.homeserver")?;
    if app == "synapse.app.homeserver" {
        return Err(root.fault("worker_app", "this is the main process's configuration; Myelin is a worker"));
    }
    if !APPS.contains(&app.as_str()) {
        return Err(root.fault("worker_app", format!("{app} is not a worker that Synapse knows")));
    }
    for key in [
        "worker_replication_host",
        "worker_replication_http_port",
        "worker_replication_http_tls",
        "worker_replication_port",
    ] {
        if root.has(key) {
            return Err(root.fault(key, "is no longer supported; use instance_map"));
        }
    }
    let name = root.text_or("worker_name", &app)?;
    if matches!(name.as_str(), MAIN | MASTER) {
        return Err(root.fault("worker_name", format!("{name} is the main process")));
    }
    let instance_map = read_instance_map(root)?;
    let stream_writers = read_stream_writers(root, &instance_map, &name)?;
    let (listeners, fallback) = (listener::read(root, warnings)?, read_fallback(root)?);
    roles::refuse(root, &Place { app: &app, name: &name, listeners: &listeners, has_fallback: fallback.is_some() })?;
    roles::check_outbound(root, &instance_map)?;
    Ok(Worker {
        listeners,
        replication_secret: root.secret("worker_replication_secret")?,
        log_config: match root.file("worker_log_config")? {
            Some(path) => Some(path),
            None => root.file("log_config")?,
        },
        pid_file: root.text("worker_pid_file")?.map(PathBuf::from),
        instance_map,
        stream_writers,
        fallback,
        name,
    })
}

fn read_instance_map(root: &Section<'_>) -> Result<BTreeMap<String, InstanceLocation>, ConfigError> {
    let section = root.section("instance_map")?;
    let mut map = BTreeMap::new();
    for name in section.keys() {
        let entry = section.section(name)?;
        let location = match entry.text("path")? {
            Some(path) => InstanceLocation::Unix { path: path.into() },
            None => InstanceLocation::Tcp {
                host: entry.required_text("host")?,
                port: entry.port("port")?.ok_or_else(|| entry.fault("port", "is required"))?,
                tls: entry.flag("tls", false),
            },
        };
        map.insert(wire_name(name), location);
    }
    if !map.contains_key(MASTER) {
        return Err(root.fault("instance_map", "main is missing: a worker must know where the main process is"));
    }
    Ok(map)
}

fn wire_name(name: &str) -> String {
    if name == MAIN { MASTER.to_owned() } else { name.to_owned() }
}

fn read_stream_writers(
    root: &Section<'_>,
    instance_map: &BTreeMap<String, InstanceLocation>,
    own_name: &str,
) -> Result<StreamWriters, ConfigError> {
    const KEYS: [&str; 10] = [
        "events",
        "typing",
        "to_device",
        "account_data",
        "receipts",
        "presence",
        "push_rules",
        "device_lists",
        "thread_subscriptions",
        "quarantined_media_changes",
    ];
    let section = root.section("stream_writers")?;
    if let Some(unknown) = section.keys().find(|key| !KEYS.contains(key)) {
        return Err(section.fault(unknown, "is not a stream that can be moved to a worker"));
    }
    let many = |key: &str| -> Result<Vec<String>, ConfigError> {
        let mut names: Vec<String> = section.texts(key)?.iter().map(|name| wire_name(name)).collect();
        if names.is_empty() {
            names.push(MASTER.to_owned());
        }
        for name in &names {
            if name == own_name {
                return Err(section.fault(key, format!("{own_name} is named as a writer; Myelin only reads")));
            }
            if !instance_map.contains_key(name) {
                return Err(section.fault(key, format!("{name} is not in instance_map")));
            }
        }
        Ok(names)
    };
    let one = |key: &str| -> Result<String, ConfigError> {
        let mut names = many(key)?;
        match (names.pop(), names.is_empty()) {
            (Some(name), true) => Ok(name),
            _ => Err(section.fault(key, "must be exactly one instance")),
        }
    };
    Ok(StreamWriters {
        events: many("events")?,
        typing: one("typing")?,
        to_device: one("to_device")?,
        account_data: one("account_data")?,
        receipts: many("receipts")?,
        presence: one("presence")?,
        push_rules: one("push_rules")?,
        device_lists: many("device_lists")?,
        thread_subscriptions: many("thread_subscriptions")?,
        quarantined_media: many("quarantined_media_changes")?,
    })
}

fn read_fallback(root: &Section<'_>) -> Result<Option<InstanceLocation>, ConfigError> {
    let own = root.section("myelin")?;
    if let Some(unknown) = own.keys().find(|key| *key != "fallback") {
        return Err(own.fault(unknown, "is not known"));
    }
    let (section, key) = if own.has("fallback") { (&own, "fallback") } else { (root, "worker_main_http_uri") };
    let Some(url) = section.text(key)? else { return Ok(None) };
    let expected = "must be http://host:port, https://host:port or unix:/path";
    parse_fallback(&url).map(Some).ok_or_else(|| section.fault(key, expected))
}

fn parse_fallback(url: &str) -> Option<InstanceLocation> {
    if let Some(path) = url.strip_prefix("unix:") {
        return path.starts_with('/').then(|| InstanceLocation::Unix { path: path.into() });
    }
    let (authority, tls) = match url.strip_prefix("http://") {
        Some(authority) => (authority, false),
        None => (url.strip_prefix("https://")?, true),
    };
    let authority = authority.trim_end_matches('/');
    if authority.contains(['/', '@', '?', '#', ' ']) {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, if tls { 443 } else { 80 }),
    };
    (!host.is_empty()).then(|| InstanceLocation::Tcp { host: host.to_owned(), port, tls })
}

pub fn read_redis(root: &Section<'_>) -> Result<Redis, ConfigError> {
    let redis = root.section("redis")?;
    if !redis.flag("enabled", false) {
        return Err(redis.fault("enabled", "workers need Redis"));
    }
    let (username, password) = (redis.text("username")?, redis.secret("password")?);
    if username.is_some() && password.is_none() {
        return Err(redis.fault("username", "needs a password"));
    }
    Ok(Redis {
        host: redis.text_or("host", "localhost")?,
        port: redis.port("port")?.unwrap_or(6379),
        path: redis.text("path")?.map(PathBuf::from),
        dbid: redis.integer("dbid")?,
        username,
        password,
        use_tls: redis.flag("use_tls", false),
        certificate_file: redis.file("certificate_file")?,
        private_key_file: redis.file("private_key_file")?,
        ca_file: redis.file("ca_file")?,
        ca_path: redis.file("ca_path")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fallback_addresses() {
        let tcp = |host: &str, port, tls| Some(InstanceLocation::Tcp { host: host.to_owned(), port, tls });
        assert_eq!(parse_fallback("http://localhost:8008"), tcp("localhost", 8008, false));
        assert_eq!(parse_fallback("http://[::1]:8008/"), tcp("[::1]", 8008, false));
        assert_eq!(parse_fallback("http://[::1]"), tcp("[::1]", 80, false));
        assert_eq!(parse_fallback("https://main.lab"), tcp("main.lab", 443, true));
        let unix = InstanceLocation::Unix { path: "/run/main.sock".into() };
        assert_eq!(parse_fallback("unix:/run/main.sock"), Some(unix));
        for bad in ["ftp://x", "unix:rel", "http://", "https://", "http://x:99999", "http://x/path", "http://u@x"] {
            assert_eq!(parse_fallback(bad), None, "{bad}");
        }
    }
}
