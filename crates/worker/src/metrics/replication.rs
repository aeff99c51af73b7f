//! What comes and goes over Redis, and how late it takes effect. Answers to `synapse/replication/tcp/handler.py` and
//! `protocol.py`.

use std::sync::Arc;

use myelin_follower::Stats;
use myelin_replication::Commands;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, Opts};

/// Read when asked for.
pub struct Replication {
    stats: Arc<Stats>,
    /// Counts what was sent. While these metrics exist, commands can be sent.
    sender: Commands,
    commands: IntCounterVec,
    sent: IntCounterVec,
    rows: IntCounterVec,
    lag: GaugeVec,
}

impl Replication {
    pub fn new(stats: Arc<Stats>, sender: Commands) -> Result<Self, prometheus::Error> {
        let protocol =
            |name: &str, help: &str| Opts::new(format!("synapse_replication_tcp_protocol_{name}_total"), help);
        let lag = Opts::new("myelin_replication_lag_seconds", "From the arrival of the last row to its effect");
        Ok(Self {
            stats,
            sender,
            sent: IntCounterVec::new(protocol("outbound_commands", "Commands sent"), &["command", "name"])?,
            commands: IntCounterVec::new(protocol("inbound_commands", "Commands received"), &["command", "name"])?,
            rows: IntCounterVec::new(protocol("inbound_rdata_count", "Rows received"), &["stream_name"])?,
            lag: GaugeVec::new(lag, &["stream_name"])?,
        })
    }

    fn all(&self) -> [&dyn Collector; 4] {
        [&self.commands, &self.sent, &self.rows, &self.lag]
    }
}

impl Collector for Replication {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (counters, counts) in [(&self.commands, self.stats.commands()), (&self.sent, self.sender.sent())] {
            for (command, count) in counts {
                let counter = counters.with_label_values(&[command, "redis"]);
                counter.inc_by(count.saturating_sub(counter.get()));
            }
        }
        for (stream, rows, lag) in self.stats.streams() {
            let counter = self.rows.with_label_values(&[stream]);
            counter.inc_by(rows.saturating_sub(counter.get()));
            self.lag.with_label_values(&[stream]).set(lag);
        }
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}
