//! `deviceinbox.py`

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{LAST, World};

/// More than one answer holds, and more than one statement deletes.
const SENT: usize = 103;
const STORED: i64 = 2_050;

pub async fn to_device(world: &mut World<'_>) -> Result<()> {
    let (alice, bob) = (&world.alice, &world.bob);
    let (user_id, device_id) = (Arc::clone(&bob.id), Arc::clone(&bob.device_id));
    for n in 0..SENT {
        let messages = json!({ "messages": { &*user_id: { &*device_id: { "n": n } } } });
        alice.send("PUT", &format!("sendToDevice/x.y/sections{n}"), &messages)?;
    }
    let numbers = |messages: &[String]| -> Result<Vec<i64>> {
        let number = |message: &String| -> Result<i64> {
            let message: Value = serde_json::from_str(message)?;
            ensure!(message["type"] == "x.y" && message["sender"] == *alice.id, "{message}");
            Ok(message["content"]["n"].as_i64().unwrap_or(-1))
        };
        messages.iter().map(number).collect()
    };
    let storage = world.storage;
    let (first, reached) = storage.get_messages_for_device(&user_id, &device_id, 0, LAST).await?;
    ensure!(numbers(&first)? == (0..100).collect::<Vec<i64>>());
    let (rest, end) = storage.get_messages_for_device(&user_id, &device_id, reached, LAST).await?;
    ensure!(numbers(&rest)? == [100, 101, 102] && end == LAST, "{end}");
    let (none, end) = storage.get_messages_for_device(&user_id, &device_id, 0, 1).await?;
    ensure!(none.is_empty() && end == 1);
    let (none, _) = storage.get_messages_for_device(&user_id, "OTHER", 0, LAST).await?;
    ensure!(none.is_empty());

    // What was acknowledged goes, nothing else does.
    ensure!(storage.deleted_to_device_upto(&user_id, &device_id).is_none());
    storage.delete_messages_for_device(&user_id, &device_id, reached).await?;
    let (rest, _) = storage.get_messages_for_device(&user_id, &device_id, 0, LAST).await?;
    ensure!(numbers(&rest)? == [100, 101, 102]);
    ensure!(storage.deleted_to_device_upto(&user_id, &device_id) == Some(reached));
    storage.delete_messages_for_device(&user_id, &device_id, reached - 50).await?;
    ensure!(storage.deleted_to_device_upto(&user_id, &device_id) == Some(reached), "it never goes back");

    // Some positions have two messages, and a statement deletes no half of a position.
    let sql = "INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)
         SELECT '@inbox:myelin.test', device, (n + 1) / 2, '{}'
         FROM generate_series(1, $STORED) AS n, (VALUES ('D'), ('E')) AS d(device)";
    world.write(&sql.replace("$STORED", &STORED.to_string())).await?;
    let (inbox, device): (Arc<str>, Arc<str>) = ("@inbox:myelin.test".into(), "D".into());
    storage.delete_messages_for_device(&inbox, &device, STORED / 2 - 1).await?;
    let left = |device: &str| {
        format!("SELECT count(*) FROM device_inbox WHERE user_id = '@inbox:myelin.test' AND device_id = '{device}'")
    };
    ensure!(world.number(&left("D")).await? == 2);
    ensure!(world.number(&left("E")).await? == STORED, "another device's messages are gone");
    world.write("DELETE FROM device_inbox WHERE user_id = '@inbox:myelin.test'").await
}
