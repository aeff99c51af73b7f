//! Tests of `presence_duty`: what is told alone, and all of it with a real Redis and a writer of presence.

use std::fs;

use anyhow::{Context, Result};
use myelin_model::MatrixError;
use myelin_replication::{Incoming, Subscriber, connect};
use myelin_testkit::process::free_port;
use myelin_testkit::redis::Redis;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn the_same_state_is_told_once_in_a_while() {
    let (mut state, device) = (State::default(), (Arc::from("@a:t"), None));
    assert!(state.is_news(&device, "online", 0, 25_000));
    assert!(!state.is_news(&device, "online", 24_999, 25_000));
    assert!(state.is_news(&device, "unavailable", 24_999, 25_000));
    assert!(state.is_news(&device, "unavailable", 50_000, 25_000));
}

/// Answers every request with `status` and tells its first line and body.
async fn writer_of_presence(
    listener: TcpListener,
    status: &'static str,
    seen: mpsc::Sender<(String, Value)>,
) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream, status, seen.clone()));
    }
}

async fn answer(stream: TcpStream, status: &'static str, seen: mpsc::Sender<(String, Value)>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        stream.read_line(&mut first).await?;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? <= 2 {
                break;
            }
            if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        seen.send((first.trim().to_owned(), serde_json::from_slice(&body)?)).await?;
        stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}").as_bytes()).await?;
    }
}

/// A process of the homeserver with its neighbours.
struct Set {
    duty: Arc<PresenceDuty>,
    /// Requests to the writer of presence.
    seen: mpsc::Receiver<(String, Value)>,
    /// What another process hears from Redis.
    heard: mpsc::Receiver<Incoming>,
    stop: CancellationToken,
    /// Without a listener there is no connection.
    _own: mpsc::Receiver<Incoming>,
    _redis: Redis,
    _folder: tempfile::TempDir,
}

/// Reads what Redis says, so that a test may see whether there is anything.
fn listen(mut subscriber: Subscriber) -> mpsc::Receiver<Incoming> {
    let (sender, heard) = mpsc::channel(100);
    tokio::spawn(async move {
        while let Some(incoming) = subscriber.recv().await {
            if sender.send(incoming).await.is_err() {
                return;
            }
        }
    });
    heard
}

impl Set {
    async fn new(extra: &str, status: &'static str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let redis = Redis::start(folder.path())?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let path = folder.path().join("homeserver.yaml");
        let yaml = format!(
            "server_name: t\nmacaroon_secret_key: x\nworker_app: synapse.app.generic_worker\nworker_name: w1\n\
             instance_map: {{main: {{host: 127.0.0.1, port: {}}}}}\nredis: {{enabled: true, port: {}}}\n\
             database: {{name: psycopg2, args: {{dbname: x}}}}\nworker_listeners:\n  \
             - {{type: http, port: {}, resources: [{{names: [client]}}]}}\n{extra}",
            listener.local_addr()?.port(),
            redis.port,
            free_port()?
        );
        fs::write(&path, yaml)?;
        let config = myelin_config::load(&[path])?;
        let (sender, seen) = mpsc::channel(100);
        tokio::spawn(writer_of_presence(listener, status, sender));
        let (subscriber, _) = connect(&config, CancellationToken::new())?;
        let mut heard = listen(subscriber);
        let mut next = async || tokio::time::timeout(PATIENCE, heard.recv()).await;
        assert!(matches!(next().await?, Some(Incoming::Connected)));
        assert!(matches!(next().await?, Some(Incoming::Command(Command::Replicate))));
        let (own, commands) = connect(&config, CancellationToken::new())?;
        let own = listen(own);
        assert!(matches!(next().await?, Some(Incoming::Command(Command::Replicate))));
        let duty = Arc::new(PresenceDuty::new(&config, Client::new(&config), commands));
        Ok(Self { duty, seen, heard, stop: CancellationToken::new(), _own: own, _redis: redis, _folder: folder })
    }

    async fn command(&mut self) -> Result<Command> {
        match tokio::time::timeout(PATIENCE, self.heard.recv()).await?.context("closed")? {
            Incoming::Command(command) => Ok(command),
            other => anyhow::bail!("{other:?}"),
        }
    }

    /// Device, and whether it syncs.
    async fn user_sync(&mut self) -> Result<(Option<String>, bool)> {
        match self.command().await? {
            Command::UserSync { instance_id, user_id, device_id, syncing, .. } => {
                assert_eq!((instance_id, user_id.as_str()), (self.duty.instance_id.clone(), "@a:t"));
                Ok((device_id, syncing))
            }
            other => anyhow::bail!("{other}"),
        }
    }

    /// The presence that the writer was told.
    async fn told(&mut self) -> Result<Value> {
        let (line, body) = tokio::time::timeout(PATIENCE, self.seen.recv()).await?.context("closed")?;
        assert_eq!(line, "POST /_synapse/replication/presence_set_state/%40a%3At HTTP/1.1");
        assert_eq!((&body["is_sync"], &body["force_notify"]), (&Value::Bool(true), &Value::Bool(false)));
        Ok(body["state"]["presence"].clone())
    }
}

fn requester(device_id: Option<&str>) -> Requester {
    Requester {
        user_id: "@a:t".into(),
        device_id: device_id.map(Into::into),
        access_token_id: None,
        is_guest: false,
        shadow_banned: false,
        app_service: None,
        authenticated_entity: "@a:t".into(),
        scope: std::collections::BTreeSet::new(),
    }
}

