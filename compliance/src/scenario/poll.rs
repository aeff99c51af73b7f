//! Long-polls beside a step: both workers must wake for the same, and lose nothing of it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use myelin_testkit::http::{Answer, Client};
use serde_json::{Value, json};

use crate::allowed::Allowed;
use crate::chance::Asked;
use crate::compare::{self, Difference};
use crate::names::encode;
use crate::stack::Stack;

/// Milliseconds; whoever is not woken by the step is woken long before by `END`.
const TIMEOUT: u32 = 60_000;
/// Account data of the one who waits, set after the step.
pub const END: &str = "my.end";

/// The two answers to one user who waited from `since`.
pub struct Polled {
    pub python: Answer,
    pub myelin: Answer,
}

/// Everything of a room, so that nothing is cut off; presence has its own time.
fn path(since: &str, timeout: u32) -> String {
    let filter = json!({"presence": {"types": []}, "room": {"timeline": {"limit": 50}}}).to_string();
    let (since, filter) = (encode(since), encode(&filter));
    format!("/_matrix/client/v3/sync?set_presence=offline&since={since}&timeout={timeout}&filter={filter}")
}

/// Both wait while `act` is done, and `end` then ends who still waits. `arrived` returns once they do wait.
pub fn beside<T>(
    stack: &Stack,
    token: &str,
    since: &str,
    arrived: impl FnOnce() -> Result<()>,
    act: impl FnOnce() -> Result<T>,
    end: impl FnOnce() -> Result<()>,
) -> Result<(Polled, T)> {
    let path = path(since, TIMEOUT);
    let wait = |worker: &Client| worker.with_token(token).get(&path);
    std::thread::scope(|scope| {
        let python = scope.spawn(|| wait(&stack.python));
        let myelin = scope.spawn(|| wait(&stack.myelin));
        let acted = arrived().and_then(|()| act());
        let ended = end();
        let panicked = |_| anyhow::anyhow!("a request panicked");
        let polled = Polled { python: python.join().map_err(panicked)??, myelin: myelin.join().map_err(panicked)?? };
        ended?;
        Ok((polled, acted?))
    })
}

impl Polled {
    /// What differs: who woke for the step, what it was told, and what it was told afterwards.
    pub fn compare(&self, stack: &Stack, token: &str, allowed: &Allowed) -> Result<Vec<Difference>> {
        let (python, myelin) = (self.python.json()?, self.myelin.json()?);
        if self.python.status != 200 || python["next_batch"] == myelin["next_batch"] {
            return Ok(compare::answers(
                Asked { row: "sync/poll", ..Asked::default() },
                allowed,
                &self.python,
                &self.myelin,
            ));
        }
        let mut found = Vec::new();
        let mut differ = |path: &str, python: String, myelin: String| {
            if python != myelin {
                found.push(Difference { path: format!("/poll/{path}"), python, myelin });
            }
        };
        let woken = |answer: &Value| (if is_end(answer) { "by the end" } else { "by the step" }).to_owned();
        differ("woken", woken(&python), woken(&myelin));
        // A step of several rows may be told in several answers: together they must say the same.
        let told = |worker: &Client, answer: &Value| -> Result<String> {
            let mut told = BTreeSet::new();
            collect(answer, &mut told)?;
            let next = path(answer["next_batch"].as_str().unwrap_or_default(), 0);
            collect(&worker.with_token(token).get(&next)?.json()?, &mut told)?;
            Ok(told.into_iter().collect::<Vec<_>>().join(" "))
        };
        differ("told", told(&stack.python, &python)?, told(&stack.myelin, &myelin)?);
        Ok(found)
    }
}

fn is_end(answer: &Value) -> bool {
    events(answer, "/account_data/events").any(|event| event["type"] == END)
}

fn events<'a>(answer: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    answer.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// Ids of events and contents of messages; none of them may come twice.
fn collect(answer: &Value, told: &mut BTreeSet<String>) -> Result<()> {
    let rooms = answer.pointer("/rooms/join").and_then(Value::as_object);
    let timelines = rooms.into_iter().flatten().flat_map(|(_, room)| events(room, "/timeline/events"));
    let timelines = timelines.filter_map(|event| event["event_id"].as_str()).map(ToOwned::to_owned);
    let messages = events(answer, "/to_device/events").map(|event| event["content"].to_string());
    for one in timelines.chain(messages) {
        ensure!(told.insert(one.clone()), "told twice: {one}");
    }
    Ok(())
}
