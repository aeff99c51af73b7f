//! What the parts below `rest` count, put into its exposition under Synapse's names.

mod caches;
mod live;
mod replication;

use std::sync::Arc;

use myelin_follower::Stats;
use myelin_handlers::Handlers;
use myelin_live::Reader;
use myelin_replication::Commands;
use myelin_rest::Metrics;
use myelin_storage::Storage;

/// Registered once, when all parts are there.
pub fn register(
    metrics: &Metrics,
    storage: &Storage,
    live: &Reader,
    handlers: Arc<Handlers>,
    replication: Arc<Stats>,
    commands: Commands,
) -> Result<(), prometheus::Error> {
    for collector in storage.collectors() {
        metrics.register(collector)?;
    }
    metrics.register(Box::new(caches::Caches::new(storage, handlers)?))?;
    metrics.register(Box::new(live::Live::new(live)?))?;
    metrics.register(Box::new(replication::Replication::new(replication, commands)?))
}
