//! Logging as `worker_log_config` asks for it. Answers to `synapse/config/logger.py` and Python's `logging.config`.

mod dict_config;
mod format;
mod layer;
mod sink;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use serde_json::json;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::dict_config::Loggers;
use self::layer::PythonLayer;

/// Lets SIGHUP put a changed file in force.
pub struct Logging {
    loggers: Arc<ArcSwap<Loggers>>,
}

/// Logs as the file says from here on; without one, INFO and above go to stderr.
pub fn init(config: Option<&Path>) -> Result<Logging> {
    let loggers = Arc::new(ArcSwap::from_pointee(read(config)?));
    tracing_subscriber::registry()
        .with(PythonLayer::new(Arc::clone(&loggers)))
        .try_init()
        .context("logging is set up twice")?;
    Ok(Logging { loggers })
}

impl Logging {
    pub fn reload(&self, config: Option<&Path>) {
        match read(config) {
            Ok(loggers) => {
                self.loggers.store(Arc::new(loggers));
                tracing::callsite::rebuild_interest_cache();
                tracing::info!("log configuration read again");
            }
            Err(error) => tracing::error!("logging stays as it was: {error:#}"),
        }
    }
}

fn read(config: Option<&Path>) -> Result<Loggers> {
    let Some(path) = config else { return dict_config::read(&json!({})) };
    let place = || path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(place)?;
    let value = myelin_config::yaml::load(&text).with_context(place)?;
    dict_config::read(&value).with_context(place)
}
