//! The clock of the wall jumps, as when a machine was asleep or its time was set.

use anyhow::{Context, Result, ensure};
use myelin_testkit::clock::Clock;
use myelin_testkit::http::Client;
use myelin_testkit::synapse::User;
use myelin_tests::eventually;
use myelin_tests::myelin::Myelin;
use myelin_tests::stage::Stage;

use crate::Fault;

pub const FAULTS: [Fault; 2] = [("the clock jumps a day ahead", ahead), ("the clock jumps an hour back", back)];

const HOUR_MS: i64 = 3_600_000;

fn ahead(stage: &mut Stage) -> Result<()> {
    jump(stage, "dozer", "+1d", 23 * HOUR_MS..25 * HOUR_MS)
}

fn back(stage: &mut Stage) -> Result<()> {
    jump(stage, "traveller", "-1h", -HOUR_MS..-HOUR_MS / 2)
}

/// `name`: a new user's. `ages`: how old a message looks then that was just sent.
fn jump(stage: &mut Stage, name: &str, to: &str, ages: std::ops::Range<i64>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let clock = Clock::new(folder.path())?;
    let (redis, postgres) = (stage.synapse.redis.port, stage.synapse.postgres.port);
    let myelin = Myelin::start_in(&stage.synapse, "myelin4", redis, postgres, clock.environment())?;
    let user = stage.synapse.register(name)?;
    let bob = Client::new(myelin.port).with_token(&stage.talker.bob_token);
    stage.through(&[myelin.port], |stage, speech, _| {
        shows(stage, &user, myelin.port, "online")?;
        clock.jump_to(to)?;
        let (event_id, _) = stage.talker.message(0)?;
        let path = format!("/_matrix/client/v3/rooms/{}/event/{event_id}", stage.talker.rooms[0]);
        let age = bob.get(&path)?.ok()?["unsigned"]["age"].as_i64().context("no age")?;
        ensure!(ages.contains(&age), "the clock has not jumped: a new message is {age} ms old");
        speech.wait_rounds(5)?;
        // What may be done so often in a while is counted by another clock.
        shows(stage, &user, myelin.port, "unavailable")
    })
}

/// A user syncs as `presence`, and the writer of presence learns of it.
fn shows(stage: &Stage, user: &User, port: u16, presence: &str) -> Result<()> {
    let client = |port: u16| Client::new(port).with_token(&user.token);
    client(port).get(&format!("/_matrix/client/v3/sync?timeout=0&set_presence={presence}"))?.ok()?;
    let (main, path) = (client(stage.synapse.port), format!("/_matrix/client/v3/presence/{}/status", user.id));
    eventually(&format!("the user is not {presence}"), || Ok(main.get(&path)?.ok()?["presence"] == presence))
}
