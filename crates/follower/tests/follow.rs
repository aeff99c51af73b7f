//! The follower behind a real Synapse main process, with Redis and Postgres.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use myelin_config::Config;
use myelin_follower::{Follower, Stats};
use myelin_live::{Changed, Listener, Reader, Wakened};
use myelin_model::{StreamName, StreamToken};
use myelin_replication::Client;
use myelin_storage::Storage;
use myelin_testkit::http;
use myelin_testkit::synapse::Synapse;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Long enough for a busy machine; nothing here takes that long when it works.
const LIMIT: Duration = Duration::from_mins(1);

/// The follower's way to Redis, which can be cut.
struct Cable {
    port: u16,
    whole: watch::Sender<bool>,
}

impl Cable {
    async fn lay(to: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let whole = watch::Sender::new(true);
        let state = whole.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, to, state.clone()));
            }
        });
        Ok(Self { port, whole })
    }
}

async fn carry(mut near: TcpStream, to: u16, mut whole: watch::Receiver<bool>) -> Result<()> {
    if *whole.borrow_and_update() {
        let mut far = TcpStream::connect(("127.0.0.1", to)).await?;
        tokio::select! {
            done = tokio::io::copy_bidirectional(&mut near, &mut far) => drop(done?),
            cut = whole.wait_for(|whole| !whole) => drop(cut?),
        }
    }
    Ok(())
}

struct Following {
    synapse: Synapse,
    cable: Cable,
    storage: Storage,
    live: Reader,
    stats: Arc<Stats>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

/// One of the users of the main process.
struct User {
    id: Arc<str>,
    api: http::Client,
}

impl User {
    fn register(synapse: &Synapse, name: &str) -> Result<Self> {
        let body = json!({ "username": name, "password": "p", "auth": { "type": "m.login.dummy" } });
        let api = http::Client::new(synapse.port);
        let answer = api.send("POST", "/_matrix/client/v3/register", Some(&body))?.json()?;
        let token = answer["access_token"].as_str().with_context(|| format!("not registered: {answer}"))?;
        let id = answer["user_id"].as_str().context("no user_id")?;
        Ok(Self { id: Arc::from(id), api: api.with_token(token) })
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let answer = self.api.send(method, &format!("/_matrix/client/v3{path}"), Some(body))?;
        ensure!(answer.status == 200, "{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    fn say(&self, room_id: &str, text: &str) -> Result<Value> {
        let path = format!("/rooms/{room_id}/send/m.room.message/{text}");
        self.send("PUT", &path, &json!({ "msgtype": "m.text", "body": text }))
    }

    /// Where the main process stands.
    fn now(&self, storage: &Storage) -> Result<StreamToken> {
        let answer = self.api.get("/_matrix/client/v3/sync?timeout=0&set_presence=offline")?.json()?;
        let next_batch = answer["next_batch"].as_str().with_context(|| format!("no next_batch: {answer}"))?;
        Ok(StreamToken::parse(next_batch, &storage.instances())?)
    }
}

impl Following {
    async fn start(folder: &Path) -> Result<Self> {
        let synapse = Synapse::start(folder, "")?;
        let cable = Cable::lay(synapse.redis.port).await?;
        let redis = format!("redis: {{enabled: true, host: 127.0.0.1, port: {}}}\n", cable.port);
        let worker = synapse.worker_config("w1", 1, &redis)?;
        let config: Arc<Config> = Arc::new(myelin_config::load(&[synapse.config(), worker])?);
        let storage = Storage::connect(&config).await?;
        let (writer, live) = myelin_live::new(storage.initial_positions(&config.worker.stream_writers).await?);
        let stop = CancellationToken::new();
        let (incoming, commands) = myelin_replication::connect(&config, stop.clone())?;
        let http = Client::new(&config);
        let follower = Follower::start(config, writer, storage.clone(), http, commands, stop.clone()).await?;
        let stats = follower.stats();
        let running = tokio::spawn(follower.run(incoming));
        Ok(Self { synapse, cable, storage, live, stats, stop, running })
    }

    /// Waits until we stand where the main process stands now.
    async fn catch_up_with(&self, user: &User) -> Result<()> {
        let now = user.now(&self.storage)?;
        ensure!(
            self.live.wait_for_token(&now, LIMIT).await,
            "{now:?} was not reached: {:?}",
            self.live.current_token()
        );
        Ok(())
    }

