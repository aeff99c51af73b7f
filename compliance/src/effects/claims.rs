//! Many users and servers claim the keys of one device at once, through both workers: each key is given away once.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::run::Outcome;
use crate::seed::Seed;
use crate::sign::Signing;
use crate::stack::{Stack, expect_ok};

const KEYS: usize = 150;
const CLAIMANTS: usize = 200;
const AT_ONCE: usize = 20;

pub fn claims(stack: &Stack, seed: &mut Seed) -> Result<Outcome> {
    seed.register("giver")?;
    let (giver, device) = (seed.names.get("@giver")?.to_owned(), seed.names.get("device:giver")?.to_owned());
    let key = |id: usize| {
        let signatures = json!({giver.as_str(): {format!("ed25519:{device}"): "x"}});
        (format!("signed_curve25519:k{id}"), json!({"key": format!("key {id}"), "signatures": signatures}))
    };
    for first in (0..KEYS).step_by(50) {
        let keys: serde_json::Map<String, Value> = (first..first + 50).map(key).collect();
        let fallback = json!({"signed_curve25519:fb": {"key": "fallback", "fallback": true,
            "signatures": {giver.as_str(): {format!("ed25519:{device}"): "x"}}}});
        seed.ask("giver", "POST", "v3/keys/upload", &json!({"one_time_keys": keys, "fallback_keys": fallback}))?;
    }
    stack.wait_caught_up(seed)?;
    let token = seed.names.get("token:bob")?;
    let body = json!({"one_time_keys": {giver.as_str(): {device.as_str(): "signed_curve25519"}}});
    let claim = |at: usize| -> Result<(String, bool)> {
        let worker = if at.is_multiple_of(2) { &stack.myelin } else { &stack.python };
        let answer = if at % 4 < 2 {
            worker.with_token(token).send("POST", "/_matrix/client/v3/keys/claim", Some(&body))?
        } else {
            let (path, body) = ("/_matrix/federation/v1/user/keys/claim", body.to_string().into_bytes());
            let header = Signing::by("other.test").header(&seed.names, "POST", path, Some(&body))?;
            worker.send_bytes("POST", path, &[("Authorization", &header)], Some(body))?
        };
        let native = answer.is_native();
        let answer = expect_ok(&answer, "a claim")?;
        let keys = answer["one_time_keys"][&giver][&device].as_object().with_context(|| format!("no key: {answer}"))?;
        ensure!(keys.len() == 1, "not one key: {answer}");
        Ok((keys.keys().next().cloned().unwrap_or_default(), native))
    };
    let mut given: BTreeMap<String, usize> = BTreeMap::new();
    let mut natives = 0;
    for first in (0..CLAIMANTS).step_by(AT_ONCE) {
        let answers = std::thread::scope(|scope| {
            let claims: Vec<_> = (first..first + AT_ONCE).map(|at| scope.spawn(move || claim(at))).collect();
            let panicked = |_| anyhow::anyhow!("a request panicked");
            claims.into_iter().map(|claim| claim.join().map_err(panicked)?).collect::<Result<Vec<_>>>()
        })?;
        for (key, native) in answers {
            *given.entry(key).or_default() += 1;
            natives += usize::from(native);
        }
    }
    let fallbacks = given.remove("signed_curve25519:fb").unwrap_or_default();
    let twice: Vec<_> = given.iter().filter(|(_, times)| **times > 1).collect();
    ensure!(twice.is_empty(), "given away more than once: {twice:?}");
    let left = stack.query(&format!("SELECT count(*) FROM e2e_one_time_keys_json WHERE user_id = '{giver}'"))?;
    let left: usize = left.trim().parse()?;
    ensure!(given.len() + left == KEYS, "{} given, {left} left of {KEYS}", given.len());
    ensure!(given.len() + fallbacks == CLAIMANTS, "{} keys and {fallbacks} fallback keys", given.len());
    // Both workers know how many are left.
    for (name, worker) in [("Python", &stack.python), ("Myelin", &stack.myelin)] {
        stack.wait_caught_up(seed)?;
        let sync =
            worker.with_token(seed.names.get("token:giver")?).get("/_matrix/client/v3/sync?set_presence=offline")?;
        let count = sync.json()?["device_one_time_keys_count"]["signed_curve25519"].clone();
        ensure!(count == json!(left), "{name} counts {count} keys, not {left}");
    }
    println!("  {} one-time keys and {fallbacks} times the fallback key, {natives} claims native", given.len());
    Ok(Outcome { differences: Vec::new(), native: natives > 0 })
}
