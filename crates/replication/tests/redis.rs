//! The two connections against a real Redis: TCP, a unix socket, TLS; lost and made anew.

use std::fs;
use std::path::PathBuf;
use std::process::Command as Program;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use myelin_config::Config;
use myelin_replication::{Command, Incoming, Subscriber, connect};
use myelin_testkit::certificate;
use myelin_testkit::packages::find;
use myelin_testkit::process::{Service, accepts, free_port};
use redis::aio::PubSub;
use tokio_util::sync::CancellationToken;

const SERVER_NAME: &str = "lab.test";
const PATIENCE: Duration = Duration::from_secs(20);

/// A Redis with a user, a unix socket and TLS.
struct Server {
    port: u16,
    tls_port: u16,
    folder: tempfile::TempDir,
    _service: Service,
}

impl Server {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (port, tls_port) = (free_port()?, free_port()?);
        certificate::make(folder.path())?;
        let settings = format!(
            "port {port}\nbind 127.0.0.1\ntls-port {tls_port}\ntls-auth-clients no\ntls-cert-file {0}/server.pem\n\
             tls-key-file {0}/server.key\ntls-ca-cert-file {0}/server.pem\nunixsocket {0}/redis.sock\nsave \"\"\n\
             dir {0}\nuser default on nopass ~* &* +@all\nuser worker on >secret ~* &* +@all\n",
            folder.path().display()
        );
        let path = folder.path().join("redis.conf");
        fs::write(&path, settings)?;
        let mut command = Program::new(find("redis-server").context("redis-server is not installed")?);
        command.arg(path);
        let mut service = Service::start("redis", folder.path(), command)?;
        service.wait_until(PATIENCE, || accepts(port))?;
        Ok(Self { port, tls_port, folder, _service: service })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, redis: &str) -> Result<Config> {
        let path = self.path("homeserver.yaml");
        fs::write(&path, configuration(redis))?;
        Ok(myelin_config::load(&[path])?)
    }

    fn client(&self) -> Result<redis::Client> {
        Ok(redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?)
    }

    /// Another process of the homeserver, listening to both channels.
    async fn observer(&self) -> Result<PubSub> {
        let mut observer = self.client()?.get_async_pubsub().await?;
        observer.subscribe(&[SERVER_NAME, "lab.test/USER_IP"]).await?;
        Ok(observer)
    }

    async fn say(&self, line: impl redis::ToRedisArgs) -> Result<()> {
        let mut connection = self.client()?.get_multiplexed_async_connection().await?;
        Ok(redis::cmd("PUBLISH").arg(SERVER_NAME).arg(line).query_async(&mut connection).await?)
    }
}

fn configuration(redis: &str) -> String {
    format!(
        "server_name: {SERVER_NAME}\nmacaroon_secret_key: x\nworker_app: synapse.app.generic_worker\nworker_name: w1\n\
         instance_map: {{main: {{host: 127.0.0.1, port: 1}}}}\ndatabase: {{name: psycopg2, args: {{dbname: x}}}}\n\
         redis: {{enabled: true, {redis}}}\nworker_listeners:\n  \
         - {{type: http, port: 1, resources: [{{names: [client]}}]}}\n"
    )
}

async fn next(incoming: &mut Subscriber) -> Result<Incoming> {
    tokio::time::timeout(PATIENCE, incoming.recv()).await?.context("it is stopping")
}

async fn command(incoming: &mut Subscriber) -> Result<Command> {
    match next(incoming).await? {
        Incoming::Command(command) => Ok(command),
        other => anyhow::bail!("{other:?}"),
    }
}

/// Channel and line.
async fn heard(observer: &mut PubSub) -> Result<(String, String)> {
    let message = tokio::time::timeout(PATIENCE, observer.on_message().next()).await?.context("closed")?;
    Ok((message.get_channel_name().to_owned(), message.get_payload()?))
}

fn on_server_channel(line: &str) -> (String, String) {
    (SERVER_NAME.to_owned(), line.to_owned())
}

