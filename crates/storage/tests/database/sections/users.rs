//! `presence.py`, `account_data.py`, `tags.py` and `push_rule.py`

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use hashbrown::HashMap;
use myelin_model::Row;
use myelin_storage::account_data::AccountDatum;
use serde_json::{Value, json};

use super::{World, text};

pub async fn presence(world: &mut World<'_>) -> Result<()> {
    let (bob, storage) = (&world.bob, world.storage);
    let path = format!("presence/{}/status", bob.id);
    let both = || vec![Arc::clone(&bob.id), Arc::from("@nobody:myelin.test")];
    bob.send("PUT", &path, &json!({ "presence": "online", "status_msg": "away" }))?;
    let found = world.forget().get_presence_for_users(both()).await?;
    let [state] = &found[..] else { anyhow::bail!("{found:?}") };
    ensure!(state.user_id == bob.id && state.state == "online", "{state:?}");
    ensure!(state.status_msg.as_deref() == Some("away") && state.last_active_ts > 0, "{state:?}");
    ensure!(storage.active_presence().await?.iter().any(|active| active == &**state));

    // Remembered until its row comes.
    bob.send("PUT", &path, &json!({ "presence": "offline" }))?;
    ensure!(storage.get_presence_for_users(both()).await? == found);
    storage.invalidate_for(&Row::Presence((**state).clone()));
    let found = storage.get_presence_for_users(both()).await?;
    ensure!(found.len() == 1 && found[0].state == "offline" && found[0].status_msg.is_none(), "{found:?}");
    ensure!(!storage.active_presence().await?.iter().any(|active| active.user_id == bob.id));

    let bob_id = Arc::clone(&bob.id);
    ensure!(storage.get_full_presence_position(&bob_id).await?.is_none());
    let table = "users_to_send_full_presence_to";
    world.write(&format!("INSERT INTO {table} (user_id, presence_stream_id) VALUES ('{bob_id}', 7)")).await?;
    ensure!(world.forget().get_full_presence_position(&bob_id).await? == Some(7));
    world.write(&format!("DELETE FROM {table}")).await
}

fn sorted(data: &[AccountDatum]) -> Result<BTreeMap<String, Value>> {
    data.iter().map(|(kind, content)| Ok((kind.to_string(), serde_json::from_str(content)?))).collect()
}

/// Global, rooms with other tags, and in rooms.
type Updated = (Vec<AccountDatum>, Vec<Arc<str>>, HashMap<Arc<str>, Vec<AccountDatum>>);

pub async fn account_data(world: &mut World<'_>) -> Result<()> {
    let (bob, storage) = (&world.bob, world.storage);
    let (id, room) = (Arc::clone(&bob.id), Arc::clone(&world.room_id));
    let put = |path: &str, body: Value| bob.send("PUT", &format!("user/{id}/{path}"), &body).map(drop);
    put("account_data/x.one", json!({ "n": 1 }))?;
    put(&format!("rooms/{room}/account_data/x.room"), json!({ "n": 2 }))?;
    put(&format!("rooms/{room}/tags/u.work"), json!({ "order": 0.5 }))?;
    let global = sorted(&world.forget().get_global_account_data_for_user(&id).await?)?;
    ensure!(global["x.one"] == json!({ "n": 1 }), "{global:?}");
    let rooms = storage.get_room_account_data_for_user(&id).await?;
    ensure!(sorted(&rooms[&room])?["x.room"] == json!({ "n": 2 }));
    let tags = storage.get_tags_for_user(&id).await?;
    ensure!(sorted(&tags[&room])? == BTreeMap::from([("u.work".to_owned(), json!({ "order": 0.5 }))]));

    // Everything after a position, and nothing before.
    let max =
        "SELECT greatest((SELECT max(stream_id) FROM account_data), (SELECT max(stream_id) FROM room_account_data),
        (SELECT max(stream_id) FROM room_tags_revisions))";
    let (found,): (i64,) = sqlx::query_as(max).fetch_one(&mut world.writer).await?;
    let updated = async |since: i64| -> Result<Updated> {
        Ok((
            storage.get_updated_global_account_data_for_user(&id, since).await?,
            storage.rooms_with_updated_tags(&id, since).await?,
            storage.get_updated_room_account_data_for_user(&id, since).await?,
        ))
    };
    ensure!(updated(found).await? == (vec![], vec![], HashMap::new()));
    put("account_data/x.two", json!({}))?;
    put(&format!("rooms/{room}/account_data/x.room"), json!({ "n": 3 }))?;
    bob.send("DELETE", &format!("user/{id}/rooms/{room}/tags/u.work"), &json!({}))?;
    let (global, tagged, in_rooms) = updated(found).await?;
    ensure!(sorted(&global)? == BTreeMap::from([("x.two".to_owned(), json!({}))]));
    ensure!(tagged == [Arc::clone(&room)], "{tagged:?}");
    ensure!(sorted(&in_rooms[&room])? == BTreeMap::from([("x.room".to_owned(), json!({ "n": 3 }))]));
    // Each stream row makes stale what it concerns.
    ensure!(!storage.get_tags_for_user(&id).await?.is_empty());
    storage.invalidate_for(&Row::AccountData {
        user_id: Arc::clone(&id),
        room_id: Some(Arc::clone(&room)),
        kind: "m.tag".to_owned(),
    });
    ensure!(storage.get_tags_for_user(&id).await?.is_empty());

    put("account_data/m.ignored_user_list", json!({ "ignored_users": { &*world.alice.id: {} } }))?;
    ensure!(world.forget().ignored_users(&id).await?.contains(&world.alice.id));
    ensure!(storage.latest_account_data_position(&id, "m.ignored_user_list").await? > Some(found));
    ensure!(storage.latest_account_data_position(&id, "x.none").await?.is_none());
    put("account_data/m.ignored_user_list", json!({ "ignored_users": {} }))?;
    ensure!(world.forget().ignored_users(&id).await?.is_empty());
    admin_client_config(world).await
}

