//! How long statements wait and take. Answers to `sql_scheduling_timer`, `sql_query_timer`, `sql_txn_count` and
//! `sql_txn_duration` in `synapse/storage/database.py`.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, TryFutureExt, TryStreamExt};
use myelin_caches::usage;
use prometheus::core::Collector;
use prometheus::{Counter, CounterVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Either, Error, Execute, Executor, PgPool, Postgres, SqlStr};

use crate::health::Health;
use crate::retry::{Attempts, Statement};

include!(concat!(env!("OUT_DIR"), "/functions.rs"));

/// Those of Python's client library.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

#[derive(Debug)]
pub(crate) struct StorageMetrics {
    waited: Histogram,
    count: IntCounterVec,
    took: CounterVec,
    by_verb: HistogramVec,
    /// By the address of the place that the statement was asked for from: as many as there are such places.
    statements: RwLock<HashMap<usize, Arc<Measured>>>,
    pub(crate) health: Arc<Health>,
}

/// What is counted for one place in the program.
#[derive(Debug)]
struct Measured {
    count: IntCounter,
    took: Counter,
    /// That of its verb.
    query_time: Histogram,
}

impl StorageMetrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let waited = HistogramOpts::new("synapse_storage_schedule_time", "Time a statement waited for a connection");
        let by_verb = HistogramOpts::new("synapse_storage_query_time", "Time of a statement");
        let name = |name: &str| Opts::new(format!("synapse_storage_transaction_time_{name}_total"), "Of statements");
        Ok(Self {
            waited: Histogram::with_opts(waited.buckets(BUCKETS.to_vec()))?,
            count: IntCounterVec::new(name("count"), &["desc"])?,
            took: CounterVec::new(name("sum"), &["desc"])?,
            by_verb: HistogramVec::new(by_verb.buckets(BUCKETS.to_vec()), &["verb"])?,
            statements: RwLock::default(),
            health: Arc::default(),
        })
    }

    pub(crate) fn collectors(&self) -> Vec<Box<dyn Collector>> {
        vec![
            Box::new(self.waited.clone()),
            Box::new(self.count.clone()),
            Box::new(self.took.clone()),
            Box::new(self.by_verb.clone()),
        ]
    }

    fn measured(&self, caller: &'static Location<'static>, statement: &Statement) -> Arc<Measured> {
        let address = std::ptr::from_ref(caller).addr();
        let known = self.statements.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(measured) = known.get(&address) {
            return Arc::clone(measured);
        }
        drop(known);
        let desc = function_at(caller);
        let measured = Arc::new(Measured {
            count: self.count.with_label_values(&[desc]),
            took: self.took.with_label_values(&[desc]),
            query_time: self.by_verb.with_label_values(&[statement.verb]),
        });
        let mut known = self.statements.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(address).or_insert(measured))
    }
}

/// The function around a place in this crate.
fn function_at(place: &Location<'_>) -> &'static str {
    let file = place.file().rsplit('/').next().unwrap_or_default();
    let after = FUNCTIONS.partition_point(|(name, line, _)| (*name, *line) <= (file, place.line()));
    let before = after.checked_sub(1).and_then(|index| FUNCTIONS.get(index));
    before.filter(|(name, ..)| *name == file).map_or("other", |(.., function)| function)
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
        let took = start.elapsed();
        self.metrics.waited.observe(took.as_secs_f64());
        usage::waited(took);
        connection
    }

    /// `operation` as often as lost connections end it, if it may run again.
    async fn run<'q, T>(
        self,
        query: impl Execute<'q, Postgres>,
        operation: impl for<'c> Fn(&'c mut PgConnection, Statement) -> BoxFuture<'c, Result<T, Error>>,
    ) -> Result<T, Error> {
        let statement = Statement::of(query)?;
        let measured = self.metrics.measured(self.caller, &statement);
        let mut attempts = Attempts::default();
        loop {
            let mut connection = self.acquire(&mut attempts).await?;
            let start = Instant::now();
            let result = operation(&mut connection, statement.clone()).await;
            self.finished(&measured, start.elapsed(), &result);
            if !(statement.may_run_again && attempts.try_again(&result)) {
                return result;
            }
        }
    }

    fn finished<T>(self, measured: &Measured, took: Duration, result: &Result<T, Error>) {
        self.metrics.health.note(result);
        measured.count.inc();
        measured.took.inc_by(took.as_secs_f64());
        measured.query_time.observe(took.as_secs_f64());
        usage::statement(took);
    }
}

impl<'c> Executor<'c> for Timed<'c> {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let gather = self.run(query, |connection, statement| connection.fetch_many(statement).try_collect().boxed());
        let steps = |gathered: Vec<_>| stream::iter(gathered.into_iter().map(Ok));
        Box::pin(gather.map_ok(steps).try_flatten_stream())
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.run(query, |connection, statement| connection.fetch_optional(statement)).boxed()
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        self.pool.prepare_with(sql, parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_known_by_its_function() {
        assert_eq!(function_at(Location::caller()), "a_place_is_known_by_its_function");
        let names: Vec<&str> = FUNCTIONS.iter().map(|(.., name)| *name).collect();
        for known in ["get_rooms_for_user", "get_user_by_access_token", "get_ratelimit_for_user"] {
            assert!(names.contains(&known), "{known}");
        }
        assert!(FUNCTIONS.is_sorted());
    }
}
