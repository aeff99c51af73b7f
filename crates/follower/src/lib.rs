//! Follows what the other processes write: wire, then invalidate, then advance, then wake.
//! Answers to `synapse/replication/tcp/handler.py` and `client.py`.
//!
//! Each stream has a task of its own: one that waits for its writer does not hold up the others.

mod apply;
mod positions;
mod stats;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashSet;
use myelin_config::Config;
use myelin_live::{Reader, Writer};
use myelin_model::StreamName;
use myelin_replication::{Client, Command, Commands, Incoming, Subscriber};
use myelin_storage::{Storage, StorageError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use stats::Stats;

use stream::{Line, StreamTask};

/// Lines of one stream that wait while the stream catches up. Beyond, the stream begins anew.
const QUEUE: usize = 10_000;
/// Unknown names remembered, so that each is warned of once.
const MAX_WARNED: usize = 100;

/// What every stream's task works with.
struct Shared {
    config: Arc<Config>,
    writer: Writer,
    reader: Reader,
    storage: Storage,
    http: Client,
    commands: Commands,
    stats: Arc<Stats>,
    stop: CancellationToken,
}

/// Owns the present's only `Writer`.
pub struct Follower {
    shared: Arc<Shared>,
    queues: BTreeMap<StreamName, mpsc::Sender<Line>>,
    warned: HashSet<String>,
}

impl Follower {
    /// Presence is loaded before anything is followed, and each stream's task is started.
    pub async fn start(
        config: Arc<Config>,
        writer: Writer,
        storage: Storage,
        http: Client,
        commands: Commands,
        stop: CancellationToken,
    ) -> Result<Self, StorageError> {
        for presence in storage.active_presence().await? {
            writer.set_presence(presence);
        }
        let (reader, stats) = (writer.reader(), Arc::new(Stats::default()));
        let shared = Arc::new(Shared { config, writer, reader, storage, http, commands, stats, stop });
        let start = |stream| {
            let (queue, lines) = mpsc::channel(QUEUE);
            shared.stats.watch(stream, &queue);
            tokio::spawn(StreamTask::new(Arc::clone(&shared), stream).run(lines));
            (stream, queue)
        };
        let queues = StreamName::ALL.into_iter().map(start).collect();
        Ok(Self { queues, warned: HashSet::new(), shared })
    }

    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.shared.stats)
    }

    /// Until the process is told to stop; then every long-poll ends too, and each stream with its queue.
    pub async fn run(mut self, mut incoming: Subscriber) {
        while let Some(next) = incoming.recv().await {
            match next {
                Incoming::Connected => {
                    self.announce();
                    self.broadcast();
                }
                // What was missed shows when positions come again.
                Incoming::Lost => {}
                Incoming::Command(command) => self.dispatch(command),
            }
        }
        self.shared.writer.stop();
    }

    /// Where this process stands in the one stream that it may write: others count it among the writers then, and
    /// fetch what they missed.
    fn announce(&self) {
        let instance: Arc<str> = self.shared.config.worker.name.as_str().into();
        let known = self.shared.reader.position(StreamName::Caches, &instance);
        let position = known.max(self.shared.storage.last_invalidation());
        let stream = StreamName::Caches.as_str().to_owned();
        self.shared.commands.send(&Command::Position { stream, instance, prev: position, new: position });
    }

    fn broadcast(&self) {
        for (stream, queue) in &self.queues {
            if queue.try_send(Line::Connected).is_err() {
                self.shared.stats.overflow(*stream);
            }
        }
    }

    fn dispatch(&mut self, command: Command) {
        self.shared.stats.command(command.name());
        let (name, instance, line) = match command {
            Command::Rdata { stream, instance, token, row } => {
                let received = Instant::now();
                (stream, Arc::clone(&instance), Line::Rdata { instance, token, row, received })
            }
            Command::Position { stream, instance, prev, new } => {
                (stream, Arc::clone(&instance), Line::Position { instance, prev, new })
            }
            Command::Replicate => return self.announce(),
            // The others concern writers, senders and the main process.
            _ => return,
        };
        let Ok(stream) = name.parse::<StreamName>() else {
            if self.warned.len() < MAX_WARNED && self.warned.insert(name.clone()) {
                tracing::warn!("the stream {name:?} is not known and not followed");
            }
            return;
        };
        // Its own rows count as any other's: what they name was forgotten before, but the position must move.
        if *instance == *self.shared.config.worker.name && stream != StreamName::Caches {
            return;
        }
        if let Some(queue) = self.queues.get(&stream)
            && queue.try_send(line).is_err()
        {
            self.shared.stats.overflow(stream);
        }
    }
}
