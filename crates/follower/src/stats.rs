//! What is counted while following; read by the metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use myelin_model::StreamName;
use myelin_storage::usage::Process;
use tokio::sync::mpsc::{Sender, WeakSender};

use crate::stream::Line;

#[derive(Debug)]
pub struct Stats {
    streams: BTreeMap<StreamName, StreamStats>,
    commands: Mutex<BTreeMap<&'static str, u64>>,
    /// Synapse's `process-replication-data`.
    pub process: Process,
}

#[derive(Debug, Default)]
struct StreamStats {
    rows: AtomicU64,
    lag_us: AtomicU64,
    overflowed: AtomicBool,
    queue: OnceLock<WeakSender<Line>>,
}

impl Default for Stats {
    fn default() -> Self {
        let streams = StreamName::ALL.into_iter().map(|stream| (stream, StreamStats::default())).collect();
        Self { streams, commands: Mutex::default(), process: Process::default() }
    }
}

impl Stats {
    pub(crate) fn command(&self, name: &'static str) {
        *self.commands.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
    }

    /// The stream's lines wait there.
    pub(crate) fn watch(&self, stream: StreamName, queue: &Sender<Line>) {
        if let Some(stats) = self.streams.get(&stream) {
            // Each stream has one.
            stats.queue.get_or_init(|| queue.downgrade());
        }
    }

    pub(crate) fn applied(&self, stream: StreamName, rows: usize, lag: Option<Duration>) {
        let Some(stats) = self.streams.get(&stream) else { return };
        stats.rows.fetch_add(rows as u64, Ordering::Relaxed);
        if let Some(lag) = lag {
            stats.lag_us.store(u64::try_from(lag.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// A line was dropped: what follows it cannot be trusted.
    pub(crate) fn overflow(&self, stream: StreamName) {
        if let Some(stats) = self.streams.get(&stream) {
            stats.overflowed.store(true, Ordering::Release);
        }
    }

    pub(crate) fn take_overflow(&self, stream: StreamName) -> bool {
        self.streams.get(&stream).is_some_and(|stats| stats.overflowed.swap(false, Ordering::AcqRel))
    }

    /// Lines received, by command.
    pub fn commands(&self) -> Vec<(&'static str, u64)> {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.iter().map(|(name, count)| (*name, *count)).collect()
    }

    /// Stream, and lines that wait for it to be ready.
    pub fn queues(&self) -> Vec<(&'static str, usize)> {
        let length = |stats: &StreamStats| {
            let queue = stats.queue.get().and_then(WeakSender::upgrade);
            queue.map_or(0, |queue| queue.max_capacity() - queue.capacity())
        };
        self.streams.iter().map(|(stream, stats)| (stream.as_str(), length(stats))).collect()
    }

    /// Stream, rows applied, seconds between the last line's arrival and its effect.
    pub fn streams(&self) -> Vec<(&'static str, u64, f64)> {
        let stats = |(stream, stats): (&StreamName, &StreamStats)| {
            let lag = Duration::from_micros(stats.lag_us.load(Ordering::Relaxed)).as_secs_f64();
            (stream.as_str(), stats.rows.load(Ordering::Relaxed), lag)
        };
        self.streams.iter().map(stats).collect()
    }
}
