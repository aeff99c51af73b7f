//! One message, many long-polls: how long until the first and the last have it, and what it costs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::Client;
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::dataset::{token, user};
use super::load::{Ask, Connection, percentile};
use super::measure::median;
use super::stack::{Stack, Worker};
use super::usage::{Usage, cpu, resident};

/// Longer than a round takes, so that nobody comes back without the message.
const POLL_MS: u32 = 120_000;
/// After this a delivery is lost.
const PATIENCE: Duration = Duration::from_mins(1);
/// A worker that uses less than this in `CALM` has nothing left to do.
const IDLE: Duration = Duration::from_millis(20);
const CALM: Duration = Duration::from_millis(400);

/// Medians over the rounds. Times in milliseconds after the answer to the sender, which the first may precede; CPU in milliseconds per delivery, with
/// the poll that follows it.
pub struct FanOut {
    pub worker: &'static str,
    pub waiters: usize,
    /// How long the main process took to answer the sender.
    pub send: f64,
    pub first: f64,
    pub p50: f64,
    pub last: f64,
    pub cpu: f64,
    pub postgres: f64,
    pub statements: f64,
    /// Bytes of memory with all waiters there, before the first message.
    pub resident: u64,
}

/// Each worker with each number of waiters, one after the other.
pub fn run(
    stack: &Stack,
    waiters: &[usize],
    rounds: usize,
    runtime: &Runtime,
    done: impl Fn(&FanOut),
) -> Result<Vec<FanOut>> {
    let mut all = Vec::new();
    for waiters in waiters.iter().copied() {
        for worker in &stack.workers {
            let measured = runtime.block_on(measure(stack, worker, waiters, rounds));
            let measured = measured.with_context(|| format!("{waiters} waiters at {}", worker.name))?;
            done(&measured);
            all.push(measured);
        }
    }
    Ok(all)
}

/// What one round gave.
struct Round {
    /// Milliseconds after the answer to the sender, sorted; less than zero if it came before that.
    delays: Vec<f64>,
    send: Duration,
    cpu: Duration,
    postgres: Duration,
    statements: u64,
}

async fn measure(stack: &Stack, worker: &Worker, waiters: usize, rounds: usize) -> Result<FanOut> {
    let since = stack.now(&user(0))?;
    let (sender, mut deliveries) = mpsc::channel(waiters);
    let mut polls = JoinSet::new();
    for number in 0..waiters {
        polls.spawn(poll(Connection::open(worker.port).await?, token(&user(number)), since.clone(), sender.clone()));
    }
    calm(worker).await?;
    let resident = resident(worker.who.pid)?;
    let mut measured = Vec::new();
    // The first round fills caches.
    for round in 0..=rounds {
        let before = Usage::now(&worker.who, &stack.synapse.postgres)?;
        let start = Instant::now();
        let answered = send(stack, &format!("{since}-{}-{round}", worker.name)).await?;
        let mut delays = Vec::with_capacity(waiters);
        while delays.len() < waiters {
            let delivery = tokio::time::timeout(PATIENCE, next(&mut deliveries, &mut polls)).await;
            let delivery = delivery.with_context(|| format!("{} of {waiters} deliveries", delays.len()))??;
            delays.push(
                ms(delivery.saturating_duration_since(answered)) - ms(answered.saturating_duration_since(delivery)),
            );
        }
        calm(worker).await?;
        let used = before.until(&Usage::now(&worker.who, &stack.synapse.postgres)?);
        delays.sort_by(f64::total_cmp);
        measured.push(Round {
            delays,
            send: answered.saturating_duration_since(start),
            cpu: used.worker,
            postgres: used.postgres,
            statements: used.statements,
        });
    }
    polls.shutdown().await;
    Ok(summary(worker.name, waiters, &measured[1..], resident))
}

/// When the next message arrived somewhere; an error of any poll ends the measurement.
async fn next(deliveries: &mut mpsc::Receiver<Instant>, polls: &mut JoinSet<Result<()>>) -> Result<Instant> {
    tokio::select! {
        delivery = deliveries.recv() => delivery.context("nobody polls"),
        Some(ended) = polls.join_next() => {
            ended.context("a poll panicked")??;
            anyhow::bail!("a poll ended")
        }
    }
}

/// Polls again and again, and tells when a message comes.
async fn poll(
    mut connection: Connection,
    token: String,
    mut since: String,
    sender: mpsc::Sender<Instant>,
) -> Result<()> {
    #[derive(Deserialize)]
    struct Answer {
        next_batch: String,
    }
    loop {
        let path = format!("/_matrix/client/v3/sync?set_presence=offline&timeout={POLL_MS}&since={since}");
        let answer = connection.ask(&Ask { path, authorization: Some(format!("Bearer {token}")), body: None }).await?;
        let arrived = Instant::now();
        since = serde_json::from_slice::<Answer>(&answer)?.next_batch;
        // What else may wake somebody is not a delivery.
        if has_message(&answer) {
            sender.send(arrived).await.context("nobody counts")?;
        }
    }
}

const MESSAGE: &[u8] = b"A message for everybody";

fn has_message(answer: &[u8]) -> bool {
    answer.windows(MESSAGE.len()).any(|window| window == MESSAGE)
}

/// Gives the moment of the answer.
async fn send(stack: &Stack, transaction: &str) -> Result<Instant> {
    let client: Client = stack.main.with_token(&token(&user(0)));
    let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/{transaction}", stack.dataset.room_of_1000);
    let send = move || {
        let body = json!({"msgtype": "m.text", "body": String::from_utf8_lossy(MESSAGE)});
        client.send("PUT", &path, Some(&body)).map(|answer| (answer, Instant::now()))
    };
    let (answer, answered) = tokio::task::spawn_blocking(send).await??;
    ensure!(answer.status == 200, "send: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    Ok(answered)
}

/// Waits until the worker has nothing to do: every poll has arrived and waits.
async fn calm(worker: &Worker) -> Result<()> {
    let start = Instant::now();
    loop {
        let before = cpu(worker.who.pid)?;
        tokio::time::sleep(CALM).await;
        if cpu(worker.who.pid)?.saturating_sub(before) < IDLE {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "{} does not come to rest", worker.name);
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "at most thousands")]
fn summary(worker: &'static str, waiters: usize, rounds: &[Round], resident: u64) -> FanOut {
    let of = |value: &dyn Fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    let each = waiters as f64;
    FanOut {
        worker,
        waiters,
        send: of(&|round| ms(round.send)),
        first: of(&|round| round.delays.first().copied().unwrap_or_default()),
        p50: of(&|round| percentile(&round.delays, 50)),
        last: of(&|round| round.delays.last().copied().unwrap_or_default()),
        cpu: of(&|round| ms(round.cpu) / each),
        postgres: of(&|round| ms(round.postgres) / each),
        statements: of(&|round| round.statements as f64 / each),
        resident,
    }
}
