//! What breaks, while a client must read everything exactly once: Synapse with stream writers, and Myelin behind
//! relays to Redis and Postgres. Each fault is followed by a quiet round, in which nothing but a wake-up can tell.

mod load;
mod postgres;
mod processes;
mod redis;
mod stage;

use anyhow::{Result, ensure};
use stage::Stage;

type Fault = (&'static str, fn(&mut Stage) -> Result<()>);

#[test]
fn everything_arrives_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut stage = Stage::start(folder.path())?;
    let faults: [&[Fault]; 4] = [&redis::FAULTS, &postgres::FAULTS, &processes::FAULTS, &load::FAULTS];
    let only = std::env::var("MYELIN_FAULTS_ONLY").unwrap_or_default();
    let mut failures = Vec::new();
    for (name, fault) in faults.concat().iter().filter(|(name, _)| name.contains(&only)) {
        let start = std::time::Instant::now();
        if let Err(error) = fault(&mut stage) {
            failures.push(format!("{name}: {error:#}"));
        }
        println!("{name}: {:.1} s", start.elapsed().as_secs_f32());
    }
    ensure!(failures.is_empty(), "{}\n\nthe log ends with:\n{}", failures.join("\n\n"), stage.log_tail());
    Ok(())
}
