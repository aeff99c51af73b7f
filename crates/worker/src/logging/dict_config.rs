//! The usual subset of Python's dictConfig: levels, handlers, formatters, propagation. Answers to
//! `logging.config.dictConfig` and `synapse/config/logger.py`.
//!
//! What is unknown is a fault: it stops the start, and a file that is read again while running stays without effect.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use tracing::Level;

use super::format::Format;
use super::sink::{Rotation, Sink};

/// Higher is more important, as in Python.
pub type Severity = u8;

pub const INFO: Severity = 20;

/// Handlers that hand on to a handler that hands on …: more is a circle.
const MAX_BUFFERS: usize = 8;

/// A tracing level as Python's number and name.
pub fn severity(level: Level) -> (Severity, &'static str) {
    match level {
        Level::ERROR => (40, "ERROR"),
        Level::WARN => (30, "WARNING"),
        Level::INFO => (INFO, "INFO"),
        Level::DEBUG => (10, "DEBUG"),
        Level::TRACE => (5, "DEBUG"),
    }
}

#[derive(Debug, Default)]
struct Logger {
    level: Option<Severity>,
    handlers: Vec<Arc<Handler>>,
    propagate: bool,
}

#[derive(Debug)]
pub struct Handler {
    level: Severity,
    pub format: Format,
    pub sink: Sink,
}

/// The tree of loggers, by dotted name.
#[derive(Debug, Default)]
pub struct Loggers {
    root: Logger,
    named: BTreeMap<String, Logger>,
    /// The lowest level that any of them takes.
    lowest: Severity,
}

impl Loggers {
    pub fn lowest(&self) -> Severity {
        self.lowest
    }

    /// A logger and those above it, root last.
    fn lineage<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Logger> {
        let parents = std::iter::successors(Some(name), |name| name.rsplit_once('.').map(|(parent, _)| parent));
        parents.filter_map(|name| self.named.get(name)).chain([&self.root])
    }

    pub fn takes(&self, name: &str, severity: Severity) -> bool {
        severity >= self.lineage(name).find_map(|logger| logger.level).unwrap_or(INFO)
    }

    /// Where a record of this logger goes.
    pub fn handlers<'a>(&'a self, name: &'a str, severity: Severity) -> impl Iterator<Item = &'a Handler> {
        let mut above = true;
        let heard = self.lineage(name).take_while(move |logger| {
            let heard = above;
            above &= logger.propagate;
            heard
        });
        heard.flat_map(|logger| &logger.handlers).map(AsRef::as_ref).filter(move |handler| severity >= handler.level)
    }
}

/// The loggers that a configuration describes; a complaint names the key.
pub fn read(config: &Value) -> Result<Loggers> {
    let mut reader = Reader { config, handlers: BTreeMap::new() };
    let mut root = reader.logger("root", config.get("root").unwrap_or(&Value::Null))?;
    if root.handlers.is_empty() && config.get("root").is_none_or(|root| root.get("handlers").is_none()) {
        root.handlers.push(Arc::new(Handler { level: 0, format: Format::default(), sink: Sink::stderr() }));
    }
    root.level.get_or_insert(INFO);
    let mut named = BTreeMap::new();
    for (name, logger) in entries(config, "loggers") {
        named.insert(name.clone(), reader.logger(&format!("loggers.{name}"), logger)?);
    }
    let lowest = named.values().chain([&root]).filter_map(|logger| logger.level).min().unwrap_or(INFO);
    Ok(Loggers { root, named, lowest })
}

fn entries<'a>(config: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    config.get(key).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

struct Reader<'a> {
    config: &'a Value,
    handlers: BTreeMap<String, Option<Arc<Handler>>>,
}

