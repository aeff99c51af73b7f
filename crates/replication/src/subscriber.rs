//! The connection that listens. Answers to `RedisSubscriber` in `synapse/replication/tcp/redis.py`.

use std::time::Duration;

use futures_util::StreamExt;
use redis::{Client, RedisError, RedisResult, Value};
use tokio::sync::{mpsc, watch};

use crate::protocol::{Command, ParseError};
use crate::redis::{CONNECT_WITHIN, Commands, FIRST_DELAY, Incoming, PING_EVERY, REPLY_WITHIN};

/// Redis may be back at any moment, and all must be well within 5 s of it.
const MAX_DELAY: Duration = Duration::from_secs(3);
/// When nobody takes a line for so long, the connection is given up rather than to gather lines without bound;
/// the next one begins with everybody's positions.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// Waits a little longer each time, not quite equally long in every process.
struct Backoff(Duration);

impl Backoff {
    async fn wait(&mut self) {
        tokio::time::sleep(self.0.mul_f64(rand::random_range(0.8..1.2))).await;
        self.0 = (self.0 * 2).min(MAX_DELAY);
    }

    fn reset(&mut self) {
        self.0 = FIRST_DELAY;
    }
}

pub(crate) struct Subscriber {
    pub(crate) client: Client,
    pub(crate) server_name: String,
    pub(crate) incoming: mpsc::Sender<Incoming>,
    pub(crate) commands: Commands,
    /// Counts connections.
    pub(crate) connected: watch::Sender<u64>,
}

impl Subscriber {
    /// Until nobody listens any more.
    pub(crate) async fn run(&self) {
        let mut backoff = Backoff(FIRST_DELAY);
        let mut warned = false;
        while !self.incoming.is_closed() {
            match self.follow(&mut backoff, &mut warned).await {
                Ok(()) => return,
                Err(error) if !warned => {
                    tracing::warn!("the connection to Redis is lost and will be made again: {error}");
                    warned = true;
                }
                Err(_) => {}
            }
            if self.incoming.send(Incoming::Lost).await.is_err() {
                return;
            }
            backoff.wait().await;
        }
    }

    /// One connection, until it breaks; `Ok` when nobody listens any more.
    async fn follow(&self, backoff: &mut Backoff, warned: &mut bool) -> RedisResult<()> {
        let connecting = tokio::time::timeout(CONNECT_WITHIN, async {
            let mut connection = self.client.get_async_pubsub().await?;
            connection.subscribe(&self.server_name).await?;
            Ok::<_, RedisError>(connection)
        });
        let connection = connecting.await.map_err(|_| timed_out())??;
        if self.incoming.send(Incoming::Connected).await.is_err() {
            return Ok(());
        }
        if !self.commands.send_now(&Command::Replicate).await {
            return Err(failed("REPLICATE could not be sent"));
        }
        if std::mem::take(warned) {
            tracing::info!("connected to Redis again");
        }
        backoff.reset();
        self.connected.send_modify(|count| *count += 1);
        let (mut sink, mut messages) = connection.split();
        let mut ping = tokio::time::interval(PING_EVERY);
        loop {
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else { return Err(failed("closed by the server")) };
                    let Some(command) = parse(message.get_payload_bytes()) else { continue };
                    match self.incoming.send_timeout(Incoming::Command(command), TAKEN_WITHIN).await {
                        Ok(()) => {}
                        Err(mpsc::error::SendTimeoutError::Closed(_)) => return Ok(()),
                        Err(mpsc::error::SendTimeoutError::Timeout(_)) => return Err(failed("lines come too fast")),
                    }
                }
                _ = ping.tick() => {
                    let answer = tokio::time::timeout(REPLY_WITHIN, sink.ping::<Value>());
                    answer.await.map_err(|_| timed_out())??;
                }
            }
        }
    }
}

fn failed(why: &'static str) -> RedisError {
    std::io::Error::other(why).into()
}

fn timed_out() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// What cannot be read is named in the log and skipped.
fn parse(payload: &[u8]) -> Option<Command> {
    let Ok(line) = str::from_utf8(payload) else {
        tracing::warn!("skipping a line from Redis that is not UTF-8");
        return None;
    };
    match Command::parse(line) {
        Ok(command) => command,
        Err(error @ (ParseError::Unknown(_) | ParseError::Malformed(_))) => {
            tracing::warn!("skipping a line from Redis: {error}");
            None
        }
    }
}
