//! What following replication costs a worker that nobody asks anything: the main process is given a mix to do.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use myelin_testkit::synapse::SERVER_NAME;
use serde_json::{Value, json};

use super::dataset::{member, token, user};
use super::stack::Stack;
use super::usage::cpu;

/// A kind of traffic, how many a second, and how many requests at a time may be needed for that.
const KINDS: [(Kind, f64, usize); 4] =
    [(Kind::Message, 40.0, 4), (Kind::Typing, 100.0, 2), (Kind::Receipt, 40.0, 2), (Kind::Presence, 50.0, 2)];

#[derive(Clone, Copy)]
enum Kind {
    Message,
    Typing,
    Receipt,
    Presence,
}

pub struct Listening {
    pub seconds: f64,
    /// How many of each kind the main process has managed: messages, typing, receipts, presence.
    pub achieved: [usize; 4],
    /// For each worker of the stack: its CPU in cores without traffic, and with it.
    pub cores: Vec<(&'static str, f64, f64)>,
}

/// `time` without traffic, then `time` with it.
pub fn run(stack: &Stack, time: Duration) -> Result<Listening> {
    let idle = cores(stack, || {
        std::thread::sleep(time);
        Ok(())
    })?;
    let done: [AtomicUsize; 4] = Default::default();
    let busy = cores(stack, || traffic(stack, time, &done))?;
    let names = stack.workers.iter().map(|worker| worker.name);
    let cores = names.zip(idle.0).zip(busy.0).map(|((name, idle), busy)| (name, idle, busy)).collect();
    Ok(Listening { seconds: busy.1.as_secs_f64(), achieved: done.map(AtomicUsize::into_inner), cores })
}

/// Each worker's CPU in cores while `work` runs, and how long that was.
fn cores(stack: &Stack, work: impl FnOnce() -> Result<()>) -> Result<(Vec<f64>, Duration)> {
    let used = || stack.workers.iter().map(|worker| cpu(worker.who.pid)).collect::<Result<Vec<_>>>();
    let (before, start) = (used()?, Instant::now());
    work()?;
    let took = start.elapsed();
    let cores = used()?
        .into_iter()
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before).as_secs_f64() / took.as_secs_f64());
    Ok((cores.collect(), took))
}

fn traffic(stack: &Stack, time: Duration, done: &[AtomicUsize; 4]) -> Result<()> {
    let (start, failed) = (Instant::now(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let mut lanes = Vec::new();
        for ((kind, rate, lanes_of_kind), done) in KINDS.iter().zip(done) {
            let next = std::sync::Arc::new(AtomicUsize::new(0));
            for _ in 0..*lanes_of_kind {
                let (next, failed) = (next.clone(), &failed);
                lanes.push(scope.spawn(move || -> Result<()> {
                    while !failed.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        #[expect(clippy::cast_precision_loss, reason = "thousands")]
                        let due = Duration::from_secs_f64(number as f64 / rate);
                        if due.max(start.elapsed()) >= time {
                            break;
                        }
                        // The main process may be slower than asked for: then the next goes out at once.
                        std::thread::sleep(due.saturating_sub(start.elapsed()));
                        send(stack, *kind, number).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                }));
            }
        }
        lanes.into_iter().try_for_each(|lane| lane.join().map_err(|_| anyhow::anyhow!("a lane panicked"))?)
    })
}

fn send(stack: &Stack, kind: Kind, number: usize) -> Result<()> {
    let rooms = &stack.dataset.small_rooms;
    let (room, turn) = (number % rooms.len(), number / rooms.len());
    // Who types stops typing before the next one does.
    let name = user(member(room, if matches!(kind, Kind::Typing) { turn / 2 } else { turn }));
    let (id, room_id) = (format!("@{name}:{SERVER_NAME}"), &rooms[room]);
    let (method, path, body): (_, _, Value) = match kind {
        Kind::Message => {
            let body = json!({"msgtype": "m.text", "body": format!("Message {number} of the mix")});
            ("PUT", format!("rooms/{room_id}/send/m.room.message/mix{number}"), body)
        }
        Kind::Typing => {
            let body = json!({"typing": turn % 2 == 0, "timeout": 20_000});
            ("PUT", format!("rooms/{room_id}/typing/{id}"), body)
        }
        Kind::Receipt => {
            // Nobody reads backwards: the room's last message, each time by another member.
            let last = stack.dataset.events.iter().rev().find(|(of, _)| of == room_id);
            let (_, event) = last.ok_or_else(|| anyhow::anyhow!("a room without messages"))?;
            ("POST", format!("rooms/{room_id}/receipt/m.read/{event}"), json!({}))
        }
        Kind::Presence => {
            let body = json!({"presence": "online", "status_msg": format!("state {number}")});
            ("PUT", format!("presence/{id}/status"), body)
        }
    };
    let answer =
        stack.main.with_token(&token(&name)).send(method, &format!("/_matrix/client/v3/{path}"), Some(&body))?;
    ensure!(answer.status == 200, "{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    Ok(())
}
