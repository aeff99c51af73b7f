//! Logging as `worker_log_config` asks for it: the levels of Python's dictConfig. Answers to `synapse/config/logger.py`.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// Lets SIGHUP put new levels in force.
pub struct Logging {
    levels: reload::Handle<EnvFilter, tracing_subscriber::Registry>,
}

/// Logs to stderr from here on, at the levels of `config`.
pub fn init(config: Option<&Path>) -> Result<Logging> {
    let (filter, levels) = reload::Layer::new(levels(config)?);
    let format = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter).with(format).try_init().context("logging is set up twice")?;
    Ok(Logging { levels })
}

impl Logging {
    pub fn reload(&self, config: Option<&Path>) {
        let reloaded = levels(config).and_then(|filter| Ok(self.levels.reload(filter)?));
        match reloaded {
            Ok(()) => tracing::info!("log levels read again"),
            Err(error) => tracing::error!("log levels stay as they were: {error:#}"),
        }
    }
}

fn levels(config: Option<&Path>) -> Result<EnvFilter> {
    let Some(path) = config else { return Ok(EnvFilter::new("info")) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let value = myelin_config::yaml::load(&text).with_context(|| format!("cannot read {}", path.display()))?;
    EnvFilter::try_new(directives(&value)).with_context(|| format!("levels in {}", path.display()))
}

/// dictConfig's levels in tracing's words: `synapse.access` covers everything below it.
fn directives(config: &Value) -> String {
    let root = config.pointer("/root/level").and_then(level).unwrap_or("info");
    let mut out = root.to_owned();
    let loggers = config.get("loggers").and_then(Value::as_object);
    for (name, logger) in loggers.into_iter().flatten() {
        if let Some(level) = logger.get("level").and_then(level) {
            let known = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_'));
            if known {
                out.extend([",", name, "=", level]);
            }
        }
    }
    out
}

fn level(value: &Value) -> Option<&'static str> {
    match value.as_str()?.to_uppercase().as_str() {
        "DEBUG" | "NOTSET" => Some("debug"),
        "INFO" => Some("info"),
        "WARN" | "WARNING" => Some("warn"),
        "ERROR" | "CRITICAL" | "FATAL" => Some("error"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn levels_of_a_dict_config() {
        let config = json!({"root": {"level": "WARNING"}, "loggers": {"synapse.storage.SQL": {"level": "INFO"}}});
        assert_eq!(directives(&config), "warn,synapse.storage.SQL=info");
        assert_eq!(directives(&json!({})), "info");
    }
}
