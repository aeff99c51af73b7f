//! Requests that wait: both workers are asked, then something happens, and both must wake with the same answer.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::{Answer, Client};
use serde_json::{Value, json};

use crate::allowed::Allowed;
use crate::chance::Asked;
use crate::compare::{self, Difference};
use crate::run::Outcome;
use crate::seed::Seed;
use crate::stack::{Stack, expect_ok};

pub struct Case {
    pub name: &'static str,
    /// Who waits.
    user: &'static str,
    /// What happens meanwhile: who, method, path, body. Done once before, so that its side effects (presence) are over.
    act: Option<Act>,
    /// JSON pointer in the answer that shows what woke it.
    shows: &'static str,
}

type Act = (&'static str, &'static str, &'static str, fn(&Seed, u32) -> Result<Value>);

/// Waits are cut short by news, or end after this.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long the requests are given to arrive before something happens. Right answers do not depend on it.
const HEAD_START: Duration = Duration::from_millis(400);
const ATTEMPTS: u32 = 3;

pub const CASES: [Case; 6] = [
    Case {
        name: "long_poll/message",
        user: "bob",
        act: Some(("alice", "PUT", "v3/rooms/<general>/send/m.room.message/<n>", |_, n| {
            Ok(json!({"msgtype": "m.text", "body": format!("wake up {n}")}))
        })),
        shows: "/rooms/join/<general>/timeline/events/0/content/body",
    },
    Case {
        name: "long_poll/account data",
        user: "bob",
        act: Some(("bob", "PUT", "v3/user/<@bob>/account_data/my.wake", |_, n| Ok(json!({ "n": n })))),
        shows: "/account_data/events/0/content/n",
    },
    Case {
        name: "long_poll/typing",
        user: "bob",
        act: Some(("alice", "PUT", "v3/rooms/<busy>/typing/<@alice>", |_, n| {
            Ok(json!({"typing": n % 2 == 1, "timeout": 60_000}))
        })),
        shows: "/rooms/join/<busy>/ephemeral/events/0/content/user_ids",
    },
    Case {
        name: "long_poll/receipt",
        user: "bob",
        act: Some(("alice", "POST", "v3/rooms/<busy>/receipt/m.read/<busy:m7<d>>", |_, _| Ok(json!({})))),
        shows: "/rooms/join/<busy>/ephemeral/events/0/type",
    },
    Case {
        name: "long_poll/to-device",
        user: "bob",
        act: Some(("alice", "PUT", "v3/sendToDevice/m.wake/<n>", |seed, n| {
            Ok(json!({"messages": {seed.names.get("@bob")?: {"*": {"n": n}}}}))
        })),
        shows: "/to_device/events/0/content/n",
    },
    Case { name: "long_poll/nothing happens", user: "watcher", act: None, shows: "/next_batch" },
];

pub fn run(case: &Case, stack: &Stack, seed: &Seed, allowed: &Allowed) -> Result<Outcome> {
    let mut number = 1000;
    act(case, seed, number)?;
    for attempt in 1.. {
        stack.wait_caught_up(seed)?;
        number += 1;
        let (python, myelin) = wait(case, stack, seed, number)?;
        let differences = compare::answers(Asked { row: case.name, ..Asked::default() }, allowed, &python, &myelin);
        // Another stream may have moved between the two wake-ups; that shows in the position alone.
        let only_position = differences.iter().all(|found: &Difference| found.path == "/next_batch");
        if !differences.is_empty() && only_position && attempt < ATTEMPTS {
            continue;
        }
        return Ok(Outcome { differences, native: myelin.is_native() });
    }
    anyhow::bail!("no attempt")
}

fn wait(case: &Case, stack: &Stack, seed: &Seed, number: u32) -> Result<(Answer, Answer)> {
    let since = seed.position(&stack.python)?;
    let limit = if case.act.is_some() { TIMEOUT } else { Duration::from_secs(1) };
    let path = format!(
        "/_matrix/client/v3/sync?set_presence=offline&since={since}&timeout={}&filter={{\"presence\":{{\"types\":[]}}}}",
        limit.as_millis()
    );
    let path = path.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
    let token = seed.names.get(&format!("token:{}", case.user))?;
    let poll = |worker: &Client| worker.with_token(token).get(&path);
    let (python, myelin) = std::thread::scope(|scope| {
        let python = scope.spawn(|| poll(&stack.python));
        let myelin = scope.spawn(|| poll(&stack.myelin));
        std::thread::sleep(HEAD_START);
        let acted = act(case, seed, number);
        let panicked = |_| anyhow::anyhow!("a request panicked");
        let answers = (python.join().map_err(panicked)??, myelin.join().map_err(panicked)??);
        acted.map(|()| answers)
    })?;
    let shows = seed.names.fill(case.shows)?;
    for (name, answer) in [("Python", &python), ("Myelin", &myelin)] {
        let text = String::from_utf8_lossy(&answer.body);
        ensure!(answer.json()?.pointer(&shows).is_some(), "{name}'s answer has no {shows}: {text}");
        ensure!(answer.took >= HEAD_START, "{name} did not wait: {text}");
        ensure!(answer.took < limit + Duration::from_secs(5), "{name} was not woken: {text}");
    }
    Ok((python, myelin))
}

fn act(case: &Case, seed: &Seed, number: u32) -> Result<()> {
    let Some((by, method, path, body)) = case.act else { return Ok(()) };
    let path = path.replace("<n>", &number.to_string()).replace("<d>", &(number % 10).to_string());
    seed.ask(by, method, &path, &body(seed, number)?).map(drop).context("what should wake them")
}

pub const COME_ONLINE: &str = "long_poll/come online";
/// Users who come online by a sync: of some, Redis tells a worker only after it has answered, if it does not wait.
const NEWCOMERS: usize = 5;

/// Whoever comes online by a sync learns of it there, and is not woken by it in the next. Only Myelin is asked: the
/// second worker to be asked would find them online.
pub fn come_online(stack: &Stack, seed: &mut Seed) -> Result<Outcome> {
    let mut native = true;
    for number in 0..NEWCOMERS {
        let user = format!("newcomer{number}");
        seed.register(&user)?;
        let worker = stack.myelin.with_token(seed.names.get(&format!("token:{user}"))?);
        let mut sync = |query: &str| -> Result<Value> {
            let answer = worker.get(&format!("/_matrix/client/v3/sync?{query}"))?;
            native &= answer.is_native();
            expect_ok(&answer, "a newcomer's sync")
        };
        let first = sync("timeout=0")?;
        let since = first["next_batch"].as_str().context("no next_batch")?;
        let second = sync(&format!("timeout=1000&since={since}"))?;
        let online = first.pointer("/presence/events/0/content/presence");
        ensure!(online == Some(&json!("online")), "{user} is not online in the first answer: {first}");
        ensure!(second["presence"].is_null(), "{user} is woken by their own presence: {second}");
    }
    Ok(Outcome { differences: Vec::new(), native })
}

pub const OLD_EVENTS: &str = "long_poll/old event stream";

/// `GET /events` of both workers is woken by a message; presence may wake it before.
pub fn old_events(stack: &Stack, seed: &Seed) -> Result<Outcome> {
    stack.wait_caught_up(seed)?;
    let (since, token) = (seed.position(&stack.python)?, seed.names.get("token:grace")?);
    let poll = |worker: &Client| -> Result<(Value, Duration, bool)> {
        let (mut from, start) = (since.clone(), Instant::now());
        while start.elapsed() < TIMEOUT {
            let path = format!("/_matrix/client/v3/events?from={from}&timeout={}", TIMEOUT.as_millis());
            let answer = worker.with_token(token).get(&path)?;
            let native = answer.is_native();
            let mut answer = expect_ok(&answer, "the old event stream")?;
            let events = answer["chunk"].as_array_mut().context("no chunk")?;
            if let Some(event) = events.iter_mut().find(|event| event["content"]["body"] == "wake the old") {
                event["age"].take();
                event["unsigned"]["age"].take();
                return Ok((event.take(), start.elapsed(), native));
            }
            answer["end"].as_str().context("no end")?.clone_into(&mut from);
        }
        anyhow::bail!("nothing came")
    };
    let (python, myelin) = std::thread::scope(|scope| {
        let python = scope.spawn(|| poll(&stack.python));
        let myelin = scope.spawn(|| poll(&stack.myelin));
        std::thread::sleep(HEAD_START);
        let body = json!({"msgtype": "m.text", "body": "wake the old"});
        let sent = seed.ask("alice", "PUT", "v3/rooms/<general>/send/m.room.message/wake-the-old", &body);
        let panicked = |_| anyhow::anyhow!("a request panicked");
        let answers = (python.join().map_err(panicked)?, myelin.join().map_err(panicked)?);
        sent.map(|_| answers)
    })?;
    let (python, myelin) = (python.context("Python")?, myelin.context("Myelin")?);
    ensure!(python.1 >= HEAD_START && myelin.1 >= HEAD_START, "somebody did not wait");
    let mut differences = Vec::new();
    if python.0 != myelin.0 {
        let (python, myelin) = (python.0.to_string(), myelin.0.to_string());
        differences.push(Difference { path: "the message".to_owned(), python, myelin });
    }
    Ok(Outcome { differences, native: myelin.2 })
}
