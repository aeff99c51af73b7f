//! `receipts.py`

use std::sync::Arc;

use anyhow::{Result, ensure};
use myelin_model::stream::ReceiptRow;
use myelin_model::{MultiWriterPosition, Row};
use myelin_storage::receipts::Receipts;
use serde_json::json;

use super::{LAST, User, World, at};

/// User, type, event and thread, in no order.
type Seen = Vec<(String, String, String, Option<String>)>;

async fn seen(world: &World<'_>, lower: Option<i64>, upper: &MultiWriterPosition) -> Result<Seen> {
    let lower = lower.map(at);
    let rooms = [Arc::clone(&world.room_id), Arc::from("!nowhere:myelin.test")];
    let found = world.storage.get_linearized_receipts_for_rooms(&rooms, lower.as_ref(), upper).await?;
    ensure!(found.get("!nowhere:myelin.test").is_none_or(|receipts| receipts.iter().next().is_none()));
    let receipts = found.get(&world.room_id).into_iter().flat_map(Receipts::iter);
    let mut seen: Seen = receipts
        .map(|receipt| {
            let receipt = receipt.clone();
            (receipt.user_id, receipt.receipt_type, receipt.event_id, receipt.thread_id)
        })
        .collect();
    seen.sort();
    Ok(seen)
}

pub async fn receipts(world: &mut World<'_>) -> Result<()> {
    let room_id = Arc::clone(&world.room_id);
    let events = (0..3).map(|_| world.alice.say(&room_id, json!({}))).collect::<Result<Vec<String>>>()?;
    let read = |user: &User, kind: &str, event: usize, thread: Option<&str>| {
        let body = thread.map_or_else(|| json!({}), |thread| json!({ "thread_id": thread }));
        user.send("POST", &format!("rooms/{room_id}/receipt/{kind}/{}", events[event]), &body).map(drop)
    };
    let row = |user: &User, kind: &str, event: usize, thread: Option<&str>| {
        (user.id.to_string(), kind.to_owned(), events[event].clone(), thread.map(str::to_owned))
    };
    read(&world.bob, "m.read", 0, Some("main"))?;
    let first = world.number("SELECT max(stream_id) FROM receipts_linearized").await?;
    read(&world.bob, "m.read.private", 1, None)?;
    read(&world.alice, "m.read", 2, None)?;
    let last = world.number("SELECT max(stream_id) FROM receipts_linearized").await?;
    let bobs = [row(&world.bob, "m.read", 0, Some("main")), row(&world.bob, "m.read.private", 1, None)];
    let alices = row(&world.alice, "m.read", 2, None);

    let all = [alices.clone(), bobs[0].clone(), bobs[1].clone()];
    ensure!(seen(world, None, &at(LAST)).await? == all);
    ensure!(seen(world, Some(first), &at(LAST)).await? == [alices.clone(), bobs[1].clone()]);
    // What is remembered with the lower bound serves every upper one, each writer by its own position.
    ensure!(seen(world, Some(first), &at(last - 1)).await? == [bobs[1].clone()]);
    let master_ahead = MultiWriterPosition::new(first, [(Arc::from("master"), last)]);
    ensure!(seen(world, Some(first), &master_ahead).await? == [alices.clone(), bobs[1].clone()]);
    let other_ahead = MultiWriterPosition::new(first, [(Arc::from("other"), last)]);
    ensure!(seen(world, Some(first), &other_ahead).await?.is_empty());
    ensure!(seen(world, None, &at(first)).await? == [bobs[0].clone()]);
    ensure!(seen(world, Some(last), &at(LAST)).await?.is_empty());

    // A later receipt takes the place of the one before as soon as its row has come.
    read(&world.bob, "m.read.private", 2, None)?;
    ensure!(seen(world, Some(first), &at(LAST)).await? == [alices.clone(), bobs[1].clone()]);
    world.storage.invalidate_for(&Row::Receipt(ReceiptRow {
        room_id: Arc::clone(&world.room_id),
        receipt_type: "m.read.private".to_owned(),
        user_id: Arc::clone(&world.bob.id),
        event_id: events[2].clone(),
        thread_id: None,
        data: json!({}),
    }));
    let moved = row(&world.bob, "m.read.private", 2, None);
    ensure!(seen(world, Some(first), &at(LAST)).await? == [alices, moved.clone()]);
    ensure!(seen(world, Some(last), &at(LAST)).await? == [moved]);
    let found = world.storage.get_linearized_receipts_for_rooms(&world.rooms(), None, &at(LAST)).await?;
    let data = found[&world.room_id].iter().map(|receipt| serde_json::from_str(&receipt.data));
    for data in data {
        let data: serde_json::Value = data?;
        ensure!(data["ts"].as_i64() > Some(1_600_000_000_000), "{data}");
    }
    Ok(())
}
