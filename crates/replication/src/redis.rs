//! The two Redis connections. Answers to `synapse/replication/tcp/redis.py`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use myelin_config::{Config, Redis};
use redis::{Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::protocol::Command;
use crate::publisher::{Outgoing, Publisher, Sent};
use crate::subscriber::Subscriber;

/// Commands not yet sent. When it is full, further ones are dropped with a warning, as they are without Redis.
const OUTGOING: usize = 10_000;
pub(crate) const PING_EVERY: Duration = Duration::from_secs(30);
/// Silence for longer than this after a PING means a dead connection.
pub(crate) const REPLY_WITHIN: Duration = Duration::from_secs(30);
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_secs(30);
/// Before a connection is tried again.
pub(crate) const FIRST_DELAY: Duration = Duration::from_millis(500);

/// What the subscriber tells.
#[derive(Debug)]
pub enum Incoming {
    /// A new connection is subscribed and REPLICATE was sent: positions come again.
    Connected,
    Command(Command),
    Lost,
}

/// Sends commands to the other processes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Commands {
    queue: mpsc::Sender<Outgoing>,
    server_name: String,
    connections: watch::Receiver<u64>,
    sent: Arc<Sent>,
}

/// Room for one command in the queue.
pub struct Room<'a> {
    permit: mpsc::Permit<'a, Outgoing>,
    server_name: &'a str,
}

impl Room<'_> {
    pub fn send(self, command: &Command) {
        self.permit.send(Outgoing::new(self.server_name, command, None));
    }
}

impl Commands {
    /// Counts the connections that were made: what others must know of this process is to be said again.
    pub fn connections(&self) -> watch::Receiver<u64> {
        self.connections.clone()
    }

    /// Lines that Redis took, by command.
    pub fn sent(&self) -> Vec<(&'static str, u64)> {
        self.sent.counts()
    }

    /// Does not wait. What cannot be sent is dropped.
    pub fn send(&self, command: &Command) {
        if self.queue.try_send(Outgoing::new(&self.server_name, command, None)).is_err() {
            tracing::warn!("{} was not sent: the queue to Redis is full", command.name());
        }
    }

    /// Waits for room in the queue, for whoever has much to say. `None`: nothing is sent any more.
    pub async fn reserve(&self) -> Option<Room<'_>> {
        let permit = self.queue.reserve().await.ok()?;
        Some(Room { permit, server_name: &self.server_name })
    }

    /// Whether Redis took it.
    pub async fn send_now(&self, command: &Command) -> bool {
        let (done, sent) = oneshot::channel();
        let outgoing = Outgoing::new(&self.server_name, command, Some(done));
        self.queue.send(outgoing).await.is_ok() && sent.await.unwrap_or(false)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("redis: {0}")]
    Settings(#[from] redis::RedisError),
    #[error("redis.{key}: cannot read {path}: {source}")]
    File { key: &'static str, path: String, source: std::io::Error },
}

/// Both connections; they are made anew whenever they break. The subscriber ends with `stop`, the publisher when
/// the last `Commands` is dropped.
pub fn connect(config: &Config, stop: CancellationToken) -> Result<(Subscriber, Commands), ConnectError> {
    let (queue, outgoing) = mpsc::channel(OUTGOING);
    let server_name = config.server.server_name.clone();
    let (connected, connections) = watch::channel(0);
    let sent = Arc::<Sent>::default();
    let commands = Commands { queue, server_name: server_name.clone(), connections, sent: Arc::clone(&sent) };
    let dbid = config.redis.dbid.unwrap_or_default();
    // Not tied to `stop`: the last words are said after it.
    tokio::spawn(Publisher::new(client(&config.redis, dbid)?, sent).run(outgoing));
    // Publishing has nothing to do with databases, and the subscriber selects none.
    let client = client(&config.redis, 0)?;
    Ok((Subscriber::new(client, server_name, commands.clone(), connected, stop), commands))
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
    let root_cert = match (&redis.ca_file, &redis.ca_path) {
        (Some(file), _) => Some(read("ca_file", file)?),
        (None, Some(folder)) => Some(read_folder(folder)?),
        (None, None) => None,
    };
    Ok(Client::build_with_tls(info, TlsCertificates { client_tls, root_cert })?)
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(path).map_err(|source| ConnectError::File { key, path: path.display().to_string(), source })
}

/// Every certificate of a folder, one after the other.
fn read_folder(folder: &Path) -> Result<Vec<u8>, ConnectError> {
    let fault = |source| ConnectError::File { key: "ca_path", path: folder.display().to_string(), source };
    let mut certificates = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if !path.is_file() {
            continue;
        }
        let content = read("ca_path", &path)?;
        if String::from_utf8_lossy(&content).contains("-----BEGIN CERTIFICATE") {
            certificates.extend(content);
            certificates.push(b'\n');
        }
    }
    Ok(certificates)
}
