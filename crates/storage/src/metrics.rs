//! How long statements wait and take. Answers to `sql_scheduling_timer`, `sql_txn_count` and `sql_txn_duration`
//! in `synapse/storage/database.py`.

use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{self, BoxStream};
use prometheus::core::Collector;
use prometheus::{CounterVec, Histogram, HistogramOpts, IntCounterVec, Opts};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Either, Error, Execute, Executor, PgPool, Postgres, SqlStr};

use crate::health::Health;
use crate::retry::{Attempts, Statement};

/// Those of Python's client library.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

#[derive(Debug)]
pub(crate) struct StorageMetrics {
    waited: Histogram,
    count: IntCounterVec,
    took: CounterVec,
    pub(crate) health: Arc<Health>,
}

impl StorageMetrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let waited = HistogramOpts::new("synapse_storage_schedule_time", "Time a statement waited for a connection");
        let name = |name: &str| Opts::new(format!("synapse_storage_transaction_time_{name}_total"), "Of statements");
        Ok(Self {
            waited: Histogram::with_opts(waited.buckets(BUCKETS.to_vec()))?,
            count: IntCounterVec::new(name("count"), &["desc"])?,
            took: CounterVec::new(name("sum"), &["desc"])?,
            health: Arc::default(),
        })
    }

    pub(crate) fn collectors(&self) -> Vec<Box<dyn Collector>> {
        vec![Box::new(self.waited.clone()), Box::new(self.count.clone()), Box::new(self.took.clone())]
    }
}

/// A pool that measures what it is used for. Rows are gathered before the caller sees the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timed<'a> {
    pub(crate) pool: &'a PgPool,
    pub(crate) metrics: &'a StorageMetrics,
    /// Names the statement.
    pub(crate) caller: &'static Location<'static>,
}

impl Timed<'_> {
    async fn acquire(self, attempts: &mut Attempts) -> Result<PoolConnection<Postgres>, Error> {
        let start = Instant::now();
        let connection = loop {
            if let Some(pause) = attempts.pause() {
                tokio::time::sleep(pause).await;
            }
            let connection = self.pool.acquire().await;
            if connection.is_err() {
                self.metrics.health.note(&connection);
            }
            if !attempts.try_again(&connection) {
                break connection;
            }
        };
        self.metrics.waited.observe(start.elapsed().as_secs_f64());
        connection
    }

    /// Synapse's `desc` is a function's name; ours is the store's file and the line.
    fn finished<T>(self, start: Instant, result: &Result<T, Error>) {
        self.metrics.health.note(result);
        let file = self.caller.file().rsplit('/').next().unwrap_or_default();
        let desc = format!("{}:{}", file.trim_end_matches(".rs"), self.caller.line());
        self.metrics.count.with_label_values(&[&desc]).inc();
        self.metrics.took.with_label_values(&[&desc]).inc_by(start.elapsed().as_secs_f64());
    }
}

type Step = Result<Either<PgQueryResult, PgRow>, Error>;

impl<'c> Executor<'c> for Timed<'c> {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Step>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let gather = async move {
            let statement = Statement::of(query)?;
            let mut attempts = Attempts::default();
            loop {
                let mut connection = self.acquire(&mut attempts).await?;
                let start = Instant::now();
                let steps: Vec<Step> = connection.fetch_many(statement.clone()).collect().await;
                if let Some(last) = steps.last() {
                    self.finished(start, last);
                    if statement.may_run_again && attempts.try_again(last) {
                        continue;
                    }
                }
                return Ok(steps);
            }
        };
        let steps = stream::once(gather).flat_map(|gathered: Result<Vec<Step>, Error>| match gathered {
            Ok(steps) => stream::iter(steps).left_stream(),
            Err(error) => stream::once(ready(Err(error))).right_stream(),
        });
        Box::pin(steps)
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let statement = Statement::of(query)?;
            let mut attempts = Attempts::default();
            loop {
                let mut connection = self.acquire(&mut attempts).await?;
                let start = Instant::now();
                let row = connection.fetch_optional(statement.clone()).await;
                self.finished(start, &row);
                if statement.may_run_again && attempts.try_again(&row) {
                    continue;
                }
                return row;
            }
        })
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        self.pool.prepare_with(sql, parameters)
    }
}
