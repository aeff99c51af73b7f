//! What is done over and over in the background of a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use myelin_testkit::http::Client;

use crate::stage::PATIENCE;

/// Ends at the first failure, or when it is told to.
pub struct Repeated {
    rounds: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<()>>,
}

impl Repeated {
    /// With a pause after each round.
    pub fn start(pause: Duration, mut round: impl FnMut() -> Result<()> + Send + 'static) -> Self {
        let (rounds, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (done, told) = (Arc::clone(&rounds), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !told.load(Ordering::SeqCst) {
                round()?;
                done.fetch_add(1, Ordering::SeqCst);
                thread::sleep(pause);
            }
            Ok(())
        });
        Self { rounds, stop, thread }
    }

    /// A client that asks for the same again and again; each answer must be a 200.
    pub fn request(client: Client, path: String, pause: Duration) -> Self {
        Self::start(pause, move || {
            client.get(&path).and_then(|answer| answer.ok()).with_context(|| path.clone()).map(drop)
        })
    }

    /// Until so many more rounds are over.
    pub fn wait_rounds(&self, more: usize) -> Result<()> {
        let (goal, deadline) = (self.rounds.load(Ordering::SeqCst) + more, Instant::now() + PATIENCE);
        while self.rounds.load(Ordering::SeqCst) < goal {
            ensure!(Instant::now() < deadline, "not even {more} rounds");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The number of rounds, once it has ended.
    pub fn end(self) -> Result<usize> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().map_err(|_| anyhow!("what was repeated panicked"))??;
        Ok(self.rounds.load(Ordering::SeqCst))
    }
}

/// Ends all of them; the number of their rounds.
pub fn end_all<const N: usize>(all: [Repeated; N]) -> Result<usize> {
    for each in &all {
        each.stop.store(true, Ordering::SeqCst);
    }
    all.into_iter().map(Repeated::end).sum()
}
