//! Processes that go and come back: Synapse's and Myelin's own.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::Client;
use myelin_testkit::nginx;
use myelin_testkit::process::accepts;
use myelin_testkit::relay::Relay;
use myelin_testkit::synapse::SERVER_NAME;
use myelin_tests::myelin::Myelin;
use myelin_tests::stage::{PATIENCE, Stage};

use crate::Fault;

pub const FAULTS: [Fault; 7] = [
    ("the main process is restarted", main_restarted),
    ("the writer of typing is restarted", typing_restarted),
    ("an event persister is restarted", persister_restarted),
    ("Myelin is killed", killed),
    ("two Myelins in turn behind nginx", two_in_turn),
    ("a since from a worker that is ahead", from_ahead),
    ("SIGTERM", told_to_stop),
];

fn main_restarted(stage: &mut Stage) -> Result<()> {
    stage.through(&[stage.myelin.port], |stage, _, _| stage.synapse.restart_main())
}

/// Its serials begin at 0 again, and nobody types any more; what is typed then counts.
fn typing_restarted(stage: &mut Stage) -> Result<()> {
    stage.through(&[stage.myelin.port], |stage, _, reader| {
        let room_id = &stage.talker.rooms[0];
        let who = stage.talker.typing(0, true)?;
        reader.wait_until("typing", PATIENCE, |seen| seen.typing.get(room_id) == Some(&who))?;
        stage.synapse.restart_writer("ephemeral1")
    })
}

fn persister_restarted(stage: &mut Stage) -> Result<()> {
    stage.through(&[stage.myelin.port], |stage, _, _| stage.synapse.restart_writer("persister1"))
}

fn killed(stage: &mut Stage) -> Result<()> {
    stage.survive(&[stage.myelin.port], |stage, speech, _| {
        stage.myelin.kill()?;
        speech.wait_rounds(2)?;
        stage.myelin.start_again(&stage.synapse)
    })?;
    Ok(())
}

fn second(stage: &Stage, redis: u16) -> Result<Myelin> {
    Myelin::start(&stage.synapse, "myelin2", redis, stage.synapse.postgres.port)
}

fn two_in_turn(stage: &mut Stage) -> Result<()> {
    let second = second(stage, stage.synapse.redis.port)?;
    let upstreams = [("myelins", vec![stage.myelin.port, second.port])];
    let proxy = nginx::in_front(&stage.synapse.folder, "turns", &upstreams, &[], "myelins")?;
    stage.through(&[proxy.port], |_, speech, _| speech.wait_rounds(15))
}

/// The second Myelin hears nothing while the first moves on: a token of the first is waited for.
fn from_ahead(stage: &mut Stage) -> Result<()> {
    let redis = Relay::start(stage.synapse.redis.port)?;
    let second = second(stage, redis.port)?;
    let ports = [stage.myelin.port, second.port];
    stage.through(&ports, |_, speech, _| {
        redis.cut();
        speech.wait_rounds(5)?;
        redis.mend();
        Ok(())
    })
}

/// Who waits is answered with where he was, the others are told that nobody syncs here any more, the exit code is 0.
fn told_to_stop(stage: &mut Stage) -> Result<()> {
    let mut redis = TcpStream::connect(("127.0.0.1", stage.synapse.redis.port))?;
    redis.set_read_timeout(Some(PATIENCE))?;
    redis.write_all(format!("SUBSCRIBE {SERVER_NAME}\r\n").as_bytes())?;
    let heard = BufReader::new(redis);
    let client = Client::new(stage.myelin.port).with_token(&stage.talker.bob_token);
    let sync = |arguments: &str| client.get(&format!("/_matrix/client/v3/sync?{arguments}"))?.ok();
    let mut answer = sync("timeout=0")?;
    // Until nothing is new, also of presence.
    let since = loop {
        let since = answer["next_batch"].as_str().context("no next_batch")?.to_owned();
        answer = sync(&format!("timeout=300&since={since}"))?;
        if answer["next_batch"] == *since {
            break since;
        }
    };
    let waiting = thread::spawn({
        let path = format!("/_matrix/client/v3/sync?timeout=60000&since={since}");
        move || client.get(&path)
    });
    stage.wait_for_listeners(1)?;
    stage.myelin.end()?;
    let answer = waiting.join().map_err(|_| anyhow::anyhow!("the long-poll panicked"))??.ok()?;
    ensure!(answer["next_batch"] == *since, "{answer}");
    ensure!(!accepts(stage.myelin.port), "somebody still listens");
    let mut lines = heard.lines();
    loop {
        let line = lines.next().context("Redis said nothing more")?.context("no CLEAR_USER_SYNC came")?;
        if line.starts_with("CLEAR_USER_SYNC ") {
            break;
        }
    }
    stage.myelin.start_again(&stage.synapse)?;
    // For those that come after.
    stage.is_well()
}
