//! What a request or a background process uses: statements, and processor time. Answers to `LoggingContext` in
//! `synapse/logging/context.py`.
//!
//! It lies here because work is shared here: a load is charged to the request that set it off.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

tokio::task_local! {
    static CURRENT: Arc<Usage>;
}

/// Counts up to now.
#[derive(Debug, Default)]
pub struct Usage {
    statements: AtomicU64,
    database_us: AtomicU64,
    waiting_us: AtomicU64,
    cpu_ns: AtomicU64,
}

/// What was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Statements that ran.
    pub statements: u64,
    /// How long they took.
    pub database: Duration,
    /// How long they waited for a connection.
    pub waiting: Duration,
    /// Processor time, in the program and in the kernel.
    pub cpu: Duration,
}

impl Usage {
    pub fn used(&self) -> Used {
        let micros = |counter: &AtomicU64| Duration::from_micros(counter.load(Ordering::Relaxed));
        Used {
            statements: self.statements.load(Ordering::Relaxed),
            database: micros(&self.database_us),
            waiting: micros(&self.waiting_us),
            cpu: Duration::from_nanos(self.cpu_ns.load(Ordering::Relaxed)),
        }
    }

    /// Charges `work` to this. Processor time counts while `work` is polled: not in the tasks that it spawns.
    pub async fn charge<F: Future>(self: &Arc<Self>, work: F) -> F::Output {
        let mut work = pin!(CURRENT.scope(Arc::clone(self), work));
        poll_fn(|context| {
            let before = thread_time();
            let polled = work.as_mut().poll(context);
            let took = thread_time().saturating_sub(before);
            self.cpu_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
            polled
        })
        .await
    }
}

/// A statement that the current task ran.
pub fn statement(took: Duration) {
    note(|usage| {
        usage.statements.fetch_add(1, Ordering::Relaxed);
        add(&usage.database_us, took);
    });
}

/// The current task waited for a connection.
pub fn waited(took: Duration) {
    note(|usage| add(&usage.waiting_us, took));
}

/// For a task that works for the current one.
pub(crate) async fn carry<F: Future>(usage: Option<Arc<Usage>>, work: F) -> F::Output {
    match usage {
        Some(usage) => usage.charge(work).await,
        None => work.await,
    }
}

/// Whom the current task works for; nobody in particular outside of `charge`.
pub(crate) fn current() -> Option<Arc<Usage>> {
    CURRENT.try_with(Arc::clone).ok()
}

fn note(change: impl FnOnce(&Usage)) {
    // Outside of `charge` nobody asks.
    let _ = CURRENT.try_with(|usage| change(usage));
}

fn add(counter: &AtomicU64, took: Duration) {
    counter.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

/// Work that no request asked for. Answers to `synapse/metrics/background_process_metrics.py`.
#[derive(Debug, Default)]
pub struct Process {
    starts: AtomicU64,
    ends: AtomicU64,
    usage: Arc<Usage>,
}

impl Process {
    /// Once.
    pub async fn run<F: Future>(&self, work: F) -> F::Output {
        struct Ended<'a>(&'a AtomicU64);
        impl Drop for Ended<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.starts.fetch_add(1, Ordering::Relaxed);
        let _ended = Ended(&self.ends);
        self.usage.charge(work).await
    }

    /// How often it started, and how many of these still run.
    pub fn runs(&self) -> (u64, u64) {
        let ends = self.ends.load(Ordering::Relaxed);
        let starts = self.starts.load(Ordering::Relaxed);
        (starts, starts.saturating_sub(ends))
    }

    pub fn used(&self) -> Used {
        self.usage.used()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_charged_to_whom_it_is_done_for() {
        let process = Process::default();
        statement(Duration::from_secs(9));
        process
            .run(async {
                waited(Duration::from_millis(1));
                tokio::task::yield_now().await;
                statement(Duration::from_millis(2));
                tokio::spawn(carry(current(), async { statement(Duration::from_millis(3)) })).await.unwrap();
                assert_eq!(process.runs(), (1, 1));
                // Something to do, so that the clock moves.
                while process.used().cpu.is_zero() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        let Used { statements, database, waiting, .. } = process.used();
        assert_eq!((statements, database, waiting), (2, Duration::from_millis(5), Duration::from_millis(1)));
        assert_eq!(process.runs(), (1, 0));
    }
}
