//! The connection that listens. Answers to `RedisSubscriber` in `synapse/replication/tcp/redis.py`.

use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, RedisError, RedisResult, Value};
use tokio::sync::watch;
use tokio::time::Interval;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::protocol::{Command, ParseError};
use crate::redis::{CONNECT_WITHIN, Commands, FIRST_DELAY, Incoming, PING_EVERY, REPLY_WITHIN};

/// Redis may be back at any moment, and all must be well within 5 s of it.
const MAX_DELAY: Duration = Duration::from_secs(3);

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

/// What Redis says. It is read by whoever works with it, without a task and a queue in between: each line is a wake-up
/// of the process as it is.
pub struct Subscriber {
    client: Client,
    server_name: String,
    commands: Commands,
    /// Counts connections.
    connected: watch::Sender<u64>,
    open: Option<Open>,
    /// The last connection, or attempt at one, failed.
    failed: bool,
    warned: bool,
    backoff: Backoff,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

struct Open {
    sink: PubSubSink,
    messages: PubSubStream,
    ping: Interval,
}

impl Subscriber {
    pub(crate) fn new(
        client: Client,
        server_name: String,
        commands: Commands,
        connected: watch::Sender<u64>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            client,
            server_name,
            commands,
            connected,
            open: None,
            failed: false,
            warned: false,
            backoff: Backoff(FIRST_DELAY),
            stopped: Box::pin(stop.cancelled_owned()),
        }
    }

    /// The next line, or what became of the connection; `None` when the process is stopping. Nothing is heard while
    /// nobody calls this.
    pub async fn recv(&mut self) -> Option<Incoming> {
        let Self { client, server_name, commands, connected, open, failed, warned, backoff, stopped } = self;
        let next = async {
            loop {
                let Some(connection) = open else {
                    if std::mem::take(failed) {
                        backoff.wait().await;
                    }
                    *open = Some(connect(client, server_name, commands).await?);
                    if std::mem::take(warned) {
                        tracing::info!("connected to Redis again");
                    }
                    backoff.reset();
                    connected.send_modify(|count| *count += 1);
                    return Ok(Incoming::Connected);
                };
                if let Some(command) = connection.line().await? {
                    return Ok::<_, RedisError>(Incoming::Command(command));
                }
            }
        };
        let next = tokio::select! {
            next = next => next,
            () = stopped => return None,
        };
        Some(next.unwrap_or_else(|error| {
            if !std::mem::replace(warned, true) {
                tracing::warn!("the connection to Redis is lost and will be made again: {error}");
            }
            (*open, *failed) = (None, true);
            Incoming::Lost
        }))
    }
}

async fn connect(client: &Client, server_name: &str, commands: &Commands) -> RedisResult<Open> {
    let connecting = tokio::time::timeout(CONNECT_WITHIN, async {
        let mut connection = client.get_async_pubsub().await?;
        connection.subscribe(server_name).await?;
        Ok::<_, RedisError>(connection)
    });
    let (sink, messages) = connecting.await.map_err(|_| timed_out())??.split();
    if !commands.send_now(&Command::Replicate).await {
        return Err(failed("REPLICATE could not be sent"));
    }
    Ok(Open { sink, messages, ping: tokio::time::interval(PING_EVERY) })
}

impl Open {
    /// `None`: one that means nothing, or an answer to a PING.
    async fn line(&mut self) -> RedisResult<Option<Command>> {
        tokio::select! {
            message = self.messages.next() => match message {
                Some(message) => Ok(parse(message.get_payload_bytes())),
                None => Err(failed("closed by the server")),
            },
            _ = self.ping.tick() => {
                let answer = tokio::time::timeout(REPLY_WITHIN, self.sink.ping::<Value>());
                answer.await.map_err(|_| timed_out())??;
                Ok(None)
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
