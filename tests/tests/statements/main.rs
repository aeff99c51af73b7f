//! How many statements an answer costs: what is remembered is not asked again, and what many ask at once is asked once.

mod servers;

use std::collections::BTreeMap;
use std::thread;

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::Client;
use myelin_testkit::process::{Service, free_port};
use myelin_testkit::synapse::{self, PASSWORD, Synapse};
use myelin_tests::{Case, client_and_metrics, eventually, start_on};
use serde_json::{Value, json};

/// Requests that wait at once. Budgets are far below it.
const POLLERS: usize = 30;
const ROOMS: [usize; 2] = [3, 12];
/// A first sync of a user that the worker knows nothing of, and one more, whatever the number of rooms.
const COLD: u64 = 45;
const WARM: u64 = 6;
/// Answers are computed anew, and passwords cost nothing.
const SETTINGS: &str = "bcrypt_rounds: 4\ncaches: {sync_response_cache_duration: 0}\n";
/// When set, statements are counted and printed, and none is too many.
const SHOW: &str = "MYELIN_SHOW_STATEMENTS";
const COUNT: &str = "synapse_storage_transaction_time_count_total{";
const WAITERS: &str = "synapse_notifier_listeners";

#[test]
fn statements() -> Result<()> {
    let cases: [Case; 3] =
        [("many who wait", many_who_wait), ("many rooms", many_rooms), ("other servers", servers::other_servers)];
    myelin_tests::run(SETTINGS, &cases)
}

/// A worker whose statements are counted.
struct Counted {
    myelin: Client,
    _service: Service,
}

/// Statements by the place in the source that made them.
type Counts = BTreeMap<String, u64>;

impl Counted {
    fn start_on(synapse: &Synapse, name: &str, port: u16) -> Result<Self> {
        let (_, service) = start_on(synapse, name, port, &client_and_metrics(port))?;
        Ok(Self { myelin: Client::new(port), _service: service })
    }

    fn metrics(&self) -> Result<String> {
        Ok(String::from_utf8(self.myelin.get("/_synapse/metrics")?.body)?)
    }

    fn counts(&self) -> Result<Counts> {
        let line = |line: &str| -> Option<(String, u64)> {
            let (labels, value) = line.strip_prefix(COUNT)?.rsplit_once(' ')?;
            let (_, desc) = labels.split_once("desc=\"")?;
            Some((desc.split_once('"')?.0.to_owned(), value.parse().ok()?))
        };
        Ok(self.metrics()?.lines().filter_map(line).collect())
    }

    /// What `act` costs; it must not be more than `budget`.
    fn costs<T>(&self, what: &str, budget: u64, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = self.counts()?;
        let result = act()?;
        let mut after = self.counts()?;
        after.retain(|desc, count| {
            *count -= before.get(desc).copied().unwrap_or_default();
            *count > 0
        });
        let total: u64 = after.values().sum();
        println!("{what}: {total} statements {after:?}");
        let only_shown = std::env::var_os(SHOW).is_some();
        ensure!(only_shown || total <= budget, "{what}: {total} statements, not {budget}: {after:?}");
        Ok(result)
    }
}

#[derive(Clone)]
struct User {
    id: String,
    main: Client,
    myelin: Client,
}

impl User {
    fn register(synapse: &Synapse, myelin: &Client, name: &str) -> Result<Self> {
        let synapse::User { id, token } = synapse.register(name)?;
        let main = Client::new(synapse.port).with_token(&token);
        Ok(Self { id, main, myelin: myelin.with_token(&token) })
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        self.main.send(method, &format!("/_matrix/client/v3/{path}"), Some(body))?.ok()
    }

    fn say(&self, room_id: &str, text: &str) -> Result<String> {
        let body = json!({"body": text, "msgtype": "m.text"});
        let sent = self.send("PUT", &format!("rooms/{room_id}/send/m.room.message/{text}"), &body)?;
        sent["event_id"].as_str().map(str::to_owned).context("no event")
    }

    fn create_room(&self, name: &str) -> Result<String> {
        text(&self.send("POST", "createRoom", &json!({"preset": "public_chat", "name": name}))?["room_id"])
    }

    fn sync(&self, query: &str) -> Result<Value> {
        let answer = self.myelin.get(&format!("/_matrix/client/v3/sync?set_presence=offline&{query}"))?;
        ensure!(answer.is_native(), "the fallback answered");
        answer.ok()
    }

    /// Syncs until nothing is new any more.
    fn settle(&self) -> Result<String> {
        let mut since = text(&self.sync("")?["next_batch"])?;
        loop {
            let next = text(&self.sync(&format!("timeout=200&since={since}"))?["next_batch"])?;
            if next == since {
                return Ok(since);
            }
            since = next;
        }
    }
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("not a text: {value}"))
}

/// Waits until `count` requests wait.
fn until_waiting(counted: &Counted, count: usize) -> Result<()> {
    eventually(&format!("{count} requests do not wait"), || {
        let metrics = counted.metrics()?;
        let line = metrics.lines().find(|line| line.starts_with(WAITERS)).context("no number of waiters")?;
        Ok(line.ends_with(&format!(" {count}")))
    })
}

