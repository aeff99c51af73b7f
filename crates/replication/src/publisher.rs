//! The outbound connection: sends what the queue holds. Answers to `RedisDirectTcpReplicationClientFactory` and
//! `lazyConnection` in `synapse/replication/tcp/redis.py`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult, Value};
use tokio::sync::{mpsc, oneshot};

use crate::protocol::Command;
use crate::redis::{CONNECT_WITHIN, FIRST_DELAY, PING_EVERY, REPLY_WITHIN};

/// No connection is tried again earlier than this after several that failed.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// A line on its way.
pub(crate) struct Outgoing {
    command: &'static str,
    channel: String,
    line: String,
    done: Option<oneshot::Sender<bool>>,
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The line of a USER_IP carries a token.
        f.debug_struct("Outgoing").field("command", &self.command).finish_non_exhaustive()
    }
}

impl Outgoing {
    pub(crate) fn new(server_name: &str, command: &Command, done: Option<oneshot::Sender<bool>>) -> Self {
        let channel = match command {
            Command::UserIp { .. } => format!("{server_name}/USER_IP"),
            _ => server_name.to_owned(),
        };
        Self { command: command.name(), channel, line: command.to_string(), done }
    }
}

/// Lines that Redis took, by command.
#[derive(Debug, Default)]
pub(crate) struct Sent(Mutex<BTreeMap<&'static str, u64>>);

impl Sent {
    fn count(&self, command: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(command).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(command, count)| (*command, *count))
            .collect()
    }
}

/// Without a connection, what comes is dropped: it would be stale by the time it arrives.
pub(crate) struct Publisher {
    client: Client,
    connection: Option<MultiplexedConnection>,
    delay: Duration,
    not_before: Option<Instant>,
    /// Since the connection was lost.
    dropped: u64,
    sent: Arc<Sent>,
}

impl Publisher {
    pub(crate) fn new(client: Client, sent: Arc<Sent>) -> Self {
        Self { client, connection: None, delay: FIRST_DELAY, not_before: None, dropped: 0, sent }
    }

    /// Until nobody can send any more.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Outgoing>) {
        let mut ping = tokio::time::interval(PING_EVERY);
        loop {
            tokio::select! {
                outgoing = queue.recv() => {
                    let Some(outgoing) = outgoing else { return };
                    let sent = self.publish(&outgoing).await;
                    if let Some(done) = outgoing.done {
                        // Whoever asked may have gone.
                        let _ = done.send(sent);
                    }
                }
                _ = ping.tick() => {
                    if let Some(open) = &mut self.connection
                        && redis::cmd("PING").query_async::<Value>(open).await.is_err()
                    {
                        self.connection = None;
                    }
                }
            }
        }
    }

    /// A connection that turns out to be dead is made anew once: every line may arrive twice without harm.
    async fn publish(&mut self, outgoing: &Outgoing) -> bool {
        for _ in 0..2 {
            let fresh = self.connection.is_none();
            match self.try_publish(outgoing).await {
                Ok(()) => {
                    self.sent.count(outgoing.command);
                    if std::mem::take(&mut self.dropped) > 0 {
                        tracing::info!("commands reach Redis again");
                    }
                    return true;
                }
                Err(error) => {
                    self.connection = None;
                    if fresh {
                        if self.dropped == 0 {
                            tracing::warn!("{} was not sent, nor is what follows: {error}", outgoing.command);
                        }
                        break;
                    }
                }
            }
        }
        self.dropped += 1;
        false
    }

    async fn try_publish(&mut self, outgoing: &Outgoing) -> RedisResult<()> {
        if self.connection.is_none() {
            // Somebody waits for this one: it is tried at once.
            let urgent = outgoing.done.is_some();
            if !urgent && self.not_before.is_some_and(|time| Instant::now() < time) {
                return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into());
            }
            self.connect().await?;
        }
        let Some(open) = &mut self.connection else {
            return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into());
        };
        let mut command = redis::cmd("PUBLISH");
        command.arg(&outgoing.channel).arg(&outgoing.line);
        command.query_async::<Value>(open).await.map(drop)
    }

    async fn connect(&mut self) -> RedisResult<()> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(REPLY_WITHIN));
        match self.client.get_multiplexed_async_connection_with_config(&settings).await {
            Ok(open) => {
                (self.connection, self.delay, self.not_before) = (Some(open), FIRST_DELAY, None);
                Ok(())
            }
            Err(error) => {
                self.not_before = Some(Instant::now() + self.delay);
                self.delay = (self.delay * 2).min(MAX_DELAY);
                Err(error)
            }
        }
    }
}
