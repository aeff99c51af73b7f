//! Makes a scenario that fails smaller, as long as it fails in the same way.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::play::{Failure, Tally, Theatre};
use super::step::Step;

pub fn shrink(theatre: &Theatre, steps: &[Step], failure: Failure, limit: Duration) -> Result<(Vec<Step>, Failure)> {
    let mut shrinker = Shrinker { theatre, end: Instant::now() + limit, steps: Vec::new(), failure };
    shrinker.steps = steps[..=shrinker.failure.at].to_vec();
    shrinker.without_questions()?;
    shrinker.without_steps()?;
    shrinker.without_acts()?;
    Ok((shrinker.steps, shrinker.failure))
}

struct Shrinker<'a> {
    theatre: &'a Theatre,
    end: Instant,
    steps: Vec<Step>,
    failure: Failure,
}

impl Shrinker<'_> {
    /// Takes the smaller scenario if it fails too.
    fn try_smaller(&mut self, steps: &[Step]) -> Result<bool> {
        if Instant::now() > self.end {
            return Ok(false);
        }
        let found = self.theatre.play(steps, &mut Tally::default())?;
        let Some(found) = found.filter(|found| found.kind == self.failure.kind) else { return Ok(false) };
        self.steps = steps[..=found.at].to_vec();
        self.failure = found;
        Ok(true)
    }

    /// Only the last question, or else without the questions of one step after the other.
    fn without_questions(&mut self) -> Result<()> {
        let ask = self.failure.ask.clone();
        let mut steps = self.steps.clone();
        let last = steps.len() - 1;
        for (at, step) in steps.iter_mut().enumerate() {
            step.asks.clear();
            // Only a poll of the last step may have failed.
            step.poll.take_if(|_| at < last || ask.is_some());
        }
        if let Some(last) = steps.last_mut() {
            last.asks.extend(ask.clone());
        }
        if self.try_smaller(&steps)? {
            return Ok(());
        }
        // What a worker remembers of a device may matter.
        let mut steps = self.steps.clone();
        for step in &mut steps {
            step.asks.retain(|other| ask.as_ref().is_none_or(|ask| ask.by == other.by));
        }
        self.try_smaller(&steps)?;
        for at in (0..self.steps.len()).rev() {
            let mut steps = self.steps.clone();
            if steps.len() <= at || std::mem::take(&mut steps[at].asks).is_empty() {
                continue;
            }
            self.try_smaller(&steps)?;
        }
        Ok(())
    }

    /// Halves first, then smaller pieces.
    fn without_steps(&mut self) -> Result<()> {
        let mut size = self.steps.len().div_ceil(2);
        loop {
            let mut start = 0;
            while start < self.steps.len() {
                let end = (start + size).min(self.steps.len());
                let mut steps = self.steps.clone();
                steps.drain(start..end);
                if steps.is_empty() || !self.try_smaller(&steps)? {
                    start = end;
                }
            }
            if size <= 1 {
                return Ok(());
            }
            size /= 2;
        }
    }

    fn without_acts(&mut self) -> Result<()> {
        for step in (0..self.steps.len()).rev() {
            let acts = self.steps.get(step).map_or(0, |step| step.acts.len());
            for act in (0..acts).rev() {
                let mut steps = self.steps.clone();
                if steps.get(step).is_some_and(|step| act < step.acts.len()) {
                    steps[step].acts.remove(act);
                    self.try_smaller(&steps)?;
                }
            }
        }
        Ok(())
    }
}
