//! What requests of other servers do beside their answer, and where a Python worker gives none.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::{Answer, Client};
use serde_json::json;

use super::{GLANCE, Lines, PATIENCE};
use crate::compare::Difference;
use crate::run::Outcome;
use crate::seed::Seed;
use crate::seed::servers::RETURNING;
use crate::sign::Signing;
use crate::stack::Stack;

const PROFILE: &str = "/_matrix/federation/v1/query/profile?user_id=%40alice%3Amyelin.test";
const USER_INFO: &str = "/_matrix/federation/v1/openid/userinfo";
/// More than the 200 largest events that a request may have.
const TOO_MUCH: usize = 200 * 65_536 + 1;

fn signed(worker: &Client, seed: &Seed, server: &str, path: &str) -> Result<Answer> {
    let header = Signing::by(server).header(&seed.names, "GET", path, None)?;
    worker.send_bytes("GET", path, &[("Authorization", &header)], None)
}

/// A server that could not be reached asks for something: one through Python, another through Myelin. Its row in
/// `destinations`, and what the others are told.
pub fn returns(stack: &Stack, seed: &mut Seed) -> Result<Outcome> {
    let lines = Lines::listen(stack.redis_port(), "myelin.test")?;
    let mut seen = Vec::new();
    for (server, worker) in RETURNING.into_iter().zip([&stack.python, &stack.myelin]) {
        let row = format!("SELECT to_jsonb(d) FROM destinations AS d WHERE destination = '{server}'");
        let before = stack.query(&row)?;
        ensure!(before.contains("\"retry_interval\": 60000"), "it was there already: {before}");
        lines.forget();
        let answer = signed(worker, seed, server, PROFILE)?;
        answer.ok()?;
        ensure!(server == RETURNING[0] || answer.is_native(), "Myelin passed it on");
        let up = format!("REMOTE_SERVER_UP {server}");
        let name = if server == RETURNING[0] { "python1" } else { "myelin1" };
        let start = Instant::now();
        let (mut after, mut told);
        loop {
            (after, told) = (stack.query(&row)?, lines.of(server, name));
            if after != before && told.contains(&up) {
                break;
            }
            ensure!(start.elapsed() < PATIENCE, "nobody hears that {server} is back: {after} {told:?}");
            std::thread::sleep(GLANCE);
        }
        // Once is enough.
        signed(worker, seed, server, PROFILE)?.ok()?;
        stack.wait_caught_up(seed)?;
        told.extend(lines.of(server, name));
        let told: BTreeSet<String> = told.iter().map(|line| line.replace(server, "<server>")).collect();
        seen.push([after.replace(server, "<server>"), told.into_iter().collect::<Vec<_>>().join("\n")]);
    }
    let [python, myelin] = seen.try_into().ok().context("two servers")?;
    let what = ["its row", "what is told"].into_iter().zip(python.into_iter().zip(myelin));
    let differences = what
        .filter(|(_, (python, myelin))| python != myelin)
        .map(|(path, (python, myelin))| Difference { path: path.to_owned(), python, myelin })
        .collect();
    Ok(Outcome { differences, native: true })
}

/// Only Synapse's main process can look at these tokens: a Python worker has no answer, so that Myelin's is compared
/// with the main process's.
pub fn user_info(stack: &Stack, seed: &mut Seed) -> Result<Outcome> {
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let answer = seed.ask("alice", "POST", "v3/user/<@alice>/openid/request_token", &json!({}))?;
        tokens.push(answer["access_token"].as_str().context("no token")?.to_owned());
    }
    let [valid, expired] = tokens.try_into().ok().context("two tokens")?;
    stack.query(&format!("UPDATE open_id_tokens SET ts_valid_until_ms = 1 WHERE token = '{expired}'"))?;
    let mut differences = Vec::new();
    for (what, token, status) in [("valid", &*valid, 200), ("expired", &*expired, 401), ("unknown", "x", 401)] {
        let path = format!("{USER_INFO}?access_token={token}");
        let (python, main, myelin) = (stack.python.get(&path)?, stack.main.get(&path)?, stack.myelin.get(&path)?);
        ensure!(python.status == 500, "a Python worker knows of {what} tokens: {}", python.status);
        ensure!(main.status == status && myelin.is_native(), "{what}: {}", main.status);
        let text = |answer: &Answer| Ok::<_, anyhow::Error>(format!("{} {}", answer.status, answer.json()?));
        let (main, myelin) = (text(&main)?, text(&myelin)?);
        if main != myelin {
            differences.push(Difference { path: what.to_owned(), python: main, myelin });
        }
    }
    Ok(Outcome { differences, native: true })
}

/// Synapse hangs up; Myelin says why. Whoever sends it, nothing of it is looked at.
pub fn too_much(stack: &Stack, seed: &mut Seed) -> Result<Outcome> {
    let path = "/_matrix/federation/v1/user/keys/query";
    let body = format!("{{\"device_keys\": {{}}, \"x\": \"{}\"}}", "x".repeat(TOO_MUCH)).into_bytes();
    let header = Signing::by("other.test").header(&seed.names, "POST", path, Some(&body))?;
    let send = |worker: &Client| worker.send_bytes("POST", path, &[("Authorization", &header)], Some(body.clone()));
    ensure!(send(&stack.python).is_err(), "Python reads it all");
    let refused = match send(&stack.myelin) {
        Ok(answer) => answer.status == 413 && answer.json()?["errcode"] == "M_TOO_LARGE",
        // It may hang up before everything was sent to it.
        Err(_) => true,
    };
    ensure!(refused, "Myelin reads it all");
    // And goes on.
    signed(&stack.myelin, seed, "other.test", PROFILE)?.ok()?;
    Ok(Outcome { differences: Vec::new(), native: true })
}
