//! The two Redis connections. Answers to `synapse/replication/tcp/redis.py`.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use myelin_config::{Config, Redis};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
    TlsCertificates,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::protocol::{Command, ParseError};

/// Lines read and not yet looked at. When it is full, reading waits; Redis may then cut us off, and positions
/// tell afterwards what was missed.
const INCOMING: usize = 10_000;
/// Commands not yet sent. When it is full, further ones are dropped with a warning, as they are without Redis.
const OUTGOING: usize = 1_000;
const PING_EVERY: Duration = Duration::from_secs(30);
/// Silence for longer than this after a PING means a dead connection.
const REPLY_WITHIN: Duration = Duration::from_secs(30);
const CONNECT_WITHIN: Duration = Duration::from_secs(30);
const FIRST_DELAY: Duration = Duration::from_millis(500);
const MAX_DELAY: Duration = Duration::from_secs(5);

/// What the subscriber tells.
#[derive(Debug)]
pub enum Incoming {
    /// A new connection is subscribed and REPLICATE was sent: positions come again.
    Connected,
    Command(Command),
    Lost,
}

struct Outgoing {
    channel: String,
    line: String,
    done: Option<oneshot::Sender<bool>>,
}

/// Sends commands to the other processes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Commands {
    queue: mpsc::Sender<Outgoing>,
    server_name: String,
    connections: watch::Receiver<u64>,
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The line of a USER_IP carries a token.
        f.debug_struct("Outgoing").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Commands {
    fn outgoing(&self, command: &Command, done: Option<oneshot::Sender<bool>>) -> Outgoing {
        let channel = match command {
            Command::UserIp { .. } => format!("{}/USER_IP", self.server_name),
            _ => self.server_name.clone(),
        };
        Outgoing { channel, line: command.to_string(), done }
    }

    /// Counts the connections that were made: what others must know of this process is to be said again.
    pub fn connections(&self) -> watch::Receiver<u64> {
        self.connections.clone()
    }

    /// Does not wait. What cannot be sent is dropped.
    pub fn send(&self, command: &Command) {
        if self.queue.try_send(self.outgoing(command, None)).is_err() {
            tracing::warn!("{} was not sent: the queue to Redis is full", command.name());
        }
    }

    /// Whether Redis took it.
    pub async fn send_now(&self, command: &Command) -> bool {
        let (done, sent) = oneshot::channel();
        let queued = self.queue.send(self.outgoing(command, Some(done))).await.is_ok();
        queued && sent.await.unwrap_or(false)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("redis: {0}")]
    Settings(#[from] redis::RedisError),
    #[error("redis.{key}: cannot read {path}: {source}")]
    File { key: &'static str, path: String, source: std::io::Error },
}

/// Starts both connections; they are made anew whenever they break, until `stop`.
pub fn connect(config: &Config, stop: CancellationToken) -> Result<(mpsc::Receiver<Incoming>, Commands), ConnectError> {
    let (incoming, received) = mpsc::channel(INCOMING);
    let (queue, outgoing) = mpsc::channel(OUTGOING);
    let server_name = config.server.server_name.clone();
    let (connected, connections) = watch::channel(0);
    let commands = Commands { queue, server_name: server_name.clone(), connections };
    let dbid = config.redis.dbid.unwrap_or_default();
    tokio::spawn(publish(client(&config.redis, dbid)?, outgoing));
    // Publishing has nothing to do with databases, and the subscriber selects none.
    let subscriber =
        Subscriber { client: client(&config.redis, 0)?, server_name, incoming, commands: commands.clone(), connected };
    tokio::spawn(async move {
        tokio::select! {
            () = subscriber.run() => {}
            () = stop.cancelled() => {}
        }
    });
    Ok((received, commands))
}

fn client(redis: &Redis, dbid: i64) -> Result<Client, ConnectError> {
    let address = match (&redis.path, redis.use_tls) {
        (Some(path), _) => ConnectionAddr::Unix(path.clone()),
        (None, false) => ConnectionAddr::Tcp(redis.host.clone(), redis.port),
        (None, true) => {
            ConnectionAddr::TcpTls { host: redis.host.clone(), port: redis.port, insecure: false, tls_params: None }
        }
    };
    let mut settings = RedisConnectionInfo::default().set_db(dbid).set_skip_set_lib_name();
    if let Some(username) = &redis.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &redis.password {
        settings = settings.set_password(password);
    }
    let tls = matches!(address, ConnectionAddr::TcpTls { .. });
    let info = address.into_connection_info()?.set_redis_settings(settings);
    if !tls {
        return Ok(Client::open(info)?);
    }
    let client_tls = match (&redis.certificate_file, &redis.private_key_file) {
        (Some(certificate), Some(key)) => Some(ClientTlsConfig {
            client_cert: read("certificate_file", certificate)?,
            client_key: read("private_key_file", key)?,
        }),
        _ => None,
    };
    let root_cert = redis.ca_file.as_ref().map(|path| read("ca_file", path)).transpose()?;
    Ok(Client::build_with_tls(info, TlsCertificates { client_tls, root_cert })?)
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(path).map_err(|source| ConnectError::File { key, path: path.display().to_string(), source })
}

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

struct Subscriber {
    client: Client,
    server_name: String,
    incoming: mpsc::Sender<Incoming>,
    commands: Commands,
    connected: watch::Sender<u64>,
}

impl Subscriber {
    async fn run(&self) {
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
    async fn follow(&self, backoff: &mut Backoff, warned: &mut bool) -> redis::RedisResult<()> {
        let connecting = tokio::time::timeout(CONNECT_WITHIN, self.client.get_async_pubsub());
        let mut connection = connecting.await.map_err(|_| timed_out())??;
        connection.subscribe(&self.server_name).await?;
        if self.incoming.send(Incoming::Connected).await.is_err() {
            return Ok(());
        }
        if !self.commands.send_now(&Command::Replicate).await {
            return Err(std::io::Error::other("REPLICATE could not be sent").into());
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
                    let Some(message) = message else { return Err(std::io::Error::other("closed by the server").into()) };
                    if let Some(command) = parse(message.get_payload_bytes())
                        && self.incoming.send(Incoming::Command(command)).await.is_err()
                    {
                        return Ok(());
                    }
                }
                _ = ping.tick() => {
                    let answer = tokio::time::timeout(REPLY_WITHIN, sink.ping::<redis::Value>());
                    answer.await.map_err(|_| timed_out())??;
                }
            }
        }
    }
}

fn timed_out() -> redis::RedisError {
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

/// Sends what is queued. Without a connection, what comes is dropped: it would be stale by the time it arrives.
async fn publish(client: Client, mut queue: mpsc::Receiver<Outgoing>) {
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_WITHIN))
        .set_response_timeout(Some(REPLY_WITHIN));
    let mut connection: Option<MultiplexedConnection> = None;
    let mut ping = tokio::time::interval(PING_EVERY);
    loop {
        tokio::select! {
            outgoing = queue.recv() => {
                let Some(outgoing) = outgoing else { return };
                if connection.is_none() {
                    connection = client.get_multiplexed_async_connection_with_config(&settings).await.ok();
                }
                let sent = match &mut connection {
                    Some(open) => {
                        let mut command = redis::cmd("PUBLISH");
                        command.arg(&outgoing.channel).arg(&outgoing.line);
                        command.query_async::<redis::Value>(open).await.is_ok()
                    }
                    None => false,
                };
                if !sent {
                    connection = None;
                    let name = outgoing.line.split(' ').next().unwrap_or_default();
                    tracing::warn!("{name} was not sent: no connection to Redis");
                }
                if let Some(done) = outgoing.done {
                    // Whoever asked may have gone.
                    let _ = done.send(sent);
                }
            }
            _ = ping.tick() => {
                if let Some(open) = &mut connection
                    && redis::cmd("PING").query_async::<redis::Value>(open).await.is_err()
                {
                    connection = None;
                }
            }
        }
    }
}
