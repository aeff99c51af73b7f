//! Requests of other servers. They are signed with the server's own key, whose server is in every room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use myelin_model::signing::{SignedRequest, SigningKey, decode_key, verify};
use myelin_testkit::synapse::SERVER_NAME;
use serde_json::{Map, Value, json};

use super::load::Ask;
use super::rows::{ALL, FEW, NOT_MANY, Row, pick, row};
use super::stack::Stack;

const GOAL: u32 = 15;
const F: &str = "/_matrix/federation/v1";
/// The latest events of the big room; Synapse keeps an answer about its state for half a minute.
const LATEST: u32 = 240;

pub fn rows(stack: &Stack) -> Result<Vec<Row>> {
    let key = Arc::new(own_key(stack)?);
    let get = |name, concurrency, warm_up, path: Box<dyn Fn(u64) -> String + Send + Sync>| {
        let key = Arc::clone(&key);
        row(name, GOAL, concurrency, warm_up, move |n| signed(&key, path(n), None))
    };
    let data = &stack.dataset;
    let big = data.room_of_2000.clone();
    let latest = stack.synapse.postgres.query(
        "synapse",
        &format!("SELECT event_id FROM events WHERE room_id = '{big}' ORDER BY stream_ordering DESC LIMIT {LATEST}"),
    )?;
    let latest: Arc<[String]> = latest.lines().map(ToOwned::to_owned).collect();
    let small: Arc<[(String, String)]> = data.events.clone().into();
    let of_small = move |n: u64| pick(&small, n * 7919).clone();
    let of_big = move |n: u64| pick(&latest, n * 7).clone();
    let (event, state_ids) = (of_small.clone(), of_small.clone());
    let (big_state, big_missing) = ((of_big.clone(), big.clone()), (of_big.clone(), big.clone()));
    let mut rows = vec![
        get("fed_event", ALL, 500, Box::new(move |n| format!("{F}/event/{}", event(n).1))),
        get(
            "fed_state_ids_small",
            ALL,
            500,
            Box::new(move |n| {
                let (room, event) = state_ids(n);
                format!("{F}/state_ids/{room}?event_id={event}")
            }),
        ),
        get(
            "fed_state_2000",
            FEW,
            4,
            Box::new(move |n| format!("{F}/state/{}?event_id={}", big_state.1, big_state.0(n))),
        ),
        get("fed_backfill_50", NOT_MANY, 16, Box::new(move |n| format!("{F}/backfill/{big}?limit=50&v={}", of_big(n)))),
        get("fed_user_devices", ALL, 16, Box::new(|n| format!("{F}/user/devices/@user{:04}:{SERVER_NAME}", n % 64))),
        get(
            "fed_profile",
            ALL,
            16,
            Box::new(|n| format!("{F}/query/profile?user_id=@user{:04}:{SERVER_NAME}", n % 64)),
        ),
    ];
    let key = Arc::clone(&key);
    rows.push(row("fed_missing_20", GOAL, NOT_MANY, 16, move |n| {
        let body = json!({"latest_events": [big_missing.0(n)], "earliest_events": [], "limit": 20});
        signed(&key, format!("{F}/get_missing_events/{}", big_missing.1), body.as_object().cloned())
    }));
    Ok(rows)
}

fn own_key(stack: &Stack) -> Result<SigningKey> {
    let file = std::fs::read_to_string(stack.synapse.folder.join("signing.key"))?;
    let mut words = file.split_whitespace().skip(1);
    let (version, seed) = (words.next().unwrap_or_default(), words.next().and_then(decode_key));
    Ok(SigningKey::new(format!("ed25519:{version}"), &seed.context("an odd signing.key")?))
}

/// GET, or POST of `content`.
fn signed(key: &SigningKey, path: String, content: Option<Map<String, Value>>) -> Ask {
    let request = SignedRequest {
        method: if content.is_some() { "POST" } else { "GET" },
        uri: &path,
        origin: SERVER_NAME,
        destination: SERVER_NAME,
        content: content.as_ref(),
    };
    // Texts are canonical; a request without a signature would be refused, and the run end.
    let signature = request.text().map(|text| key.sign(&text)).unwrap_or_default();
    let authorization = format!(
        "X-Matrix origin=\"{SERVER_NAME}\",destination=\"{SERVER_NAME}\",key=\"{}\",sig=\"{signature}\"",
        key.id()
    );
    Ask {
        path,
        authorization: Some(authorization),
        body: content.map(|content| Value::Object(content).to_string().into()),
    }
}

/// Signatures of requests that one core checks in a second, with what Myelin checks them: less than that no request costs.
pub fn verifications_per_second(time: Duration) -> Result<f64> {
    let key = SigningKey::new("ed25519:a", &[7; 32]);
    let request = SignedRequest {
        method: "GET",
        uri: "/_matrix/federation/v1/event/$0123456789012345678901234567890123456789012",
        origin: SERVER_NAME,
        destination: SERVER_NAME,
        content: None,
    };
    let text = request.text()?;
    let (signature, public) = (key.sign(&text), key.public());
    let (mut count, start) = (0_u32, Instant::now());
    while start.elapsed() < time {
        ensure!(verify(&public, &text, &signature).is_ok(), "an own signature is refused");
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}
