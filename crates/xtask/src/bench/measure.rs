//! Measures the rows: the workers in turn, several times, and the medians of that.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use super::load::{self, Load};
use super::rows::Row;
use super::stack::{Stack, Worker};
use super::usage::{Usage, Used};

/// How long and how often.
#[derive(Clone, Copy)]
pub struct Effort {
    pub time: Duration,
    pub repetitions: usize,
    /// Rows are measured with these numbers of requests at a time, if it is one of theirs.
    pub at_a_time: &'static [usize],
    /// Numbers of long-polls, and messages for each after the first.
    pub waiters: &'static [usize],
    pub rounds: usize,
    /// Without traffic, and again with it.
    pub listening: Duration,
}

/// One worker, one row, one concurrency: medians over the repetitions. Times per request in milliseconds.
#[derive(Clone, Copy, Default)]
pub struct Cell {
    pub per_second: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub worker: f64,
    pub postgres: f64,
    pub statements: f64,
    /// The load generator's CPU, in cores.
    pub generator: f64,
    /// Of the answer.
    pub bytes: f64,
}

/// What a row gave at one concurrency, for each worker of the stack.
pub struct Measured {
    pub row: &'static str,
    pub concurrency: usize,
    pub goal: u32,
    pub cells: Vec<Cell>,
}

/// Where the load runs, and the number of the next request: none is asked twice.
pub type Run<'a> = (&'a Runtime, &'a Arc<AtomicU64>);

/// Every row at each of its concurrencies; `done` sees them one by one.
pub fn rows(
    stack: &Stack,
    rows: &[Row],
    effort: Effort,
    (runtime, number): Run<'_>,
    done: impl Fn(&Measured),
) -> Result<Vec<Measured>> {
    let mut all = Vec::new();
    for row in rows {
        for worker in &stack.workers {
            warm_up(worker, row, number, runtime)?;
        }
        for concurrency in row.concurrency.iter().copied().filter(|concurrency| effort.at_a_time.contains(concurrency))
        {
            let mut cells = vec![Vec::new(); stack.workers.len()];
            for _ in 0..effort.repetitions {
                for (worker, cells) in stack.workers.iter().zip(&mut cells) {
                    cells.push(once(stack, worker, row, concurrency, effort.time, (runtime, number))?);
                }
            }
            let cells = cells.iter().map(|cells| Cell::median(cells)).collect();
            let measured = Measured { row: row.name, concurrency, goal: row.goal, cells };
            done(&measured);
            all.push(measured);
        }
    }
    Ok(all)
}

/// A row asked of a worker for a while.
pub fn once(
    stack: &Stack,
    worker: &Worker,
    row: &Row,
    concurrency: usize,
    time: Duration,
    (runtime, number): Run<'_>,
) -> Result<Cell> {
    let before = Usage::now(&worker.who, &stack.synapse.postgres)?;
    let load = load::run(worker.port, &row.asks, number, concurrency, time);
    let load = runtime.block_on(load).with_context(|| format!("{} at {}", row.name, worker.name))?;
    let used = before.until(&Usage::now(&worker.who, &stack.synapse.postgres)?);
    Ok(Cell::new(&load, &used))
}

fn warm_up(worker: &Worker, row: &Row, number: &Arc<AtomicU64>, runtime: &Runtime) -> Result<()> {
    runtime.block_on(async {
        let mut connection = load::Connection::open(worker.port).await?;
        for _ in 0..row.warm_up {
            let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let asked = connection.ask(&(row.asks)(number)).await;
            asked.with_context(|| format!("{} at {}", row.name, worker.name))?;
        }
        Ok(())
    })
}

impl Cell {
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    fn new(load: &Load, used: &Used) -> Self {
        let requests = load.requests as f64;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        Self {
            per_second: load.per_second(),
            p50: ms(load.percentile(50)),
            p95: ms(load.percentile(95)),
            p99: ms(load.percentile(99)),
            worker: ms(used.worker) / requests,
            postgres: ms(used.postgres) / requests,
            statements: used.statements as f64 / requests,
            generator: used.generator.as_secs_f64() / load.took.as_secs_f64(),
            bytes: load.bytes as f64,
        }
    }

    /// Of each value by itself.
    pub fn median(cells: &[Self]) -> Self {
        let of = |value: fn(&Self) -> f64| median(cells.iter().map(value).collect());
        Self {
            per_second: of(|cell| cell.per_second),
            p50: of(|cell| cell.p50),
            p95: of(|cell| cell.p95),
            p99: of(|cell| cell.p99),
            worker: of(|cell| cell.worker),
            postgres: of(|cell| cell.postgres),
            statements: of(|cell| cell.statements),
            generator: of(|cell| cell.generator),
            bytes: of(|cell| cell.bytes),
        }
    }
}

/// The middle value, or the mean of the two in the middle; 0 if there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(median(vec![3.0, 1.0, 2.0]), 2.0));
        assert!(near(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5));
        assert!(near(median(vec![]), 0.0));
    }
}
