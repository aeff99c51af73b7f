//! What breaks, while a client must read everything exactly once: Synapse with stream writers, and Myelin behind
//! relays to Redis and Postgres. `MYELIN_FAULTS_ONLY` picks faults, `MYELIN_FAULTS_KEEP` keeps the logs. Each fault is followed by a quiet round, in which nothing but a wake-up can tell.

mod clock;
mod load;
mod postgres;
mod processes;
mod redis;

use anyhow::{Result, ensure};
use myelin_tests::stage::Stage;

type Fault = (&'static str, fn(&mut Stage) -> Result<()>);

#[test]
fn everything_arrives_once() -> Result<()> {
    let mut folder = tempfile::tempdir()?;
    // With the logs of all that runs.
    folder.disable_cleanup(std::env::var_os("MYELIN_FAULTS_KEEP").is_some());
    let mut stage = Stage::start(folder.path())?;
    let faults: [&[Fault]; 5] = [&redis::FAULTS, &postgres::FAULTS, &processes::FAULTS, &clock::FAULTS, &load::FAULTS];
    let only = std::env::var("MYELIN_FAULTS_ONLY").unwrap_or_default();
    let mut failures = Vec::new();
    for (name, fault) in faults.concat().iter().filter(|(name, _)| name.contains(&only)) {
        let start = std::time::Instant::now();
        if let Err(error) = fault(&mut stage) {
            failures.push(format!("{name}: {error:#}\n{}", stage.log_tail()));
        }
        println!("{name}: {:.1} s", start.elapsed().as_secs_f32());
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}