/// A sync by somebody whose limits are the usual ones.
async fn syncing(duty: &Arc<PresenceDuty>, requester: &Requester, presence: &str) -> Option<Syncing> {
    duty.user_syncing(requester, presence, async { Ok(false) }).await.expect("nothing can fail")
}

const UNLIMITED: &str = "rc_presence: {per_user: {per_second: 10000, burst_count: 10000}}\n";

#[tokio::test]
async fn a_device_is_told_of_when_it_comes_and_when_it_has_gone() -> Result<()> {
    let mut set = Set::new(UNLIMITED, "200 OK").await?;
    let (d, duty) = (requester(Some("D")), Arc::clone(&set.duty));
    let first = syncing(&duty, &d, "online").await.context("it counts")?;
    assert!(first.told);
    assert_eq!(set.told().await?, "online");
    assert_eq!(set.user_sync().await?, (Some("D".to_owned()), true));
    let second = syncing(&duty, &d, "online").await.context("it counts")?;
    assert!(!second.told, "it was before");
    assert!(syncing(&duty, &d, "offline").await.is_none());
    drop(first);
    duty.tell_of_the_gone(elapsed_ms() + 60_000).await;
    drop(second);
    // It ended a moment ago; and a device that comes back in time was never away.
    duty.tell_of_the_gone(elapsed_ms()).await;
    drop(syncing(&duty, &d, "unavailable").await.context("it counts")?);
    assert_eq!(set.told().await?, "unavailable", "only the change was told");
    duty.tell_of_the_gone(elapsed_ms() + 10_500).await;
    assert_eq!(set.user_sync().await?, (Some("D".to_owned()), false), "nothing was said in between");
    let _other = syncing(&duty, &requester(None), "online").await;
    assert_eq!(set.user_sync().await?, (None, true));
    assert_eq!(set.told().await?, "online");
    let _again = syncing(&duty, &d, "unavailable").await;
    assert_eq!(set.user_sync().await?, (Some("D".to_owned()), true));
    assert_eq!(set.told().await?, "unavailable", "told again after it was gone");
    assert!(set.seen.is_empty());
    Ok(())
}

#[tokio::test]
async fn after_a_reconnection_all_is_said_anew() -> Result<()> {
    let mut set = Set::new(UNLIMITED, "200 OK").await?;
    let (d, e, duty) = (requester(Some("D")), requester(Some("E")), Arc::clone(&set.duty));
    let _here = syncing(&duty, &d, "online").await;
    drop(syncing(&duty, &e, "online").await);
    assert_eq!(set.user_sync().await?, (Some("D".to_owned()), true));
    assert_eq!(set.user_sync().await?, (Some("E".to_owned()), true));
    duty.tell_of_the_present(true).await;
    assert_eq!(set.command().await?, duty.clear());
    assert_eq!(set.user_sync().await?, (Some("D".to_owned()), true));
    // The writer forgot E, so that it must hear of its coming back.
    let _back = syncing(&duty, &e, "online").await;
    assert_eq!(set.user_sync().await?, (Some("E".to_owned()), true));
    Ok(())
}

#[tokio::test]
async fn the_last_word_is_clear_user_sync() -> Result<()> {
    let mut set = Set::new(UNLIMITED, "200 OK").await?;
    let (d, duty) = (requester(Some("D")), Arc::clone(&set.duty));
    let running = tokio::spawn({
        let (duty, stop) = (Arc::clone(&duty), set.stop.clone());
        async move { duty.run(stop).await }
    });
    let late = syncing(&duty, &d, "online").await;
    assert_eq!(set.user_sync().await?, (Some("D".to_owned()), true));
    set.stop.cancel();
    tokio::time::timeout(PATIENCE, running).await??;
    // The connection may have been counted before or after the device came.
    let mut last = set.command().await?;
    if matches!(&last, Command::UserSync { syncing: true, .. }) {
        last = set.command().await?;
    }
    assert_eq!(last, duty.clear());
    drop(late);
    assert!(syncing(&duty, &d, "online").await.is_none(), "nobody would hear of its end");
    assert!(set.heard.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_writer_that_fails_is_asked_again() -> Result<()> {
    let mut set = Set::new(UNLIMITED, "500 Internal Server Error").await?;
    let (d, duty) = (requester(Some("D")), Arc::clone(&set.duty));
    for _ in 0..2 {
        let syncing = syncing(&duty, &d, "online").await.context("the sync is served")?;
        assert!(!syncing.told);
        assert_eq!(set.told().await?, "online");
    }
    assert!(duty.failing.load(Ordering::Relaxed));
    Ok(())
}

#[tokio::test]
async fn a_user_over_the_limit_or_without_presence_is_not_told_of() -> Result<()> {
    let set = Set::new("", "200 OK").await?;
    let d = requester(Some("D"));
    assert!(syncing(&set.duty, &d, "online").await.is_some());
    assert!(syncing(&set.duty, &d, "online").await.is_none(), "rc_presence");
    assert!(set.duty.user_syncing(&d, "online", async { Ok(true) }).await?.is_some(), "ratelimit_override");
    assert!(set.duty.user_syncing(&d, "offline", async { Err(MatrixError::unknown(500, "asked")) }).await?.is_none());
    for presence in ["presence: {enabled: false}\n", "presence: {enabled: untracked}\n"] {
        let set = Set::new(&format!("{UNLIMITED}{presence}"), "200 OK").await?;
        assert!(syncing(&set.duty, &d, "online").await.is_none(), "{presence}");
        assert!(set.seen.is_empty() && set.heard.is_empty());
        tokio::time::timeout(PATIENCE, set.duty.run(CancellationToken::new())).await?;
    }
    Ok(())
}
