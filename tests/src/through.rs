//! How a fault is played: somebody talks all the time, and somebody must be told everything, once.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::reader::{Reader, Seen};
use crate::repeated::Repeated;
use crate::stage::{PATIENCE, Stage};
use crate::talker::{Said, Talker};

/// Between two rounds of what is said.
const PAUSE: Duration = Duration::from_millis(20);

impl Stage {
    /// Plays a fault, from its cause until that is gone, while Bob reads from `ports` in turn. None of his requests
    /// fails.
    pub fn through(
        &mut self,
        ports: &[u16],
        fault: impl FnOnce(&mut Self, &Repeated, &Reader) -> Result<()>,
    ) -> Result<()> {
        let seen = self.survive(ports, fault)?;
        ensure!(seen.failures.is_empty(), "{:?}", seen.failures);
        Ok(())
    }

    /// What came before has left nothing behind.
    pub fn is_well(&mut self) -> Result<()> {
        self.through(&[self.myelin.port], |_, _, _| Ok(()))
    }

    /// The same as `through`, but requests may fail; what the reader saw.
    pub fn survive(
        &mut self,
        ports: &[u16],
        fault: impl FnOnce(&mut Self, &Repeated, &Reader) -> Result<()>,
    ) -> Result<Seen> {
        let talker = Arc::clone(&self.talker);
        talker.take();
        let reader = Reader::start(ports, &talker.bob_token)?;
        let speech = speak(&talker);
        speech.wait_rounds(2)?;
        let outcome = fault(self, &speech, &reader);
        let recovered = outcome.and_then(|()| self.recover(&reader));
        let spoke_on = speech.wait_rounds(2);
        speech.end()?;
        recovered?;
        spoke_on?;
        told(&reader, &talker.take())?;
        self.quiet_round(&reader)?;
        insist(|| talker.say(0, Reader::last_word())?.ok())?;
        let seen = reader.wait_until("the last", PATIENCE, |seen| seen.counts.contains_key(Reader::last_word()))?;
        let twice: Vec<_> = seen.counts.iter().filter(|(_, count)| **count > 1).collect();
        ensure!(twice.is_empty(), "told more than once: {twice:?}");
        ensure!(seen.gaps == 0, "{} timelines had a gap", seen.gaps);
        Ok(seen)
    }

    /// Shows how long it takes, once the cause is gone, until a new message of each room can be sent, and Bob was
    /// told of all that was said by then.
    fn recover(&self, reader: &Reader) -> Result<()> {
        let gone = Instant::now();
        for room in 0..self.talker.rooms.len() {
            insist(|| self.talker.message(room))?;
        }
        let sent = gone.elapsed();
        told(reader, &self.talker.said_so_far())?;
        let (told, sent) = (gone.elapsed().as_secs_f32(), sent.as_secs_f32());
        println!("  {told:.2} s until all was told, {sent:.2} of them until it could be said");
        Ok(())
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

fn told(reader: &Reader, said: &Said) -> Result<()> {
    if let Err(error) = reader.wait_until("all that was said", PATIENCE, |seen| seen.has(&said.must)) {
        let seen = reader.wait_until("anything", PATIENCE, |_| true)?;
        let missing: Vec<_> = said.must.iter().filter(|label| !seen.counts.contains_key(*label)).collect();
        let (said, last, since) = (said.must.len(), said.must.last(), seen.since);
        return Err(error.context(format!("{missing:?} of {said} things until {last:?} are missing at {since}")));
    }
    Ok(())
}

/// Says one round of everything again and again, whether it is taken or not.
fn speak(talker: &Arc<Talker>) -> Repeated {
    let talker = Arc::clone(talker);
    Repeated::start(PAUSE, move || {
        talker.round();
        Ok(())
    })
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