/// It counts for admins alone.
async fn admin_client_config(world: &mut World<'_>) -> Result<()> {
    let id = Arc::clone(&world.bob.id);
    let kind = "io.element.synapse.admin_client_config";
    let path = format!("user/{id}/account_data/{kind}");
    world.bob.send("PUT", &path, &json!({ "return_soft_failed_events": true }))?;
    ensure!(!world.forget().get_admin_client_config_for_user(&id).await?.return_soft_failed_events);
    world.write(&format!("UPDATE users SET admin = 1 WHERE name = '{id}'")).await?;
    let config = world.forget().get_admin_client_config_for_user(&id).await?;
    ensure!(config.return_soft_failed_events && config.return_policy_server_spammy_events, "{config:?}");
    ensure!(world.storage.is_server_admin(&id).await? && !world.storage.is_server_admin(&world.alice.id).await?);
    world.write(&format!("UPDATE users SET admin = 0 WHERE name = '{id}'")).await
}

pub async fn push_rules(world: &mut World<'_>) -> Result<()> {
    let (bob, storage) = (&world.bob, world.storage);
    let id = Arc::clone(&bob.id);
    ensure!(world.forget().get_push_rules_for_user(&id).await?.rules.is_empty());
    ensure!(!storage.have_push_rules_changed_for_user(&id, 0).await?);
    bob.send("PUT", "pushrules/global/content/first", &json!({ "pattern": "x", "actions": ["notify"] }))?;
    bob.send("PUT", "pushrules/global/override/second", &json!({ "conditions": [], "actions": [] }))?;
    bob.send("PUT", "pushrules/global/content/first/enabled", &json!({ "enabled": false }))?;
    let rows = world.forget().get_push_rules_for_user(&id).await?;
    let ids: Vec<&str> = rows.rules.iter().map(|rule| rule.rule_id.as_str()).collect();
    ensure!(ids == ["global/override/second", "global/content/first"], "the most important first: {ids:?}");
    let content = rows.rules.last().context("no rule")?;
    let conditions: Value = serde_json::from_str(&content.conditions)?;
    ensure!(text(&conditions[0]["pattern"])? == "x" && content.actions == r#"["notify"]"#, "{content:?}");
    ensure!(rows.enabled.get("global/content/first") == Some(&false), "{:?}", rows.enabled);
    ensure!(storage.have_push_rules_changed_for_user(&id, 0).await?);
    ensure!(!storage.have_push_rules_changed_for_user(&id, i64::MAX).await?);
    Ok(())
}
