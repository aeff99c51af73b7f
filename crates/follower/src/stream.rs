//! One stream, in order; what is missing is fetched. Answers to `_process_command` in
//! `synapse/replication/tcp/handler.py`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use myelin_model::{Row, StreamName};
use myelin_replication::Command;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::Shared;
use crate::apply::Update;
use crate::positions::{Announced, Connection};

const FIRST_RETRY: Duration = Duration::from_millis(250);
const MAX_RETRY: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) enum Line {
    /// A new connection: nothing counts until its positions have come.
    Connected,
    Rdata {
        instance: Arc<str>,
        token: Option<i64>,
        row: Value,
        received: Instant,
    },
    Position {
        instance: Arc<str>,
        prev: i64,
        new: i64,
    },
}

pub(crate) struct StreamTask {
    shared: Arc<Shared>,
    stream: StreamName,
    connection: Connection,
}

impl StreamTask {
    pub fn new(shared: Arc<Shared>, stream: StreamName) -> Self {
        Self { shared, stream, connection: Connection::new(stream) }
    }

    pub async fn run(mut self, mut lines: mpsc::Receiver<Line>) {
        while let Some(line) = lines.recv().await {
            if self.shared.stats.take_overflow(self.stream) {
                self.begin_anew(&mut lines);
                continue;
            }
            let shared = Arc::clone(&self.shared);
            shared.stats.process.run(self.line(line)).await;
        }
    }

    /// Lines were lost: everybody is asked for positions again.
    fn begin_anew(&mut self, lines: &mut mpsc::Receiver<Line>) {
        tracing::warn!("the stream {} fell behind and begins anew", self.stream.as_str());
        while lines.try_recv().is_ok() {}
        self.connection.begin_anew();
        self.shared.commands.send(&Command::Replicate);
    }

    async fn line(&mut self, line: Line) {
        match line {
            Line::Connected => self.connection.begin_anew(),
            Line::Rdata { instance, token, row, received } => {
                let row = parse(self.stream, &row);
                let was_connected = self.connection.is_connected(&instance);
                let rows = self.connection.rdata(&instance, token, row, self.current(&instance));
                if was_connected && !self.connection.is_connected(&instance) {
                    tracing::warn!("the stream {} of {instance} is asked for its position", self.stream.as_str());
                    self.shared.commands.send(&Command::Replicate);
                }
                if let (Some(token), Some(rows)) = (token, rows) {
                    self.apply(&instance, token, rows).await;
                    self.shared.stats.applied(self.stream, 0, Some(received.elapsed()));
                }
            }
            Line::Position { instance, prev, new } => self.position(&instance, prev, new).await,
        }
    }

    fn current(&self, instance: &str) -> i64 {
        self.shared.reader.position(self.stream, instance)
    }

    async fn position(&mut self, instance: &Arc<str>, prev: i64, new: i64) {
        let complete = match self.connection.position(instance, prev, new, self.current(instance)) {
            Announced::Known => return,
            Announced::Complete => true,
            Announced::Missing { from } => self.catch_up(instance, from, new).await,
        };
        if complete {
            self.apply(instance, new, Vec::new()).await;
            self.connection.connected(Arc::clone(instance));
        }
    }

    /// Fetches what was written in (`from`, `upto`], for as long as it takes; whether everything came before
    /// the process was told to stop. If not, the position must stay: a token beyond it would skip rows.
    async fn catch_up(&self, instance: &Arc<str>, mut from: i64, upto: i64) -> bool {
        let (mut delay, mut warned) = (FIRST_RETRY, false);
        loop {
            let missing = tokio::select! {
                missing = self.missing(instance, from, upto) => missing,
                () = self.shared.stop.cancelled() => return false,
            };
            match missing {
                Ok((rows, end, limited)) => {
                    for (token, rows) in group(self.stream, rows) {
                        self.apply(instance, token, rows).await;
                    }
                    if !limited {
                        return true;
                    }
                    (from, delay) = (end, FIRST_RETRY);
                }
                Err(reason) => {
                    if !std::mem::replace(&mut warned, true) {
                        tracing::warn!("the stream {} cannot catch up yet: {reason}", self.stream.as_str());
                    }
                    tokio::select! {
                        () = tokio::time::sleep(delay) => {}
                        () = self.shared.stop.cancelled() => return false,
                    }
                    delay = (delay * 2).min(MAX_RETRY);
                }
            }
        }
    }

    /// Rows, up to where, and whether there is more.
    async fn missing(&self, instance: &str, from: i64, upto: i64) -> Result<(Vec<(i64, Value)>, i64, bool), String> {
        match self.stream {
            // They live in their writer's memory; whom presence is sent to concerns senders only.
            StreamName::Typing | StreamName::Presence => {
                let updates = self.shared.http.get_repl_stream_updates(instance, self.stream, from, upto).await;
                let updates = updates.map_err(|error| error.to_string())?;
                Ok((updates.updates, updates.upto_token, updates.limited))
            }
            StreamName::PresenceFederation | StreamName::Federation => Ok((Vec::new(), upto, false)),
            _ => {
                let updates = self.shared.storage.stream_updates(self.stream, instance, from, upto).await;
                let updates = updates.map_err(|error| error.to_string())?;
                Ok((updates.rows, updates.upto, updates.limited))
            }
        }
    }

    async fn apply(&self, instance: &Arc<str>, token: i64, rows: Vec<Row>) {
        let count = rows.len();
        self.shared.apply(Update { stream: self.stream, instance: Arc::clone(instance), token, rows }).await;
        self.shared.stats.applied(self.stream, count, None);
    }
}

/// What cannot be understood is skipped; its position counts all the same.
fn parse(stream: StreamName, row: &Value) -> Option<Row> {
    stream.parse_row(row).inspect_err(|error| tracing::warn!("skipping a row: {error}")).ok()
}

/// Rows of one position are one update.
fn group(stream: StreamName, rows: Vec<(i64, Value)>) -> Vec<(i64, Vec<Row>)> {
    let mut updates: Vec<(i64, Vec<Row>)> = Vec::new();
    for (token, row) in rows {
        let row = parse(stream, &row);
        match updates.last_mut() {
            Some((last, rows)) if *last == token => rows.extend(row),
            _ => updates.push((token, row.into_iter().collect())),
        }
    }
    updates
}
