//! Everything that runs: what is broken is behind relays, or can be restarted.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use myelin_testkit::http;
use myelin_testkit::program::program;
use myelin_testkit::relay::Relay;
use myelin_testkit::synapse::Synapse;
use myelin_testkit::writers::SEPARATE;

use crate::eventually;
use crate::myelin::Myelin;
use crate::talker::Talker;

/// Conditions that a healthy system reaches in a second or two; generous, for the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// How long something cannot be reached; `MYELIN_FAULTS_AWAY` sets other seconds. Statements are tried again for half
/// a minute.
pub fn away() -> Duration {
    let seconds = std::env::var("MYELIN_FAULTS_AWAY").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1))
}

pub struct Stage {
    pub synapse: Synapse,
    pub redis: Relay,
    pub postgres: Relay,
    pub myelin: Myelin,
    pub talker: Arc<Talker>,
}

impl Stage {
    pub fn start(folder: &Path) -> Result<Self> {
        Self::start_with(folder, "caches: {sync_response_cache_duration: 0}\n")
    }

    /// With this added to homeserver.yaml.
    pub fn start_with(folder: &Path, settings: &str) -> Result<Self> {
        program()?;
        let synapse = Synapse::start_with(folder, settings, SEPARATE)?;
        let (redis, postgres) = (Relay::start(synapse.redis.port)?, Relay::start(synapse.postgres.port)?);
        let myelin = Myelin::start(&synapse, "myelin1", redis.port, postgres.port)?;
        let talker = Arc::new(Talker::new(&synapse, 2)?);
        Ok(Self { synapse, redis, postgres, myelin, talker })
    }

    pub fn log_tail(&self) -> String {
        let log = self.myelin.service.log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("Processed request")).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// The sum over all labels of one of Myelin's metrics.
    pub fn metric(&self, name: &str) -> Result<usize> {
        Ok(usize::try_from(http::metric(self.myelin.port, name)?)?)
    }

    /// Requests that wait now.
    pub fn listeners(&self) -> Result<usize> {
        self.metric("synapse_notifier_listeners")
    }

    pub fn wait_for_listeners(&self, at_least: usize) -> Result<()> {
        eventually("the requests do not wait", || Ok(self.listeners()? >= at_least))
    }

    pub fn wait_for_listeners_below(&self, limit: usize) -> Result<()> {
        eventually("requests of clients that went away still wait", || Ok(self.listeners()? < limit))
    }
}