impl Reader<'_> {
    fn logger(&mut self, key: &str, logger: &Value) -> Result<Logger> {
        let names = logger.get("handlers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let mut handlers = Vec::new();
        for name in names {
            handlers.extend(self.handler(name, 0).with_context(|| format!("{key}.handlers"))?);
        }
        let propagate = logger.get("propagate").and_then(Value::as_bool).unwrap_or(true);
        Ok(Logger { level: level(key, logger)?, handlers, propagate })
    }

    /// The handler of a name, made once; none for Python's `NullHandler`. `depth`: how many buffers lead to it.
    fn handler(&mut self, name: &str, depth: usize) -> Result<Option<Arc<Handler>>> {
        if let Some(known) = self.handlers.get(name) {
            return Ok(known.clone());
        }
        let made = self.make_handler(name, depth)?;
        self.handlers.insert(name.to_owned(), made.clone());
        Ok(made)
    }

    fn make_handler(&mut self, name: &str, depth: usize) -> Result<Option<Arc<Handler>>> {
        let Some(handler) = self.config.get("handlers").and_then(|handlers| handlers.get(name)) else {
            bail!("there is no handler {name}");
        };
        let key = format!("handlers.{name}");
        let text = |key: &str| handler.get(key).and_then(Value::as_str);
        let class = text("class").or_else(|| text("()")).unwrap_or_default();
        let number = |key: &str| handler.get(key).and_then(Value::as_u64).unwrap_or(0);
        let file = |rotation| {
            let name = text("filename").with_context(|| format!("{key}.filename: is required"))?;
            Sink::file(name.as_ref(), rotation).with_context(|| format!("{key}.filename: cannot open {name}"))
        };
        let sink = match class.rsplit('.').next().unwrap_or_default() {
            "NullHandler" => return Ok(None),
            // Lines leave at once; a buffer would only lose some of them in a crash.
            "PeriodicallyFlushingMemoryHandler" | "MemoryHandler" if depth < MAX_BUFFERS => {
                return self.handler(text("target").unwrap_or_default(), depth + 1).with_context(|| key);
            }
            "StreamHandler" if text("stream").is_some_and(|stream| stream.ends_with("stdout")) => Sink::stdout(),
            // A unit's stderr is the journal.
            "StreamHandler" | "JournalHandler" | "JournaldLogHandler" => Sink::stderr(),
            "FileHandler" | "WatchedFileHandler" => file(Rotation::Never)?,
            "RotatingFileHandler" => file(Rotation::Size { max: number("maxBytes"), backups: number("backupCount") })?,
            "TimedRotatingFileHandler" => {
                let when = text("when").unwrap_or("H").to_uppercase();
                let every = super::sink::period(&when, number("interval").max(1));
                file(Rotation::Time { every, backups: number("backupCount") })?
            }
            _ => bail!("{key}.class: {class} is not supported; a StreamHandler or one of the FileHandlers is"),
        };
        let level = level(&key, handler)?.unwrap_or(0);
        Ok(Some(Arc::new(Handler { level, format: self.format(text("formatter"))?, sink })))
    }

    fn format(&self, name: Option<&str>) -> Result<Format> {
        let Some(name) = name else { return Ok(Format::plain()) };
        let Some(formatter) = self.config.get("formatters").and_then(|formatters| formatters.get(name)) else {
            bail!("there is no formatter {name}");
        };
        let text = |key: &str| formatter.get(key).and_then(Value::as_str);
        let class = text("class").or_else(|| text("()")).unwrap_or_default();
        Ok(match class.rsplit('.').next().unwrap_or_default() {
            "TerseJsonFormatter" => Format::Json { time: true },
            "JsonFormatter" => Format::Json { time: false },
            _ if text("style").is_some_and(|style| style != "%") => {
                bail!("formatters.{name}.style: only %-style is supported")
            }
            _ => text("format").map_or_else(Format::plain, Format::parse),
        })
    }
}

/// `level` of a logger or a handler.
fn level(key: &str, owner: &Value) -> Result<Option<Severity>> {
    let Some(value) = owner.get("level").filter(|value| !value.is_null()) else { return Ok(None) };
    Ok(Some(match value.as_str().unwrap_or_default() {
        "NOTSET" => 0,
        "DEBUG" => 10,
        "INFO" => INFO,
        "WARN" | "WARNING" => 30,
        "ERROR" => 40,
        "CRITICAL" | "FATAL" => 50,
        _ => match value.as_u64().and_then(|number| u8::try_from(number).ok()) {
            Some(number) => number,
            None => bail!("{key}.level: {value} is not a level"),
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn levels_come_from_the_nearest_logger() {
        let loggers = read(&json!({
            "root": {"level": "WARNING"},
            "loggers": {"synapse.storage.SQL": {"level": "INFO"}, "synapse": {"level": "DEBUG"}},
        }))
        .unwrap();
        assert!(loggers.takes("synapse.storage.SQL", 20) && !loggers.takes("synapse.storage.SQL.x", 10));
        assert!(loggers.takes("synapse.storage", 10) && !loggers.takes("hyper", 20));
        assert_eq!(loggers.lowest(), 10);
    }

    #[test]
    fn handlers_up_to_one_that_does_not_propagate() {
        let loggers = read(&json!({
            "formatters": {"precise": {"format": "%(message)s"}},
            "handlers": {
                "console": {"class": "logging.StreamHandler", "formatter": "precise", "level": "ERROR"},
                "buffer": {"class": "synapse.logging.handlers.PeriodicallyFlushingMemoryHandler", "target": "out"},
                "out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
                "journal": {"class": "systemd.journal.JournalHandler"},
            },
            "loggers": {"synapse.access": {"handlers": ["buffer"], "propagate": false}},
            "root": {"handlers": ["console", "journal"]},
        }))
        .unwrap();
        let count = |name, severity| loggers.handlers(name, severity).count();
        assert_eq!(count("synapse.access.http.8008", 20), 1);
        assert_eq!((count("synapse.handlers", 20), count("synapse.handlers", 40)), (1, 2));
    }

    #[test]
    fn a_complaint_names_the_key() {
        let fault = |config| format!("{:#}", read(&config).unwrap_err());
        assert_eq!(fault(json!({"root": {"level": "INFFO"}})), "root.level: \"INFFO\" is not a level");
        assert_eq!(fault(json!({"root": {"handlers": ["f"]}})), "root.handlers: there is no handler f");
        let circle = json!({"handlers": {"a": {"class": "MemoryHandler", "target": "a"}}, "root": {"handlers": ["a"]}});
        assert!(fault(circle).contains("handlers.a.class: MemoryHandler is not supported"));
        let odd = json!({"handlers": {"a": {"class": "some.where.Else"}}, "loggers": {"x": {"handlers": ["a"]}}});
        assert!(fault(odd).starts_with("loggers.x.handlers: handlers.a.class: some.where.Else is not supported"));
    }
}