#[tokio::test]
async fn lines_go_both_ways() -> Result<()> {
    let server = Server::start()?;
    let mut observer = server.observer().await?;
    let stop = CancellationToken::new();
    let (mut incoming, commands) = connect(&server.config(&format!("port: {}", server.port))?, stop.clone())?;
    assert!(matches!(next(&mut incoming).await?, Incoming::Connected));
    assert_eq!(heard(&mut observer).await?, on_server_channel("REPLICATE "));
    assert_eq!(command(&mut incoming).await?, Command::Replicate, "a process hears itself");

    for line in ["NONSENSE", "POSITION events w3 x 16", "", "POSITION events w3 15 16"] {
        server.say(line).await?;
    }
    server.say(&[0xff_u8, 0xfe][..]).await?;
    server.say("PING 1").await?;
    let position = Command::Position { stream: "events".to_owned(), instance: "w3".into(), prev: 15, new: 16 };
    assert_eq!(command(&mut incoming).await?, position, "what cannot be read is skipped");
    assert_eq!(command(&mut incoming).await?, Command::Ping("1".to_owned()));

    let seen = Command::UserIp { user_id: "@a:t".to_owned(), data: serde_json::json!(["x", "1.2.3.4", "", null, 1]) };
    commands.send(&seen);
    assert!(commands.send_now(&Command::ClearUserSync { instance_id: "abcde".to_owned() }).await);
    for line in ["NONSENSE", "POSITION events w3 x 16", "", "POSITION events w3 15 16"] {
        assert_eq!(heard(&mut observer).await?, on_server_channel(line));
    }
    let _bytes = observer.on_message().next().await;
    assert_eq!(heard(&mut observer).await?, on_server_channel("PING 1"));
    let (channel, line) = heard(&mut observer).await?;
    assert_eq!((channel.as_str(), line), ("lab.test/USER_IP", seen.to_string()));
    assert_eq!(heard(&mut observer).await?, on_server_channel("CLEAR_USER_SYNC abcde"));
    assert_eq!(commands.sent(), [("CLEAR_USER_SYNC", 1), ("REPLICATE", 1), ("USER_IP", 1)]);

    assert!(command(&mut incoming).await.is_ok(), "its own CLEAR_USER_SYNC");
    stop.cancel();
    assert!(tokio::time::timeout(PATIENCE, incoming.recv()).await?.is_none());
    assert!(commands.send_now(&Command::Replicate).await, "the last words come after the stop");
    Ok(())
}

#[tokio::test]
async fn a_lost_connection_is_made_anew() -> Result<()> {
    let server = Server::start()?;
    let config = server.config(&format!("port: {}", server.port))?;
    let (mut incoming, commands) = connect(&config, CancellationToken::new())?;
    let mut connections = commands.connections();
    assert!(matches!(next(&mut incoming).await?, Incoming::Connected));
    assert_eq!(command(&mut incoming).await?, Command::Replicate);
    let mut connection = server.client()?.get_multiplexed_async_connection().await?;
    for kind in ["pubsub", "normal"] {
        let killed: i64 =
            redis::cmd("CLIENT").arg(&["KILL", "TYPE", kind, "SKIPME", "yes"]).query_async(&mut connection).await?;
        assert_eq!(killed, 1, "one {kind} connection");
    }
    assert!(matches!(next(&mut incoming).await?, Incoming::Lost));
    assert!(matches!(next(&mut incoming).await?, Incoming::Connected));
    assert_eq!(command(&mut incoming).await?, Command::Replicate, "positions are asked for again");
    tokio::time::timeout(PATIENCE, connections.wait_for(|count| *count == 2)).await??;
    Ok(())
}

#[tokio::test]
async fn the_publisher_replaces_a_dead_connection() -> Result<()> {
    let server = Server::start()?;
    let config = server.config(&format!("port: {}", server.port))?;
    let (mut incoming, commands) = connect(&config, CancellationToken::new())?;
    assert!(matches!(next(&mut incoming).await?, Incoming::Connected));
    assert_eq!(command(&mut incoming).await?, Command::Replicate);
    let mut connection = server.client()?.get_multiplexed_async_connection().await?;
    let kill = redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).to_owned();
    assert_eq!(kill.query_async::<i64>(&mut connection).await?, 1);
    let task = Command::NewActiveTask { id: "x".to_owned() };
    assert!(commands.send_now(&task).await);
    assert_eq!(command(&mut incoming).await?, task);
    Ok(())
}

#[tokio::test]
async fn every_way_to_connect() -> Result<()> {
    let server = Server::start()?;
    let certificates = server.path("certificates");
    fs::create_dir(&certificates)?;
    fs::copy(server.path("server.pem"), certificates.join("0a1b2c3d.0"))?;
    fs::write(server.path("password"), "secret\n")?;
    let (socket, ca) = (server.path("redis.sock"), server.path("server.pem"));
    let tls = format!("host: localhost, port: {}, use_tls: true", server.tls_port);
    for redis in [
        format!("port: {}, username: worker, password: secret, dbid: 3", server.port),
        format!("port: {}, username: worker, password_path: {}", server.port, server.path("password").display()),
        format!("path: {}, port: 1, use_tls: true", socket.display()),
        format!("{tls}, ca_file: {}", ca.display()),
        format!("{tls}, ca_path: {}", certificates.display()),
    ] {
        let stop = CancellationToken::new();
        let (mut incoming, _commands) = connect(&server.config(&redis)?, stop.clone())?;
        assert!(matches!(next(&mut incoming).await?, Incoming::Connected), "{redis}");
        assert_eq!(command(&mut incoming).await?, Command::Replicate, "{redis}");
        stop.cancel();
    }
    Ok(())
}

#[tokio::test]
async fn a_refused_connection_is_told() -> Result<()> {
    let server = Server::start()?;
    let port = free_port()?;
    for redis in [
        format!("port: {}, username: worker, password: wrong", server.port),
        // A certificate that nobody vouches for.
        format!("host: localhost, port: {}, use_tls: true", server.tls_port),
        format!("port: {port}"),
    ] {
        let (mut incoming, commands) = connect(&server.config(&redis)?, CancellationToken::new())?;
        assert!(matches!(next(&mut incoming).await?, Incoming::Lost), "{redis}");
        assert!(!commands.send_now(&Command::Replicate).await, "{redis}");
        assert_eq!(commands.sent(), []);
    }
    Ok(())
}
