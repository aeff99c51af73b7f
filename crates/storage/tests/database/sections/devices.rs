//! `devices.py` and `end_to_end_keys.py`

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use hashbrown::HashSet;
use myelin_model::MultiWriterPosition;
use serde_json::{Value, json};

use super::{LAST, World, at};

const STREAM: &str = "SELECT max(stream_id) FROM device_lists_stream";

fn users(ids: &[&Arc<str>]) -> HashSet<Arc<str>> {
    ids.iter().map(|id| Arc::clone(id)).collect()
}

pub async fn device_lists(world: &mut World<'_>) -> Result<()> {
    let (rooms, storage) = (world.rooms(), world.storage);
    let before = world.number(STREAM).await?;
    let second = world.bob.login(&world.bob.client)?;
    let after = world.number(STREAM).await?;
    let bob = Arc::clone(&second.id);
    let both = [Arc::clone(&bob), Arc::clone(&world.alice.id)];

    let changed = storage.get_users_whose_devices_changed(&both, &at(before), &at(LAST)).await?;
    ensure!(changed == users(&[&bob]), "{changed:?}");
    ensure!(storage.get_users_whose_devices_changed(&both, &at(after), &at(LAST)).await?.is_empty());
    ensure!(storage.get_users_whose_devices_changed(&both, &at(before), &at(before)).await?.is_empty());

    let in_rooms = async |lower: i64, upper: MultiWriterPosition| {
        storage.device_list_changes_in_rooms(&rooms, &at(lower), &upper).await
    };
    ensure!(in_rooms(before, at(after)).await? == Some(users(&[&bob])));
    ensure!(in_rooms(after, at(LAST)).await? == Some(HashSet::new()));
    let other_ahead = MultiWriterPosition::new(before, [(Arc::from("other"), after)]);
    ensure!(in_rooms(before, other_ahead).await? == Some(HashSet::new()));
    ensure!(storage.device_list_changes_in_rooms(&[], &at(0), &at(LAST)).await? == Some(HashSet::new()));
    // Rows that old are gone; what was read before they went is still right.
    let pruned = "device_lists_changes_in_room_max_pruned_stream_id";
    let kept = world.number(&format!("SELECT COALESCE(max(stream_id), -1) FROM {pruned}")).await?;
    world.write(&format!("DELETE FROM {pruned}; INSERT INTO {pruned} (stream_id) VALUES ({after})")).await?;
    ensure!(in_rooms(before, at(after)).await? == Some(users(&[&bob])));
    ensure!(in_rooms(before, at(after + 1)).await?.is_none());
    ensure!(in_rooms(after, at(after + 1)).await? == Some(HashSet::new()));
    world.write(&format!("DELETE FROM {pruned}")).await?;
    if kept >= 0 {
        world.write(&format!("INSERT INTO {pruned} (stream_id) VALUES ({kept})")).await?;
    }

    world
        .write(&format!(
            "INSERT INTO user_signature_stream (stream_id, from_user_id, user_ids, instance_name)
             VALUES ({LAST}, '{bob}', '[\"{}\"]', 'master')",
            world.alice.id
        ))
        .await?;
    let signed = storage.get_users_whose_signatures_changed(&bob, &at(after)).await?;
    ensure!(signed == users(&[&world.alice.id]), "{signed:?}");
    ensure!(storage.get_users_whose_signatures_changed(&bob, &at(LAST)).await?.is_empty());
    world.write(&format!("DELETE FROM user_signature_stream WHERE stream_id = {LAST}")).await?;

    ensure!(storage.get_device(&bob, &second.device_id).await?.is_some());
    ensure!(storage.get_device(&bob, "NONE").await?.is_none());
    let hide = |hidden: bool| format!("UPDATE devices SET hidden = {hidden} WHERE device_id = '{}'", second.device_id);
    world.write(&hide(true)).await?;
    ensure!(world.forget().get_device(&bob, &second.device_id).await?.is_none(), "a hidden device is none");
    world.write(&hide(false)).await?;

    let members = storage.get_users_in_rooms(rooms.clone()).await?;
    ensure!(*members[&rooms[0]] == users(&[&bob, &world.alice.id]), "{members:?}");
    let shared = storage.get_rooms_for_users(vec![Arc::clone(&bob), Arc::from("@nobody:myelin.test")]).await?;
    ensure!(shared[&bob].contains(&rooms[0]) && shared["@nobody:myelin.test"].is_empty(), "{shared:?}");
    Ok(())
}

pub async fn keys(world: &mut World<'_>) -> Result<()> {
    let (bob, storage) = (&world.bob, world.storage);
    let counts = async || -> Result<BTreeMap<String, i64>> {
        Ok(world.forget().count_e2e_one_time_keys(&bob.id, &bob.device_id).await?)
    };
    let fallback = async || -> Result<Vec<String>> {
        Ok(world.forget().get_e2e_unused_fallback_key_types(&bob.id, &bob.device_id).await?)
    };
    let one = |algorithm: &str, count: i64| (algorithm.to_owned(), count);
    ensure!(counts().await? == BTreeMap::from([one("signed_curve25519", 0)]));
    ensure!(fallback().await?.is_empty());
    let key = |n: u8| json!({ "key": format!("k{n}"), "signatures": {} });
    let upload = json!({
        "one_time_keys": { "signed_curve25519:A": key(1), "signed_curve25519:B": key(2), "other:C": key(3) },
        "fallback_keys": { "signed_curve25519:F": json!({ "key": "f", "fallback": true, "signatures": {} }) },
    });
    bob.send("POST", "keys/upload", &upload)?;
    ensure!(counts().await? == BTreeMap::from([one("other", 1), one("signed_curve25519", 2)]));
    ensure!(fallback().await? == ["signed_curve25519"]);
    for left in [1, 0, 0] {
        let claim = json!({ "one_time_keys": { &*bob.id: { &*bob.device_id: "signed_curve25519" } } });
        let claimed = world.alice.send("POST", "keys/claim", &claim)?;
        let keys = claimed["one_time_keys"][&*bob.id][&*bob.device_id].as_object().context("no key")?;
        ensure!(keys.values().all(Value::is_object));
        ensure!(counts().await? == BTreeMap::from([one("other", 1), one("signed_curve25519", left)]));
    }
    // The last one was the fallback.
    ensure!(fallback().await?.is_empty());
    let counts = storage.count_e2e_one_time_keys(&bob.id, "OTHER").await?;
    ensure!(counts == BTreeMap::from([one("signed_curve25519", 0)]), "{counts:?}");
    Ok(())
}
