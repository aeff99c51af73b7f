//! `event_push_actions.py`

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{User, World};

/// Thread to what is unread of it: notifications, other messages, highlights. Those without any are left out.
type Counts = BTreeMap<String, (i64, i64, i64)>;

async fn counts(world: &World<'_>, user_id: &Arc<str>, room_id: &Arc<str>) -> Result<Counts> {
    let rooms = [Arc::clone(room_id), Arc::from("!nowhere:myelin.test")];
    let found = world.forget().get_unread_event_push_actions_by_room_for_user(user_id, &rooms).await?;
    ensure!(found.get("!nowhere:myelin.test").is_some_and(|rows| rows.is_empty()));
    let mut counts = Counts::new();
    for row in &**found.get(room_id).context("no answer for the room")? {
        let sum = counts.entry(row.thread_id.to_string()).or_default();
        *sum = (sum.0 + row.notify, sum.1 + row.unread, sum.2 + row.highlight);
    }
    counts.retain(|_, sum| *sum != (0, 0, 0));
    Ok(counts)
}

fn expected(counts: &[(&str, (i64, i64, i64))]) -> Counts {
    counts.iter().map(|(thread, counts)| ((*thread).to_owned(), *counts)).collect()
}

/// What Synapse wrote for messages, mentions, threads and receipts.
pub async fn unread(world: &mut World<'_>) -> Result<()> {
    let room_id = Arc::clone(&world.room_id);
    let (alice, bob) = (&world.alice, &world.bob);
    let read = |user: &User, event: &str, thread: Option<&str>| {
        let body = thread.map_or_else(|| json!({}), |thread| json!({ "thread_id": thread }));
        user.send("POST", &format!("rooms/{room_id}/receipt/m.read/{event}"), &body).map(drop)
    };
    let say = || alice.say(&room_id, json!({}));
    let in_thread = |root: &str| {
        let relation = json!({ "rel_type": "m.thread", "event_id": root });
        alice.say(&room_id, json!({ "m.relates_to": relation }))
    };
    let start = say()?;
    read(bob, &start, None)?;
    ensure!(counts(world, &bob.id, &room_id).await? == Counts::new());
    let root = say()?;
    let mention = alice.say(&room_id, json!({ "body": "you", "m.mentions": { "user_ids": [&bob.id] } }))?;
    let replies = [in_thread(&root)?, in_thread(&root)?];
    ensure!(counts(world, &bob.id, &room_id).await? == expected(&[("main", (2, 0, 1)), (&root, (2, 0, 0))]));
    ensure!(counts(world, &alice.id, &room_id).await? == Counts::new());
    read(bob, &replies[0], Some(&root))?;
    ensure!(counts(world, &bob.id, &room_id).await? == expected(&[("main", (2, 0, 1)), (&root, (1, 0, 0))]));
    read(bob, &mention, Some("main"))?;
    ensure!(counts(world, &bob.id, &room_id).await? == expected(&[(&root, (1, 0, 0))]));
    // Without a thread: up to there in all threads.
    read(bob, &replies[1], None)?;
    ensure!(counts(world, &bob.id, &room_id).await? == Counts::new());
    say()?;
    ensure!(counts(world, &bob.id, &room_id).await? == expected(&[("main", (1, 0, 0))]));
    Ok(())
}

/// Rows that Synapse is between: each room shows one relation of summary, rotation and receipt.
pub async fn summaries(world: &mut World<'_>) -> Result<()> {
    let user: Arc<str> = Arc::from("@counted:myelin.test");
    let rotated = world.number("SELECT stream_ordering FROM event_push_summary_stream_ordering").await?;
    // Far enough not to be rotated while the test runs.
    let fresh = rotated + 1_000_000;
    let receipt = |room: &str, position: &str, thread: &str| {
        format!(
            "INSERT INTO receipts_linearized (stream_id, room_id, receipt_type, user_id, event_id, data,
                 event_stream_ordering, thread_id)
             VALUES (1, '{room}', 'm.read', '{user}', '$e', '{{}}', {position}, {thread});"
        )
    };
    let action = |room: &str, event: &str, position: i64, thread: &str, highlight: u8| {
        format!(
            "INSERT INTO event_push_actions (room_id, event_id, user_id, actions, stream_ordering, notif, highlight,
                 unread, thread_id)
             VALUES ('{room}', '{event}', '{user}', '', {position}, 1, {highlight}, 1, '{thread}');"
        )
    };
    let summary = |room: &str, thread: &str, receipt: &str, count: i64| {
        format!(
            "INSERT INTO event_push_summary (user_id, room_id, notif_count, unread_count, stream_ordering,
                 last_receipt_stream_ordering, thread_id)
             VALUES ('{user}', '{room}', {count}, {count} + 1, {rotated}, {receipt}, '{thread}');"
        )
    };
    let cases = [
        // The summary was made for this receipt: with what came after the rotation.
        ("valid", receipt("valid", "-10", "NULL") + &summary("valid", "main", "-10", 3), vec![("main", (4, 5, 0))]),
        // It was made for another receipt: everything after the receipt is counted.
        (
            "outdated",
            receipt("outdated", "-10", "NULL") + &summary("outdated", "main", "-20", 3),
            vec![("main", (2, 2, 0))],
        ),
        // Without a receipt it holds if it reaches beyond.
        ("old", receipt("old", "-10", "NULL") + &summary("old", "main", "NULL", 3), vec![("main", (4, 5, 0))]),
        // Nobody knows where the newest receipt's event is.
        ("nowhere", receipt("nowhere", "NULL", "NULL") + &receipt("nowhere", "-10", "'main'"), vec![]),
        // Neither a receipt nor a membership: from the beginning.
        ("nothing", String::new(), vec![("main", (1, 1, 0))]),
        // A thread has its own receipt and summary; a later thread is counted.
        (
            "threads",
            receipt("threads", "-10", "NULL")
                + &receipt("threads", "-7", "'$t'")
                + &summary("threads", "$t", "-7", 2)
                + &summary("threads", "$u", "-9", 5)
                + &action("threads", "$t1", fresh, "$t", 0)
                + &action("threads", "$t2", -8, "$t", 1)
                + &action("threads", "$u1", fresh, "$u", 1),
            vec![("main", (2, 2, 0)), ("$t", (3, 4, 0)), ("$u", (1, 1, 1))],
        ),
        // Highlights are never summarised, however old.
        (
            "highlight",
            receipt("highlight", "-10", "NULL")
                + &summary("highlight", "main", "-10", 3)
                + &action("highlight", "$h", -6, "main", 1),
            vec![("main", (4, 5, 1))],
        ),
    ];
    for (room, rows, _) in &cases {
        world.write(rows).await?;
        world.write(&(action(room, "$old", -5, "main", 0) + &action(room, "$new", fresh, "main", 0))).await?;
    }
    for (room, _, wanted) in &cases {
        let found = counts(world, &user, &Arc::from(*room)).await?;
        ensure!(found == expected(wanted), "{room}: {found:?}, not {wanted:?}");
    }
    let tables = ["receipts_linearized", "event_push_actions", "event_push_summary"];
    for table in tables {
        world.write(&format!("DELETE FROM {table} WHERE user_id = '{user}'")).await?;
    }
    Ok(())
}
