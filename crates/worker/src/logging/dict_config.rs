//! The usual subset of Python's dictConfig: levels, handlers, formatters, propagation. Answers to
//! `logging.config.dictConfig` and `synapse/config/logger.py`.
//!
//! What is unknown is warned of and goes to stderr; a log configuration never stops the worker.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use tracing::Level;

use super::format::Format;
use super::sink::{Rotation, Sink};

/// Higher is more important, as in Python.
pub type Severity = u8;

pub const INFO: Severity = 20;

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

/// The loggers that a configuration describes, and what of it was not understood.
pub fn read(config: &Value) -> (Loggers, Vec<String>) {
    let mut reader = Reader { config, handlers: BTreeMap::new(), warnings: Vec::new() };
    let mut root = reader.logger(config.get("root").unwrap_or(&Value::Null));
    if root.handlers.is_empty() && config.get("root").is_none_or(|root| root.get("handlers").is_none()) {
        root.handlers.push(Arc::new(Handler { level: 0, format: Format::default(), sink: Sink::stderr() }));
    }
    root.level.get_or_insert(INFO);
    let mut named = BTreeMap::new();
    for (name, logger) in entries(config, "loggers") {
        named.insert(name.clone(), reader.logger(logger));
    }
    let lowest = named.values().chain([&root]).filter_map(|logger| logger.level).min().unwrap_or(INFO);
    (Loggers { root, named, lowest }, reader.warnings)
}

fn entries<'a>(config: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    config.get(key).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

struct Reader<'a> {
    config: &'a Value,
    handlers: BTreeMap<String, Option<Arc<Handler>>>,
    warnings: Vec<String>,
}

impl Reader<'_> {
    fn logger(&mut self, logger: &Value) -> Logger {
        let level = logger.get("level").map(|value| self.level(value));
        let names = logger.get("handlers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let handlers = names.filter_map(|name| self.handler(name, 0)).collect();
        let propagate = logger.get("propagate").and_then(Value::as_bool).unwrap_or(true);
        Logger { level, handlers, propagate }
    }

    fn level(&mut self, value: &Value) -> Severity {
        let number = value.as_u64().and_then(|number| u8::try_from(number).ok());
        match value.as_str().unwrap_or_default().to_uppercase().as_str() {
            "NOTSET" => 0,
            "DEBUG" => 10,
            "INFO" => 20,
            "WARN" | "WARNING" => 30,
            "ERROR" => 40,
            "CRITICAL" | "FATAL" => 50,
            _ => number.unwrap_or_else(|| {
                self.warnings.push(format!("unknown level {value}; INFO is used"));
                INFO
            }),
        }
    }

    /// The handler of a name, made once. `depth`: how many buffers lead to it.
    fn handler(&mut self, name: &str, depth: usize) -> Option<Arc<Handler>> {
        if let Some(known) = self.handlers.get(name) {
            return known.clone();
        }
        let made = self.make_handler(name, depth);
        self.handlers.insert(name.to_owned(), made.clone());
        made
    }

    fn make_handler(&mut self, name: &str, depth: usize) -> Option<Arc<Handler>> {
        let Some(handler) = self.config.get("handlers").and_then(|handlers| handlers.get(name)) else {
            self.warnings.push(format!("there is no handler {name}"));
            return None;
        };
        let text = |key: &str| handler.get(key).and_then(Value::as_str);
        let class = text("class").or_else(|| text("()")).unwrap_or_default();
        let number = |key: &str| handler.get(key).and_then(Value::as_u64).unwrap_or(0);
        let file = |rotation| text("filename").map(|name| Sink::file(name.as_ref(), rotation));
        let sink = match class.rsplit('.').next().unwrap_or_default() {
            "NullHandler" => return None,
            // Lines leave at once; a buffer would only lose some of them in a crash.
            "PeriodicallyFlushingMemoryHandler" | "MemoryHandler" if depth < 8 => {
                return self.handler(text("target").unwrap_or_default(), depth + 1);
            }
            "StreamHandler" if text("stream").is_some_and(|stream| stream.ends_with("stdout")) => Ok(Sink::stdout()),
            "StreamHandler" => Ok(Sink::stderr()),
            "FileHandler" | "WatchedFileHandler" => file(Rotation::Never).unwrap_or_else(no_file),
            "RotatingFileHandler" => {
                file(Rotation::Size { max: number("maxBytes"), backups: number("backupCount") }).unwrap_or_else(no_file)
            }
            "TimedRotatingFileHandler" => {
                let when = text("when").unwrap_or("H").to_uppercase();
                let every = super::sink::period(&when, number("interval").max(1));
                file(Rotation::Time { every, backups: number("backupCount") }).unwrap_or_else(no_file)
            }
            _ => Err(std::io::Error::other(format!("class {class} is not known here"))),
        };
        let sink = sink.unwrap_or_else(|error| {
            self.warnings.push(format!("handler {name} writes to stderr: {error}"));
            Sink::stderr()
        });
        let level = handler.get("level").map_or(0, |value| self.level(value));
        Some(Arc::new(Handler { level, format: self.format(text("formatter")), sink }))
    }

    fn format(&mut self, name: Option<&str>) -> Format {
        let formatter = name.and_then(|name| self.config.get("formatters")?.get(name));
        let text = |key: &str| formatter.and_then(|formatter| formatter.get(key)?.as_str());
        let class = text("class").or_else(|| text("()")).unwrap_or_default();
        match class.rsplit('.').next().unwrap_or_default() {
            "TerseJsonFormatter" => Format::Json { time: true },
            "JsonFormatter" => Format::Json { time: false },
            _ if text("style").is_some_and(|style| style != "%") => {
                self.warnings.push("only formats in %-style are understood".to_owned());
                Format::default()
            }
            // Python's own default when a handler has no format.
            _ => text("format").map_or_else(|| Format::parse("%(message)s"), Format::parse),
        }
    }
}

fn no_file() -> std::io::Result<Sink> {
    Err(std::io::Error::other("it has no filename"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn levels_come_from_the_nearest_logger() {
        let (loggers, warnings) = read(&json!({
            "root": {"level": "WARNING"},
            "loggers": {"synapse.storage.SQL": {"level": "INFO"}, "synapse": {"level": "DEBUG"}},
        }));
        assert_eq!(warnings, Vec::<String>::new());
        assert!(loggers.takes("synapse.storage.SQL", 20) && !loggers.takes("synapse.storage.SQL.x", 10));
        assert!(loggers.takes("synapse.storage", 10) && !loggers.takes("hyper", 20));
        assert_eq!(loggers.lowest(), 10);
    }

    #[test]
    fn handlers_up_to_one_that_does_not_propagate() {
        let (loggers, warnings) = read(&json!({
            "formatters": {"precise": {"format": "%(message)s"}},
            "handlers": {
                "console": {"class": "logging.StreamHandler", "formatter": "precise", "level": "ERROR"},
                "buffer": {"class": "synapse.logging.handlers.PeriodicallyFlushingMemoryHandler", "target": "out"},
                "out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
                "odd": {"class": "some.where.Else"},
            },
            "loggers": {"synapse.access": {"handlers": ["buffer"], "propagate": false}},
            "root": {"handlers": ["console", "odd"]},
        }));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let count = |name, severity| loggers.handlers(name, severity).count();
        assert_eq!(count("synapse.access.http.8008", 20), 1);
        assert_eq!((count("synapse.handlers", 20), count("synapse.handlers", 40)), (1, 2));
    }
}