    /// Does something and waits until it woke the listener and `done`.
    async fn until(
        &self,
        listener: &mut Listener,
        act: impl FnOnce() -> Result<Value>,
        done: impl Fn() -> bool,
    ) -> Result<()> {
        let mut seen = listener.seen();
        act()?;
        loop {
            let woken = listener.wait(seen, LIMIT).await;
            ensure!(woken == Wakened::Woken, "{woken:?}");
            seen = listener.seen();
            if done() {
                return Ok(());
            }
        }
    }

    fn position(&self, stream: StreamName) -> i64 {
        self.live.position(stream, "master")
    }
}

/// One test: the services are started once.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_main_process_writes_arrives() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut following = Following::start(folder.path()).await?;
    let alice = User::register(&following.synapse, "alice")?;
    let bob = User::register(&following.synapse, "bob")?;
    let room = alice.send("POST", "/createRoom", &json!({ "preset": "public_chat" }))?;
    let room: Arc<str> = Arc::from(room["room_id"].as_str().context("no room_id")?);
    following.catch_up_with(&alice).await?;

    messages_wake_the_room(&following, &alice, &room).await.context("messages")?;
    members_are_known_when_the_position_is(&following, &alice, &bob, &room).await.context("members")?;
    other_streams_wake(&following, &alice, &bob, &room).await.context("other streams")?;
    what_was_missed_is_fetched(&following, &alice, &bob, &room).await.context("a cut connection")?;
    following.synapse.redis.restart()?;
    goes_on(&following, &alice, &room, "after-restart").await.context("Redis anew")?;
    stopping_ends_waits(following, &alice).await.context("stopping")
}

async fn messages_wake_the_room(following: &Following, alice: &User, room: &Arc<str>) -> Result<()> {
    let live = &following.live;
    let mut listener = live.listen(&Arc::from("@nobody:myelin.test"), vec![Arc::clone(room)]);
    let before = following.position(StreamName::Events);
    ensure!(!live.may_have_changed(Changed::RoomEvents, room, before), "changed before anything was sent");
    let moved = || live.current_token().room.position().base > before;
    following.until(&mut listener, || alice.say(room, "one"), moved).await?;
    ensure!(live.may_have_changed(Changed::RoomEvents, room, before), "the room's change was not noted");
    let rows = following.stats.streams().into_iter().find(|(stream, ..)| *stream == "events");
    ensure!(rows.is_some_and(|(_, rows, _)| rows > 0), "no row was counted");
    Ok(())
}

/// Caches are invalidated before a position is seen, whatever the order of the streams.
async fn members_are_known_when_the_position_is(
    following: &Following,
    alice: &User,
    bob: &User,
    room: &Arc<str>,
) -> Result<()> {
    let (live, storage) = (&following.live, &following.storage);
    let mut listener = live.listen(&bob.id, Vec::new());
    ensure!(!storage.get_users_in_room(room).await?.contains(&bob.id), "bob is there already");
    let before = following.position(StreamName::Events);
    let moved = || live.current_token().room.position().base > before;
    let join = || bob.send("POST", &format!("/rooms/{room}/join"), &json!({}));
    following.until(&mut listener, join, moved).await?;
    ensure!(storage.get_users_in_room(room).await?.contains(&bob.id), "bob's join is not known");
    ensure!(storage.get_rooms_for_user(&bob.id).await?.contains(room), "bob's rooms are not known");
    ensure!(live.may_have_changed(Changed::UserMembership, &bob.id, before), "the membership's change was not noted");
    // The join brought the room to bob's open request.
    let before = following.position(StreamName::Events);
    let moved = || live.current_token().room.position().base > before;
    following.until(&mut listener, || alice.say(room, "two"), moved).await
}

async fn other_streams_wake(following: &Following, alice: &User, bob: &User, room: &Arc<str>) -> Result<()> {
    let live = &following.live;
    let mut in_room = live.listen(&Arc::from("@nobody:myelin.test"), vec![Arc::clone(room)]);
    let mut own = live.listen(&bob.id, Vec::new());
    let moved = |stream| {
        let before = following.position(stream);
        move || following.position(stream) > before
    };

    let typing = || {
        alice.send("PUT", &format!("/rooms/{room}/typing/{}", alice.id), &json!({ "typing": true, "timeout": 60_000 }))
    };
    let types = || live.typing(room).is_some_and(|typing| typing.user_ids.contains(&alice.id));
    following.until(&mut in_room, typing, types).await.context("typing")?;

    let last = bob.say(room, "three")?;
    let last = last["event_id"].as_str().context("no event_id")?;
    let receipt = || bob.send("POST", &format!("/rooms/{room}/receipt/m.read/{last}"), &json!({}));
    following.until(&mut in_room, receipt, moved(StreamName::Receipts)).await.context("receipts")?;

    let path = format!("/user/{}/account_data/m.ignored_user_list", bob.id);
    ensure!(following.storage.ignored_users(&bob.id).await?.is_empty(), "bob ignores somebody");
    let ignored = json!({ "ignored_users": { "@eve:myelin.test": {} } });
    let ignore = || bob.send("PUT", &path, &ignored);
    following.until(&mut own, ignore, moved(StreamName::AccountData)).await.context("account data")?;
    ensure!(following.storage.ignored_users(&bob.id).await?.len() == 1, "the ignored user is not known");

    let rule = || bob.send("PUT", "/pushrules/global/content/x", &json!({ "pattern": "x", "actions": ["notify"] }));
    following.until(&mut own, rule, moved(StreamName::PushRules)).await.context("push rules")?;

    let messages = json!({ "messages": { bob.id.to_string(): { "*": { "hello": 1 } } } });
    let to_device = || alice.send("PUT", "/sendToDevice/x.y/1", &messages);
    following.until(&mut own, to_device, moved(StreamName::ToDevice)).await.context("to device")?;

    let online = || {
        alice.send(
            "PUT",
            &format!("/presence/{}/status", alice.id),
            &json!({ "presence": "online", "status_msg": "hi" }),
        )
    };
    let known = || live.presence(&alice.id).is_some_and(|presence| presence.status_msg.as_deref() == Some("hi"));
    following.until(&mut in_room, online, known).await.context("presence")?;

    let device = bob.api.get("/_matrix/client/v3/account/whoami")?.json()?;
    let path = format!("/devices/{}", device["device_id"].as_str().context("no device_id")?);
    let rename = || bob.send("PUT", &path, &json!({ "display_name": "new" }));
    let before = following.position(StreamName::DeviceLists);
    following.until(&mut in_room, rename, moved(StreamName::DeviceLists)).await.context("device lists")?;
    ensure!(live.may_have_changed(Changed::RoomDeviceList, room, before), "the room's devices are not noted");
    ensure!(live.may_have_changed(Changed::UserDeviceList, &bob.id, before), "bob's devices are not noted");
    following.catch_up_with(alice).await
}

/// From the database, and typing from its writer.
async fn what_was_missed_is_fetched(following: &Following, alice: &User, bob: &User, room: &Arc<str>) -> Result<()> {
    let (live, storage) = (&following.live, &following.storage);
    ensure!(storage.get_users_in_room(room).await?.contains(&bob.id), "bob is not there");
    let mut listener = live.listen(&Arc::from("@nobody:myelin.test"), vec![Arc::clone(room)]);
    let (seen, before) = (listener.seen(), following.position(StreamName::Events));
    following.cable.whole.send_replace(false);
    let sent = alice.say(room, "unheard")?;
    let sent = sent["event_id"].as_str().context("no event_id")?;
    let typing = json!({ "typing": false });
    alice.send("PUT", &format!("/rooms/{room}/typing/{}", alice.id), &typing)?;
    alice.send("POST", &format!("/rooms/{room}/kick"), &json!({ "user_id": bob.id }))?;
    ensure!(following.position(StreamName::Events) == before, "the connection was not cut");
    following.cable.whole.send_replace(true);
    ensure!(listener.wait(seen, LIMIT).await == Wakened::Woken, "nobody was woken for what was missed");
    following.catch_up_with(alice).await?;
    let event = storage.get_event(sent).await?.context("the missed event is not known")?;
    ensure!(event.position.stream > before, "not the missed event");
    ensure!(!storage.get_users_in_room(room).await?.contains(&bob.id), "the kick was missed");
    ensure!(live.typing(room).is_some_and(|typing| typing.user_ids.is_empty()), "alice types for ever");
    goes_on(following, alice, room, "after-cut").await
}

async fn goes_on(following: &Following, alice: &User, room: &Arc<str>, text: &str) -> Result<()> {
    let mut listener = following.live.listen(&Arc::from("@nobody:myelin.test"), vec![Arc::clone(room)]);
    let before = following.position(StreamName::Events);
    let moved = || following.live.current_token().room.position().base > before;
    following.until(&mut listener, || alice.say(room, text), moved).await
}

async fn stopping_ends_waits(following: Following, alice: &User) -> Result<()> {
    let mut listener = following.live.listen(&alice.id, Vec::new());
    let seen = listener.seen();
    following.stop.cancel();
    tokio::time::timeout(LIMIT, following.running).await.context("the follower does not end")??;
    ensure!(listener.wait(seen, LIMIT).await == Wakened::Stopping, "the wait did not end");
    Ok(())
}
