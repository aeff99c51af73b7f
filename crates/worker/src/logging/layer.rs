//! From tracing's events to Python's log records. Answers to `synapse/logging/context.py` (the request in each line).

use std::borrow::Cow;
use std::fmt::{Debug, Write};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::dict_config::{Loggers, severity};
use super::format::Record;

/// Our crates under the names that operators have in their log configurations.
const NAMES: [(&str, &str); 10] = [
    ("myelin_rest", "synapse.http"),
    ("myelin_handlers", "synapse.handlers"),
    ("myelin_storage", "synapse.storage"),
    ("myelin_replication", "synapse.replication"),
    ("myelin_follower", "synapse.replication.follower"),
    ("myelin_live", "synapse.notifier"),
    ("myelin_caches", "synapse.util.caches"),
    ("myelin_config", "synapse.config"),
    ("myelin", "synapse.app"),
    ("sqlx", "synapse.storage.SQL"),
];

pub struct PythonLayer {
    loggers: Arc<ArcSwap<Loggers>>,
}

impl PythonLayer {
    pub fn new(loggers: Arc<ArcSwap<Loggers>>) -> Self {
        Self { loggers }
    }

    fn takes(&self, metadata: &Metadata<'_>) -> bool {
        let (severity, _) = severity(*metadata.level());
        let loggers = self.loggers.load();
        severity >= loggers.lowest() && loggers.takes(&logger(metadata.target()), severity)
    }
}

/// A target in Python's notation.
fn logger(target: &str) -> Cow<'_, str> {
    if !target.contains("::") && target.contains('.') {
        return Cow::Borrowed(target);
    }
    let (krate, module) = target.split_once("::").unwrap_or((target, ""));
    let name = NAMES.iter().find(|(known, _)| *known == krate).map_or(krate, |(_, name)| name);
    // Statements are all one logger to Synapse.
    let module = if krate == "sqlx" { "" } else { module };
    if module.is_empty() { name.to_owned().into() } else { format!("{name}.{}", module.replace("::", ".")).into() }
}

/// The request's name, kept in its span.
struct Request(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for PythonLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Spans are kept at any level: their lines may matter. SIGHUP asks again for each event.
        if metadata.is_span() || self.takes(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.loggers.load().lowest() {
            0..=9 => LevelFilter::TRACE,
            10..=19 => LevelFilter::DEBUG,
            20..=29 => LevelFilter::INFO,
            30..=39 => LevelFilter::WARN,
            _ => LevelFilter::ERROR,
        })
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() == "request"
            && let Some(span) = context.span(id)
        {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(Request(fields.id));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let (severity, level) = severity(*metadata.level());
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut name = logger(metadata.target());
        if !fields.logger_suffix.is_empty() {
            name = format!("{name}.{}", fields.logger_suffix).into();
        }
        let loggers = self.loggers.load();
        if !loggers.takes(&name, severity) {
            return;
        }
        let scope = context.event_scope(event);
        let request = scope.into_iter().flatten().find_map(|span| {
            let extensions = span.extensions();
            extensions.get::<Request>().map(|request| request.0.clone())
        });
        let record = Record {
            time: SystemTime::now(),
            name: &name,
            level,
            line: metadata.line().unwrap_or(0),
            file: metadata.file().unwrap_or_default(),
            request: request.as_deref(),
            message: &(fields.message + &fields.rest),
        };
        for handler in loggers.handlers(&name, severity) {
            handler.sink.write(&handler.format.line(&record));
        }
    }
}

/// An event's message, and its other fields behind it.
#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
    id: String,
    logger_suffix: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "logger_suffix" => value.clone_into(&mut self.logger_suffix),
            "id" => value.clone_into(&mut self.id),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let (out, written) = match field.name() {
            "message" => (&mut self.message, format!("{value:?}")),
            "id" => (&mut self.id, format!("{value:?}")),
            // `log` records carry these in tracing's bridge.
            name if name.starts_with("log.") => return,
            name => (&mut self.rest, format!(" {name}={value:?}")),
        };
        out.write_str(&written).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_as_pythons_names() {
        for (target, expected) in [
            ("synapse.access.http", "synapse.access.http"),
            ("myelin_storage::events_worker", "synapse.storage.events_worker"),
            ("myelin::logging::layer", "synapse.app.logging.layer"),
            ("myelin", "synapse.app"),
            ("sqlx::query", "synapse.storage.SQL"),
            ("hyper::proto::h1", "hyper.proto.h1"),
        ] {
            assert_eq!(logger(target), expected);
        }
    }
}
