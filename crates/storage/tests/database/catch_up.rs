//! What a stream carried while nobody listened: the same rows that the main process would give.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use myelin_config::InstanceLocation;
use myelin_model::StreamName;
use myelin_storage::Storage;
use myelin_testkit::http::Client;
use serde_json::{Value, json};

use crate::Fixture;

/// Beyond everything that was written here.
const UPTO: i64 = 1_000_000;
/// Streams in the database, and whether rows must have come.
const STREAMS: [(StreamName, bool); 12] = [
    (StreamName::Events, true),
    (StreamName::Caches, true),
    (StreamName::Receipts, true),
    (StreamName::AccountData, true),
    (StreamName::PushRules, true),
    (StreamName::ToDevice, true),
    (StreamName::DeviceLists, true),
    (StreamName::Backfill, false),
    (StreamName::UnPartialStatedRoom, false),
    (StreamName::UnPartialStatedEvent, false),
    (StreamName::ThreadSubscriptions, false),
    (StreamName::ProfileUpdates, false),
];

/// Rows and where the page ends, and whether there is more.
type Page = (Vec<(i64, Value)>, i64, bool);

pub async fn catch_up(fixture: &Fixture, storage: &Storage) -> Result<()> {
    write_something(&Client::new(fixture.synapse.port))?;
    let Some(InstanceLocation::Tcp { port, .. }) = fixture.config.worker.instance_map.get("master") else {
        anyhow::bail!("the main process has no port");
    };
    let main = Client::new(*port);
    for (stream, required) in STREAMS {
        let upto = if stream == StreamName::ToDevice { 150 } else { UPTO };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let (mut from, mut more) = (0, true);
        while more {
            let updates = storage.stream_updates(stream, "master", from, upto).await?;
            ensure!(updates.upto > from, "{stream:?} does not advance from {from}");
            ensure!(updates.rows.iter().all(|(at, _)| *at > from), "{stream:?}: rows before {from}");
            let inside = stream == StreamName::Caches || updates.rows.iter().all(|(at, _)| *at <= updates.upto);
            ensure!(inside, "{stream:?}: rows beyond {}", updates.upto);
            ours.extend(updates.rows);
            (from, more) = (updates.upto, updates.limited);
        }
        (from, more) = (0, true);
        while more {
            let (rows, end, limited) = page_of(&main, stream, from, upto)?;
            theirs.extend(rows);
            (from, more) = (end, limited);
        }
        ensure!(!required || !theirs.is_empty(), "{stream:?}: nothing was written");
        for (_, row) in &ours {
            ensure!(stream.parse_row(row).is_ok(), "{stream:?}: {row} cannot be read");
        }
        let (ours, theirs) = (comparable(stream, ours), comparable(stream, theirs));
        let missing: Vec<_> = theirs.difference(&ours).collect();
        let invented: Vec<_> = ours.difference(&theirs).collect();
        ensure!(missing.is_empty() && invented.is_empty(), "{stream:?}: missing {missing:#?}, invented {invented:#?}");
    }
    Ok(())
}

fn page_of(main: &Client, stream: StreamName, from: i64, upto: i64) -> Result<Page> {
    let query = format!("from_token={from}&upto_token={upto}");
    let path = format!("/_synapse/replication/get_repl_stream_updates/{}/t{from}?{query}", stream.as_str());
    let answer = main.get(&path)?;
    ensure!(answer.status == 200, "{path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    let answer = answer.json()?;
    let rows = answer["updates"].as_array().context("no updates")?;
    let row = |row: &Value| Some((row[0].as_i64()?, row[1].clone()));
    let rows = rows.iter().map(row).collect::<Option<_>>().context("an update without a token")?;
    let limited = answer["limited"].as_bool().context("no limited")?;
    Ok((rows, answer["upto_token"].as_i64().context("no upto_token")?, limited))
}

/// As text; the order within one position means nothing.
fn comparable(stream: StreamName, rows: Vec<(i64, Value)>) -> BTreeSet<String> {
    let text = |(at, mut row): (i64, Value)| {
        if let (StreamName::ProfileUpdates, Some(fields)) = (stream, row.as_array_mut()) {
            // The names of the fields are not needed here.
            fields.truncate(2);
        }
        format!("{at} {row}")
    };
    rows.into_iter().map(text).collect()
}

/// Enough for several pages, and something for each stream that a client can write to.
fn write_something(main: &Client) -> Result<()> {
    let register = |name: &str| -> Result<(String, Client)> {
        let body = json!({ "username": name, "password": "p", "auth": { "type": "m.login.dummy" } });
        let answer = main.send("POST", "/_matrix/client/v3/register", Some(&body))?.json()?;
        let token = answer["access_token"].as_str().with_context(|| format!("not registered: {answer}"))?;
        Ok((answer["user_id"].as_str().context("no user_id")?.to_owned(), main.with_token(token)))
    };
    let send = |user: &Client, method: &str, path: &str, body: Value| -> Result<Value> {
        let answer = user.send(method, &format!("/_matrix/client/v3{path}"), Some(&body))?;
        ensure!(answer.status == 200, "{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        answer.json()
    };
    let (alice_id, alice) = register("catch_up_alice")?;
    let (bob_id, bob) = register("catch_up_bob")?;
    // Before there are rooms, in which it would show some time later.
    send(&alice, "PUT", &format!("/profile/{alice_id}/displayname"), json!({ "displayname": "Alice" }))?;
    let room = send(&alice, "POST", "/createRoom", json!({ "preset": "public_chat" }))?;
    let room = room["room_id"].as_str().context("no room_id")?;
    send(&bob, "POST", &format!("/rooms/{room}/join"), json!({}))?;
    let mut last = String::new();
    for n in 0..60 {
        let mut content = json!({ "msgtype": "m.text", "body": format!("{n} \u{1f600} \"\\") });
        if n == 59 {
            content["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": last });
        }
        let event = send(&alice, "PUT", &format!("/rooms/{room}/send/m.room.message/{n}"), content)?;
        event["event_id"].as_str().context("no event_id")?.clone_into(&mut last);
        send(&alice, "PUT", &format!("/rooms/{room}/state/x.y/{n}"), json!({}))?;
    }
    send(&bob, "POST", &format!("/rooms/{room}/receipt/m.read/{last}"), json!({}))?;
    send(&bob, "POST", &format!("/rooms/{room}/receipt/m.read.private/{last}"), json!({}))?;
    send(&alice, "PUT", &format!("/rooms/{room}/redact/{last}/r"), json!({}))?;
    send(&bob, "POST", &format!("/rooms/{room}/leave"), json!({}))?;
    for n in 0..3 {
        send(&bob, "PUT", &format!("/user/{bob_id}/account_data/x.y{n}"), json!({ "n": n }))?;
    }
    send(&alice, "PUT", &format!("/user/{alice_id}/rooms/{room}/account_data/x.y"), json!({}))?;
    send(&alice, "PUT", &format!("/user/{alice_id}/rooms/{room}/tags/m.favourite"), json!({ "order": 0.5 }))?;
    send(&alice, "PUT", "/pushrules/global/content/x", json!({ "pattern": "x", "actions": ["notify"] }))?;
    for n in 0..120 {
        let messages = json!({ "messages": { &bob_id: { "*": { "n": n } } } });
        send(&alice, "PUT", &format!("/sendToDevice/x.y/{n}"), messages)?;
    }
    Ok(())
}
