//! The reads behind /sync's sections, on rows that the real Synapse made or that a test put there.

mod devices;
mod receipts;
mod to_device;
mod unread;
mod users;

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use myelin_model::MultiWriterPosition;
use myelin_storage::Storage;
use myelin_testkit::http::Client;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use crate::Fixture;

/// Beyond every position of a test.
const LAST: i64 = 1_000_000_000;

pub async fn sections(fixture: &Fixture, storage: &Storage) -> Result<()> {
    let mut world = World::new(fixture, storage).await?;
    receipts::receipts(&mut world).await.context("receipts")?;
    unread::unread(&mut world).await.context("unread")?;
    unread::summaries(&mut world).await.context("summaries")?;
    to_device::to_device(&mut world).await.context("to-device")?;
    devices::device_lists(&mut world).await.context("device lists")?;
    devices::keys(&mut world).await.context("keys")?;
    users::presence(&mut world).await.context("presence")?;
    users::account_data(&mut world).await.context("account data")?;
    users::push_rules(&mut world).await.context("push rules")
}

/// Two users in one room, and a way to write what no client can.
struct World<'a> {
    storage: &'a Storage,
    writer: PgConnection,
    alice: User,
    bob: User,
    room_id: Arc<str>,
}

struct User {
    id: Arc<str>,
    device_id: Arc<str>,
    name: String,
    client: Client,
}

impl<'a> World<'a> {
    async fn new(fixture: &Fixture, storage: &'a Storage) -> Result<Self> {
        let main = Client::new(fixture.synapse.port);
        let alice = User::register(&main, "sections_alice")?;
        let bob = User::register(&main, "sections_bob")?;
        let room = alice.send("POST", "createRoom", &json!({ "preset": "public_chat" }))?;
        let room_id: Arc<str> = text(&room["room_id"])?.into();
        bob.send("POST", &format!("join/{room_id}"), &json!({}))?;
        let writer = PgConnection::connect_with(&fixture.options(myelin_testkit::postgres::USER)).await?;
        Ok(Self { storage, writer, alice, bob, room_id })
    }

    /// Nobody follows the streams here.
    fn forget(&self) -> &'a Storage {
        self.storage.registry().clear();
        self.storage
    }

    async fn write(&mut self, sql: &str) -> Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.writer).await.with_context(|| sql.to_owned())?;
        Ok(())
    }

    async fn number(&mut self, sql: &str) -> Result<i64> {
        let found = sqlx::query_as(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.writer).await;
        let (number,): (i64,) = found.with_context(|| sql.to_owned())?;
        Ok(number)
    }

    fn rooms(&self) -> Vec<Arc<str>> {
        vec![Arc::clone(&self.room_id)]
    }
}

impl User {
    fn register(main: &Client, name: &str) -> Result<Self> {
        let body = json!({ "username": name, "password": "p", "auth": { "type": "m.login.dummy" } });
        let answer = main.send("POST", "/_matrix/client/v3/register", Some(&body))?.json()?;
        Ok(Self {
            id: text(&answer["user_id"])?.into(),
            device_id: text(&answer["device_id"])?.into(),
            name: name.to_owned(),
            client: main.with_token(&text(&answer["access_token"])?),
        })
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let answer = self.client.send(method, &format!("/_matrix/client/v3/{path}"), Some(body))?;
        ensure!(answer.status == 200, "{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    /// A message; its event id.
    fn say(&self, room_id: &str, content: Value) -> Result<String> {
        let mut content = content;
        content["msgtype"] = "m.text".into();
        if content["body"].is_null() {
            content["body"] = "hello".into();
        }
        let sent = self.send("POST", &format!("rooms/{room_id}/send/m.room.message"), &content)?;
        text(&sent["event_id"])
    }

    /// Another device of this user.
    fn login(&self, main: &Client) -> Result<Self> {
        let identifier = json!({ "type": "m.id.user", "user": self.name });
        let body = json!({ "type": "m.login.password", "identifier": identifier, "password": "p" });
        let answer = main.send("POST", "/_matrix/client/v3/login", Some(&body))?.json()?;
        Ok(Self {
            id: Arc::clone(&self.id),
            device_id: text(&answer["device_id"])?.into(),
            name: self.name.clone(),
            client: main.with_token(&text(&answer["access_token"])?),
        })
    }
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("not a text: {value}"))
}

fn at(position: i64) -> MultiWriterPosition {
    position.into()
}
