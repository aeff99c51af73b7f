//! The server's content, made through the main process's client API: users, rooms, messages and all the rest.
//! Every phase ends with a token, `<since:…>`, for incremental syncs from there.

mod calls;
mod experimental;
mod keys;
mod later;
mod people;
pub mod remote;
mod remote_spaces;
mod rooms;
pub mod servers;
mod spaces;
mod talk;

use anyhow::{Context, Result};
use myelin_testkit::http::Client;
use myelin_testkit::synapse::Synapse;
use serde_json::{Value, json};

use crate::names::{Names, encode};
use crate::stack::expect_ok;

pub struct Seed {
    main: Client,
    pub names: Names,
    transactions: u32,
}

impl Seed {
    /// Other servers, and nobody but the watcher, who tells where a process stands.
    pub fn empty(synapse: &Synapse) -> Result<Self> {
        let mut seed = Self { main: Client::new(synapse.port), names: Names::default(), transactions: 0 };
        seed.register("watcher")?;
        seed.servers(synapse).context("seed: servers")?;
        Ok(seed)
    }

    pub fn make(synapse: &Synapse) -> Result<Self> {
        let mut seed = Self::empty(synapse)?;
        seed.people().context("seed: people")?;
        seed.admin(synapse).context("seed: admin")?;
        seed.keys(synapse).context("seed: keys")?;
        Self::registration_tokens(synapse).context("seed: tokens")?;
        seed.mark("nothing")?;
        seed.rooms().context("seed: rooms")?;
        seed.names_of_all_kinds().context("seed: names")?;
        seed.punished().context("seed: the punished")?;
        seed.invite_rules().context("seed: rules for invites")?;
        seed.mark("rooms")?;
        seed.talk().context("seed: talk")?;
        seed.spaces().context("seed: spaces")?;
        seed.blocked_room().context("seed: a blocked room")?;
        seed.fruit().context("seed: fruit")?;
        seed.delayed_events().context("seed: delayed events")?;
        seed.thread_subscriptions().context("seed: threads that are followed")?;
        seed.sticky().context("seed: sticky events")?;
        seed.mark("talk")?;
        seed.changes().context("seed: changes")?;
        seed.comings_and_goings().context("seed: comings and goings")?;
        seed.sticky_for_newcomers().context("seed: later sticky events")?;
        seed.invite_to("later invites").context("seed: later invites")?;
        seed.profiles().context("seed: profiles")?;
        seed.remote(synapse).context("seed: members of other servers")?;
        seed.remote_spaces(synapse).context("seed: what other servers find")?;
        seed.mark("changes")?;
        seed.late_talk().context("seed: late talk")?;
        seed.mark("end")?;
        Ok(seed)
    }

    /// Keeps the present as `<since:name>`.
    fn mark(&mut self, name: &str) -> Result<()> {
        let token = self.position(&self.main)?;
        self.names.set(&format!("since:{name}"), token);
        Ok(())
    }

    /// Where a process stands, asked by a user who has nothing and changes nothing.
    pub fn position(&self, worker: &Client) -> Result<String> {
        let filter = json!({"room": {"rooms": []}, "presence": {"types": []}, "account_data": {"types": []}});
        let path = format!("/_matrix/client/v3/sync?set_presence=offline&filter={}", encode(&filter.to_string()));
        let answer = worker.with_token(self.names.get("token:watcher")?).get(&path)?;
        let body = expect_ok(&answer, "the watcher's sync")?;
        body["next_batch"].as_str().map(ToOwned::to_owned).context("no next_batch")
    }

    /// Python adds `prev_content` to an event only where a route asks for it, and then it stays in its cache, where
    /// /sync takes from it who left. Reading all of it makes Python's answers independent of what came before.
    pub fn load_history(&self, worker: &Client) -> Result<()> {
        for (name, id) in self.names.rooms() {
            let creator = ["alice", "carol", "mallory", "bob", "emma", "suspended", "taro"].iter().find(|user| {
                let path = format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=1000", encode(id));
                let token = self.names.get(&format!("token:{user}")).unwrap_or_default();
                worker.with_token(token).get(&path).is_ok_and(|answer| answer.status == 200)
            });
            creator.with_context(|| format!("nobody may read {name}"))?;
        }
        Ok(())
    }

    /// One request to the main process that must succeed; names in the path are filled in.
    pub fn ask(&self, by: &str, method: &str, path: &str, body: &Value) -> Result<Value> {
        let path = self.names.fill_url(path)?;
        let path = if path.starts_with('/') { path } else { format!("/_matrix/client/{path}") };
        let client = self.main.with_token(self.names.get(&format!("token:{by}"))?);
        let body = Some(body).filter(|_| method != "GET");
        expect_ok(&client.send(method, &path, body)?, &format!("{by}: {method} {}", self.names.unfill(&path)))
    }
}
