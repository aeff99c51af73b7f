//! `worker_listeners`. Answers to `parse_listener_def` in `synapse/config/server.py`.

use std::path::PathBuf;

use crate::error::ConfigError;
use crate::section::Section;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    Http,
    Metrics,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    Tcp {
        addresses: Vec<String>,
        port: u16,
    },
    /// `mode`: permission bits of the socket.
    Unix {
        path: PathBuf,
        mode: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub kind: ListenerKind,
    pub bind: Bind,
    /// `X-Forwarded-For` and `X-Forwarded-Proto` are the proxy's word.
    pub x_forwarded: bool,
    /// client, federation, health, keys, metrics, openid …
    pub resources: Vec<String>,
    pub tag: Option<String>,
    pub request_id_header: Option<String>,
}

const RESOURCES: [&str; 10] =
    ["client", "consent", "federation", "health", "keys", "media", "metrics", "openid", "replication", "static"];

pub fn read(root: &Section<'_>, warnings: &mut Vec<String>) -> Result<Vec<Listener>, ConfigError> {
    let mut listeners = Vec::new();
    for section in root.sections("worker_listeners")? {
        let kind = match section.required_text("type")?.as_str() {
            "http" => ListenerKind::Http,
            "metrics" => ListenerKind::Metrics,
            "manhole" => {
                warnings.push("worker_listeners: a manhole is a Python console; it is not opened".to_owned());
                continue;
            }
            "replication" => return Err(section.fault("type", "replication listeners are of type http")),
            other => return Err(section.fault("type", format!("unknown listener type {other}"))),
        };
        listeners.push(read_one(&section, kind, warnings)?);
    }
    Ok(listeners)
}

fn read_one(section: &Section<'_>, kind: ListenerKind, warnings: &mut Vec<String>) -> Result<Listener, ConfigError> {
    let bind = read_bind(section, &kind)?;
    if section.flag("tls", false) {
        return Err(section.fault("tls", "TLS is the reverse proxy's part; Myelin's listeners are plain"));
    }
    let mut resources = Vec::new();
    for resource in section.sections("resources")? {
        if resource.flag("compress", false) {
            warnings.push("worker_listeners: compress has no effect on a worker, in Synapse neither".to_owned());
        }
        if resource.get("names").is_some_and(|names| !names.is_array()) {
            return Err(resource.fault("names", "must be a list"));
        }
        for name in resource.texts("names")? {
            if !RESOURCES.contains(&name.as_str()) {
                return Err(resource.fault("names", format!("unknown resource {name}")));
            }
            if matches!(name.as_str(), "replication" | "media") {
                warnings.push(format!("worker_listeners: resource {name} is not served; Myelin is a reader"));
            }
            resources.push(name);
        }
    }
    Ok(Listener {
        kind,
        x_forwarded: section.flag("x_forwarded", matches!(bind, Bind::Unix { .. })),
        bind,
        resources,
        tag: section.text("tag")?,
        request_id_header: section.text("request_id_header")?,
    })
}

fn read_bind(section: &Section<'_>, kind: &ListenerKind) -> Result<Bind, ConfigError> {
    match (section.port("port")?, section.text("path")?) {
        (Some(port), None) => {
            let mut addresses = section.texts("bind_addresses")?;
            addresses.extend(section.text("bind_address")?);
            if addresses.is_empty() {
                addresses = match kind {
                    ListenerKind::Http => vec!["::".to_owned(), "0.0.0.0".to_owned()],
                    ListenerKind::Metrics => vec!["0.0.0.0".to_owned()],
                };
            }
            Ok(Bind::Tcp { addresses, port })
        }
        (None, Some(_)) if *kind == ListenerKind::Metrics => {
            Err(section.fault("path", "a metrics listener cannot be a unix socket"))
        }
        (None, Some(path)) => {
            let mode =
                section.get("mode").map_or(Some(0o666), |mode| mode.as_u64().and_then(|m| u32::try_from(m).ok()));
            let mode = mode.filter(|mode| *mode <= 0o777);
            let mode = mode.ok_or_else(|| section.fault("mode", "must be an octal number such as 0660"))?;
            Ok(Bind::Unix { path: path.into(), mode })
        }
        (Some(_), Some(_)) => Err(section.fault("path", "cannot be set together with port")),
        (None, None) => Err(section.fault("port", "a listener needs a port or a path")),
    }
}
