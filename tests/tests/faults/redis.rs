//! Redis and the way to it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use anyhow::{Result, ensure};
use myelin_tests::stage::{Stage, away};

use crate::Fault;

pub const FAULTS: [Fault; 4] = [
    ("nothing breaks, and every writer is followed", nothing),
    ("Redis is restarted", restarted),
    ("Redis cuts its subscribers off", killed),
    ("messages are lost while Redis is out of reach", out_of_reach),
];

fn nothing(stage: &mut Stage) -> Result<()> {
    stage.through(&[stage.myelin.port], |_, speech, _| speech.wait_rounds(5))?;
    let writers = "SELECT count(DISTINCT instance_name) FROM events WHERE type = 'm.room.message'";
    ensure!(stage.synapse.postgres.query("synapse", writers)? == "2", "one persister wrote everything");
    Ok(())
}

fn restarted(stage: &mut Stage) -> Result<()> {
    stage.through(&[stage.myelin.port], |stage, _, _| stage.synapse.redis.restart())
}

fn killed(stage: &mut Stage) -> Result<()> {
    stage.through(&[stage.myelin.port], |stage, _, _| {
        let mut redis = TcpStream::connect(("127.0.0.1", stage.synapse.redis.port))?;
        redis.write_all(b"CLIENT KILL TYPE pubsub\r\nCLIENT KILL TYPE normal\r\n")?;
        redis.read_exact(&mut [0; 2])?;
        Ok(())
    })
}

fn out_of_reach(stage: &mut Stage) -> Result<()> {
    stage.through(&[stage.myelin.port], |stage, speech, _| {
        stage.redis.cut();
        speech.wait_rounds(5)?;
        thread::sleep(away());
        stage.redis.mend();
        Ok(())
    })
}
