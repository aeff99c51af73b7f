//! What comes and goes over Redis, and how late it takes effect. Answers to `synapse/replication/tcp/handler.py` and
//! `protocol.py`.

use std::sync::Arc;

use myelin_follower::Stats;
use myelin_replication::Commands;
use myelin_storage::usage::Process;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, IntCounterVec, IntGaugeVec, Opts};

/// Read when asked for.
pub struct Replication {
    stats: Arc<Stats>,
    /// Counts what was sent. While these metrics exist, commands can be sent.
    sender: Commands,
    commands: IntCounterVec,
    sent: IntCounterVec,
    rows: IntCounterVec,
    lag: GaugeVec,
    queue: IntGaugeVec,
    process: ProcessMetrics,
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
            queue: IntGaugeVec::new(
                Opts::new("synapse_replication_tcp_command_queue", "Lines that wait for their stream"),
                &["stream_name"],
            )?,
            process: ProcessMetrics::new()?,
        })
    }

    fn all(&self) -> Vec<&dyn Collector> {
        let mut all: Vec<&dyn Collector> = vec![&self.commands, &self.sent, &self.rows, &self.lag, &self.queue];
        all.extend(self.process.all());
        all
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
        for (stream, length) in self.stats.queues() {
            self.queue.with_label_values(&[stream]).set(i64::try_from(length).unwrap_or(i64::MAX));
        }
        self.process.set("process-replication-data", &self.stats.process);
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}

/// Answers to `synapse/metrics/background_process_metrics.py`.
struct ProcessMetrics {
    starts: IntCounterVec,
    in_flight: IntGaugeVec,
    statements: IntCounterVec,
    /// All of the processor time; the kernel's part is not known apart.
    user_time: CounterVec,
    system_time: CounterVec,
    database: CounterVec,
    waiting: CounterVec,
}

impl ProcessMetrics {
    fn new() -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(format!("synapse_background_process_{name}"), help);
        let seconds = |name: &str, help: &str| CounterVec::new(opts(&format!("{name}_seconds_total"), help), &["name"]);
        Ok(Self {
            starts: IntCounterVec::new(opts("start_count_total", "Times it started"), &["name"])?,
            in_flight: IntGaugeVec::new(opts("in_flight_count", "How many run"), &["name"])?,
            statements: IntCounterVec::new(opts("db_txn_count_total", "Statements"), &["name"])?,
            user_time: seconds("ru_utime", "Processor time, in the kernel too")?,
            system_time: seconds("ru_stime", "Always 0: it is part of the other")?,
            database: seconds("db_txn_duration", "Time of statements")?,
            waiting: seconds("db_sched_duration", "Time that statements waited for a connection")?,
        })
    }

    fn all(&self) -> [&dyn Collector; 7] {
        let Self { starts, in_flight, statements, user_time, system_time, database, waiting } = self;
        [starts, in_flight, statements, user_time, system_time, database, waiting]
    }

    fn set(&self, name: &str, process: &Process) {
        let ((starts, running), used) = (process.runs(), process.used());
        for (counters, count) in [(&self.starts, starts), (&self.statements, used.statements)] {
            let counter = counters.with_label_values(&[name]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        self.in_flight.with_label_values(&[name]).set(i64::try_from(running).unwrap_or(i64::MAX));
        for (counters, time) in
            [(&self.user_time, used.cpu), (&self.database, used.database), (&self.waiting, used.waiting)]
        {
            let counter = counters.with_label_values(&[name]);
            counter.inc_by((time.as_secs_f64() - counter.get()).max(0.0));
        }
        self.system_time.with_label_values(&[name]).inc_by(0.0);
    }
}
