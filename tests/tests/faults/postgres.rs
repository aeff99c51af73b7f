//! Postgres and the way to it. Nobody's request fails: a read is tried again.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use myelin_testkit::synapse::ROLE;
use myelin_tests::stage::{Stage, away};

use crate::Fault;

pub const FAULTS: [Fault; 4] = [
    ("Postgres is restarted", restarted),
    ("Postgres cuts every connection", cut),
    ("Postgres has no connection left", out_of_connections),
    ("Postgres is slow", slow),
];

fn restarted(stage: &mut Stage) -> Result<()> {
    stage.through(&[stage.myelin.port], |stage, _, _| stage.synapse.postgres.restart())
}

fn cut(stage: &mut Stage) -> Result<()> {
    stage.through(&[stage.myelin.port], |stage, _, _| {
        stage.postgres.cut();
        thread::sleep(away());
        stage.postgres.mend();
        Ok(())
    })
}

fn out_of_connections(stage: &mut Stage) -> Result<()> {
    stage.through(&[stage.myelin.port], |stage, _, _| {
        let sql = |text: &str| stage.synapse.postgres.query("synapse", text);
        sql(&format!("ALTER ROLE {ROLE} CONNECTION LIMIT 0"))?;
        sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"))?;
        thread::sleep(away());
        sql(&format!("ALTER ROLE {ROLE} CONNECTION LIMIT -1"))?;
        Ok(())
    })
}

fn slow(stage: &mut Stage) -> Result<()> {
    stage.through(&[stage.myelin.port], |stage, speech, _| {
        stage.postgres.slow_down(Duration::from_millis(100));
        speech.wait_rounds(5)?;
        stage.postgres.slow_down(Duration::ZERO);
        Ok(())
    })
}