/// All wait; `act`; all have an answer that `shows` something. Returns where they are then.
fn wake(
    counted: &Counted,
    users: &[User],
    since: &mut [String],
    shows: &str,
    act: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let answers: Vec<Result<Value>> = thread::scope(|scope| {
        let poll = |(user, since): (&User, &String)| {
            let (user, since) = (user.clone(), since.clone());
            scope.spawn(move || -> Result<Value> {
                let mut since = since;
                loop {
                    let answer = user.sync(&format!("timeout=20000&since={since}"))?;
                    if answer.pointer(shows).is_some() {
                        return Ok(answer);
                    }
                    ensure!(answer["next_batch"] != since.as_str(), "nobody was woken");
                    since = text(&answer["next_batch"])?;
                }
            })
        };
        let polls: Vec<_> = users.iter().zip(&*since).map(poll).collect();
        until_waiting(counted, users.len())?;
        act()?;
        anyhow::Ok(polls.into_iter().map(|poll| poll.join().unwrap_or_else(|_| anyhow::bail!("panicked"))).collect())
    })?;
    for (since, answer) in since.iter_mut().zip(answers) {
        *since = text(&answer?["next_batch"])?;
    }
    Ok(())
}

fn many_who_wait(synapse: &Synapse) -> Result<()> {
    let counted = Counted::start_on(synapse, "waiters", free_port()?)?;
    let owner = User::register(synapse, &counted.myelin, "owner")?;
    let room_id = owner.create_room("everybody")?;
    let mut users = Vec::new();
    for n in 0..POLLERS {
        let user = User::register(synapse, &counted.myelin, &format!("poller{n}"))?;
        user.send("POST", &format!("join/{room_id}"), &json!({}))?;
        users.push(user);
    }
    let mut since = users.iter().map(User::settle).collect::<Result<Vec<String>>>()?;
    let first = owner.say(&room_id, "first")?;
    for (user, since) in users.iter().zip(&mut since) {
        *since = user.settle()?;
        user.sync(&format!("timeout=0&since={since}"))?;
    }
    counted.costs("nothing new", 0, || {
        users.iter().zip(&since).try_for_each(|(user, since)| user.sync(&format!("timeout=0&since={since}")).map(drop))
    })?;
    let joined = format!("/rooms/join/{}", room_id.replace('/', "~1"));
    let timeline = format!("{joined}/timeline/events/0");
    let ephemeral = format!("{joined}/ephemeral/events/0");
    // Up to four loads of one kind may run at once: more than one statement, and less than one for each who waits.
    let all = |what: &str, budget, shows: &str, since: &mut [String], act: &dyn Fn() -> Result<()>| {
        counted.costs(what, budget, || wake(&counted, &users, since, shows, act))
    };
    all("a message", 28, &timeline, &mut since, &|| owner.say(&room_id, "hello").map(drop))?;
    all("a receipt", 8, &ephemeral, &mut since, &|| {
        owner.send("POST", &format!("rooms/{room_id}/receipt/m.read/{first}"), &json!({})).map(drop)
    })?;
    all("typing", 0, &ephemeral, &mut since, &|| {
        let body = json!({"typing": true, "timeout": 60_000});
        owner.send("PUT", &format!("rooms/{room_id}/typing/{}", owner.id), &body).map(drop)
    })?;
    let presence = format!("presence/{}/status", owner.id);
    // The rooms of whose presence nobody heard before, unless they were read already.
    all("presence", 1, "/presence/events/0", &mut since, &|| {
        owner.send("PUT", &presence, &json!({"presence": "online", "status_msg": "here"})).map(drop)
    })?;
    all("absence", 4, "/presence/events/0", &mut since, &|| {
        owner.send("PUT", &presence, &json!({"presence": "offline"})).map(drop)
    })?;
    all("a device", 8, "/device_lists/changed/0", &mut since, &|| {
        let identifier = json!({"type": "m.id.user", "user": owner.id});
        let body = json!({"type": "m.login.password", "identifier": identifier, "password": PASSWORD});
        owner.send("POST", "login", &body).map(drop)
    })?;
    Ok(())
}

fn many_rooms(synapse: &Synapse) -> Result<()> {
    // The rooms are made before the worker starts, which knows nothing of them.
    let port = free_port()?;
    let myelin = Client::new(port);
    let mut users = Vec::new();
    for count in ROOMS {
        let user = User::register(synapse, &myelin, &format!("rooms{count}"))?;
        for n in 0..count {
            let room_id = user.create_room(&format!("room {n}"))?;
            let event = user.say(&room_id, "hello")?;
            user.send("POST", &format!("rooms/{room_id}/receipt/m.read/{event}"), &json!({}))?;
            user.send("PUT", &format!("user/{}/rooms/{room_id}/account_data/x.y", user.id), &json!({"n": n}))?;
        }
        users.push((count, user));
    }
    let counted = Counted::start_on(synapse, "rooms", port)?;
    for (count, user) in users {
        counted.costs(&format!("{count} rooms, cold"), COLD, || user.sync(""))?;
        counted.costs(&format!("{count} rooms, warm"), WARM, || user.sync(""))?;
    }
    Ok(())
}
