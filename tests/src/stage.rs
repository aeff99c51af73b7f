//! Everything that runs, and how a fault is played on it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use myelin_testkit::http::{self, Client};
use myelin_testkit::process::{Service, free_port};
use myelin_testkit::program::program;
use myelin_testkit::relay::Relay;
use myelin_testkit::synapse::Synapse;
use myelin_testkit::writers::SEPARATE;

use crate::reader::{Reader, Seen};
use crate::talker::Talker;

/// Conditions that a healthy system reaches in a second or two; generous, for the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// Between two rounds of what is said.
const PAUSE: Duration = Duration::from_millis(20);

pub struct Stage {
    pub synapse: Synapse,
    pub redis: Relay,
    pub postgres: Relay,
    pub myelin: Myelin,
    pub talker: Arc<Talker>,
}

/// A Myelin that can be killed and started again on its port.
pub struct Myelin {
    pub port: u16,
    name: String,
    service: Service,
}

/// What is said in the background of a fault.
pub struct Speech {
    rounds: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Stage {
    pub fn start(folder: &Path) -> Result<Self> {
        program()?;
        let synapse = Synapse::start_with(folder, "caches: {sync_response_cache_duration: 0}\n", SEPARATE)?;
        let (redis, postgres) = (Relay::start(synapse.redis.port)?, Relay::start(synapse.postgres.port)?);
        let myelin = Myelin::start(&synapse, "myelin1", redis.port, postgres.port)?;
        let talker = Arc::new(Talker::new(&synapse, 2)?);
        Ok(Self { synapse, redis, postgres, myelin, talker })
    }

    pub fn log_tail(&self) -> String {
        let log = self.myelin.service.log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("Processed request")).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// The sum over all labels of one of Myelin's metrics.
    pub fn metric(&self, name: &str) -> Result<usize> {
        let answer = Client::new(self.myelin.port).get("/_synapse/metrics")?;
        let (text, prefix) = (String::from_utf8(answer.body)?, format!("{name}{{"));
        let lines = text.lines().filter(|line| line.starts_with(&prefix)).filter_map(|line| line.rsplit(' ').next());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts and bytes")]
        Ok(lines.filter_map(|number| number.parse::<f64>().ok()).sum::<f64>() as usize)
    }

    /// Requests that wait now.
    pub fn listeners(&self) -> Result<usize> {
        self.metric("synapse_notifier_listeners")
    }

    pub fn wait_for_listeners(&self, at_least: usize) -> Result<()> {
        self.wait_for(|| Ok(self.listeners()? >= at_least), "the requests do not wait")
    }

    pub fn wait_for_listeners_below(&self, limit: usize) -> Result<()> {
        self.wait_for(|| Ok(self.listeners()? < limit), "requests of clients that went away still wait")
    }

    fn wait_for(&self, holds: impl Fn() -> Result<bool>, otherwise: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !holds()? {
            ensure!(Instant::now() < deadline, "{otherwise}: {} listeners", self.listeners()?);
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Plays a fault, from its cause until that is gone, while Bob reads from `ports` in turn; what the reader saw.
    pub fn through(
        &mut self,
        ports: &[u16],
        fault: impl FnOnce(&mut Self, &Speech, &Reader) -> Result<()>,
    ) -> Result<Seen> {
        let talker = Arc::clone(&self.talker);
        talker.take();
        let reader = Reader::start(ports, &talker.bob_token)?;
        let speech = Speech::start(&talker);
        speech.wait_rounds(2)?;
        let outcome = fault(self, &speech, &reader);
        let spoke_on = speech.wait_rounds(2);
        speech.end()?;
        outcome?;
        spoke_on?;
        let said = talker.take();
        if let Err(error) = reader.wait_until("all that was said", PATIENCE, |seen| seen.has(&said.must)) {
            let seen = reader.wait_until("anything", PATIENCE, |_| true)?;
            let missing: Vec<_> = said.must.iter().filter(|label| !seen.counts.contains_key(*label)).collect();
            return Err(error.context(format!("of {} things {missing:?} are missing", said.must.len())));
        }
        self.quiet_round(&reader)?;
        insist(|| talker.say(0, Reader::last_word()))?;
        let seen = reader.wait_until("the last", PATIENCE, |seen| seen.counts.contains_key(Reader::last_word()))?;
        let twice: Vec<_> = seen.counts.iter().filter(|(_, count)| **count > 1).collect();
        ensure!(twice.is_empty(), "told more than once: {twice:?}");
        ensure!(seen.gaps == 0, "{} timelines had a gap", seen.gaps);
        Ok(seen)
    }

    /// One thing of each kind, each awaited before the next: if its wake-up is missing, nothing else comes.
    fn quiet_round(&self, reader: &Reader) -> Result<()> {
        let told =
            |label: String| reader.wait_until(&label, PATIENCE, |seen| seen.counts.contains_key(&label)).map(drop);
        for room in 0..self.talker.rooms.len() {
            told(insist(|| self.talker.message(room))?.1)?;
            told(insist(|| self.talker.receipt(room))?)?;
            for typing in [true, false] {
                let who = insist(|| self.talker.typing(room, typing))?;
                let room_id = &self.talker.rooms[room];
                reader.wait_until("typing", PATIENCE, |seen| seen.typing.get(room_id) == Some(&who))?;
            }
        }
        told(insist(|| self.talker.to_device())?)?;
        told(insist(|| self.talker.account_data())?)
    }
}

impl Myelin {
    pub fn start(synapse: &Synapse, name: &str, redis: u16, postgres: u16) -> Result<Self> {
        let port = free_port()?;
        let extra = format!(
            "{}redis: {{enabled: true, host: 127.0.0.1, port: {redis}}}\nworker_listeners:\n  - {{type: http, \
             port: {port}, bind_addresses: ['127.0.0.1'], resources: [{{names: [client, metrics]}}]}}\n",
            synapse.myelin_yaml(postgres)?
        );
        synapse.worker_config(name, port, &extra)?;
        let service = serve(synapse, name, port)?;
        Ok(Self { port, name: name.to_owned(), service })
    }

    /// As it was, on the same port.
    pub fn start_again(&mut self, synapse: &Synapse) -> Result<()> {
        self.service = serve(synapse, &self.name, self.port)?;
        Ok(())
    }

    pub fn kill(&mut self) -> Result<()> {
        self.service.signal(rustix::process::Signal::KILL)?;
        // Its code is none: a signal ended it.
        ensure!(self.service.end().is_ok_and(|code| code.is_none()), "it lives");
        Ok(())
    }

    /// SIGTERM; it must end with code 0.
    pub fn end(&mut self) -> Result<()> {
        ensure!(self.service.end()? == Some(0), "{}", self.service.log());
        Ok(())
    }
}

/// Python's workers fail once for each connection that Postgres has cut.
fn insist<T>(act: impl Fn() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match act() {
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => thread::sleep(PAUSE),
            done => return done,
        }
    }
}

fn serve(synapse: &Synapse, name: &str, port: u16) -> Result<Service> {
    let mut command = Command::new(program()?);
    command.arg("-c").arg(synapse.config()).arg("-c").arg(synapse.folder.join(format!("{name}.yaml")));
    let mut service = Service::start(name, &synapse.folder, command)?;
    service.wait_until(PATIENCE, || http::is_healthy(port))?;
    Ok(service)
}

impl Speech {
    fn start(talker: &Arc<Talker>) -> Self {
        let (rounds, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (talker, rounds, stop) = (Arc::clone(talker), Arc::clone(&rounds), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::SeqCst) {
                    talker.round();
                    rounds.fetch_add(1, Ordering::SeqCst);
                    thread::sleep(PAUSE);
                }
            }
        });
        Self { rounds, stop, thread }
    }

    /// Until so many more rounds were said, whether they succeeded or not.
    pub fn wait_rounds(&self, more: usize) -> Result<()> {
        let (goal, deadline) = (self.rounds.load(Ordering::SeqCst) + more, Instant::now() + PATIENCE);
        while self.rounds.load(Ordering::SeqCst) < goal {
            ensure!(Instant::now() < deadline, "nothing can be said");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().map_err(|_| anyhow::anyhow!("the speaker panicked"))
    }
}
