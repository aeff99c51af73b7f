//! What requests cost, in five counters under a common prefix. Answers to the `ru_*` and `db_*` counters of
//! `synapse/http/request_metrics.py` and `synapse/util/metrics.py`.

use myelin_handlers::usage::Used;
use prometheus::{Counter, CounterVec, IntCounter, IntCounterVec, Opts, Registry};

pub struct UsageMetrics {
    user_time: CounterVec,
    system_time: CounterVec,
    statements: IntCounterVec,
    database: CounterVec,
    waiting: CounterVec,
}

/// The counters of one set of labels.
pub struct UsageCounters {
    user_time: Counter,
    statements: IntCounter,
    database: Counter,
    waiting: Counter,
}

impl UsageMetrics {
    pub fn new(registry: &Registry, prefix: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
        let seconds = |name: &str, help: &str| {
            let counter = CounterVec::new(Opts::new(format!("{prefix}_{name}_seconds_total"), help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let statements = Opts::new(format!("{prefix}_db_txn_count_total"), "Statements");
        let statements = IntCounterVec::new(statements, labels)?;
        registry.register(Box::new(statements.clone()))?;
        Ok(Self {
            user_time: seconds("ru_utime", "Processor time, in the kernel too")?,
            system_time: seconds("ru_stime", "Always 0: it is part of the other")?,
            database: seconds("db_txn_duration", "Time of statements")?,
            waiting: seconds("db_sched_duration", "Time that statements waited for a connection")?,
            statements,
        })
    }

    pub fn of(&self, labels: &[&str]) -> UsageCounters {
        // Sums of both want it to be there.
        self.system_time.with_label_values(labels).inc_by(0.0);
        UsageCounters {
            user_time: self.user_time.with_label_values(labels),
            statements: self.statements.with_label_values(labels),
            database: self.database.with_label_values(labels),
            waiting: self.waiting.with_label_values(labels),
        }
    }
}

impl UsageCounters {
    pub fn add(&self, used: &Used) {
        self.user_time.inc_by(used.cpu.as_secs_f64());
        self.statements.inc_by(used.statements);
        self.database.inc_by(used.database.as_secs_f64());
        self.waiting.inc_by(used.waiting.as_secs_f64());
    }
}
