//! Keys that are not known are fetched: from those who are trusted to know others' keys, then from the server itself.
//! Answers to the fetchers in `synapse/crypto/keyring.py`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use hashbrown::HashMap;
use myelin_config::{Config, TrustedKeyServer};
use myelin_model::canonical_json;
use myelin_model::signing::SigningKey;
use myelin_storage::Storage;
use myelin_storage::keys::{NewServerKey, ServerKey};
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, oneshot};

use super::response::{self, BadKeys, Keys};
use crate::federation::client::{Ask, FederationClient};
use crate::now_ms;

/// A server has this long to tell of its keys.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Servers whose keys are fetched at once, and those that wait for it; anybody can name any server.
const FETCHED_AT_ONCE: usize = 100;
const WAITING_SERVERS: usize = 1_000;
/// Requests that wait for the keys of one server.
const WAITING_REQUESTS: usize = 1_000;

/// What is known of a server's keys, by id.
pub type Found = Arc<HashMap<Arc<str>, ServerKey>>;

/// Ids, and until when each must be valid.
type Wanted = HashMap<Arc<str>, i64>;

struct Request {
    wanted: Wanted,
    done: oneshot::Sender<Found>,
}

/// `BatchingQueue` by server: while its keys are fetched, others who want them wait together for the next time.
#[derive(Default)]
struct Queue {
    servers: Mutex<HashMap<Arc<str>, Vec<Request>>>,
}

impl Queue {
    fn servers(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<Request>>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody fetches for the server yet; nothing when too much is going on.
    fn join(&self, server: &Arc<str>, request: Request) -> Option<bool> {
        let mut servers = self.servers();
        if let Some(requests) = servers.get_mut(server) {
            if requests.len() >= WAITING_REQUESTS {
                return None;
            }
            requests.push(request);
            return Some(false);
        }
        if servers.len() >= WAITING_SERVERS {
            return None;
        }
        servers.insert(Arc::clone(server), vec![request]);
        Some(true)
    }

    /// Whoever waits now; without them, the server is done with.
    fn next(&self, server: &Arc<str>) -> Vec<Request> {
        let mut servers = self.servers();
        let requests = servers.get_mut(server).map(std::mem::take).unwrap_or_default();
        if requests.is_empty() {
            servers.remove(server);
        }
        requests
    }
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The database, those who are trusted, and the server.
    Anybody,
    /// The server alone, as notaries do.
    Server,
}

struct Fetching {
    queue: Queue,
    turns: Semaphore,
}

impl Default for Fetching {
    fn default() -> Self {
        Self { queue: Queue::default(), turns: Semaphore::new(FETCHED_AT_ONCE) }
    }
}

/// Fetches keys, and keeps them.
pub struct KeyFetcher {
    client: FederationClient,
    config: Arc<Config>,
    storage: Storage,
    signing: Option<SigningKey>,
    from_anybody: Fetching,
    from_server: Fetching,
}

impl KeyFetcher {
    /// `signing`: what our requests are signed with.
    pub fn new(
        client: FederationClient,
        config: Arc<Config>,
        storage: Storage,
        signing: Option<SigningKey>,
    ) -> Arc<Self> {
        let (from_anybody, from_server) = (Fetching::default(), Fetching::default());
        Arc::new(Self { client, config, storage, signing, from_anybody, from_server })
    }

    fn fetching(&self, from: From) -> &Fetching {
        match from {
            From::Anybody => &self.from_anybody,
            From::Server => &self.from_server,
        }
    }

    /// What can be found of the keys of a server, valid or not. Nothing when too much is being fetched already.
    pub async fn fetch(
        self: &Arc<Self>,
        from: From,
        server: &Arc<str>,
        ids: &[Arc<str>],
        minimum_valid_until_ts: i64,
    ) -> Option<Found> {
        let wanted = ids.iter().map(|id| (Arc::clone(id), minimum_valid_until_ts)).collect();
        let (done, found) = oneshot::channel();
        if self.fetching(from).queue.join(server, Request { wanted, done })? {
            let (this, server) = (Arc::clone(self), Arc::clone(server));
            // Whoever asks may go away: others wait for the same.
            tokio::spawn(async move { this.work(from, &server).await });
        }
        found.await.ok()
    }

    async fn work(&self, from: From, server: &Arc<str>) {
        let fetching = self.fetching(from);
        loop {
            let _turn = fetching.turns.acquire().await;
            let requests = fetching.queue.next(server);
            if requests.is_empty() {
                return;
            }
            let mut wanted = Wanted::new();
            for (id, minimum) in requests.iter().flat_map(|request| &request.wanted) {
                let known = wanted.entry(Arc::clone(id)).or_insert(*minimum);
                *known = (*known).max(*minimum);
            }
            let found = match from {
                From::Anybody => self.told_by_anybody(server, wanted).await,
                From::Server => merge(HashMap::new(), self.told_by_server(server).await),
            };
            let found = Arc::new(found);
            for request in requests {
                // They went away.
                let _ = request.done.send(Arc::clone(&found));
            }
        }
    }

    /// `_inner_fetch_key_request`
    async fn told_by_anybody(&self, server: &Arc<str>, mut wanted: Wanted) -> HashMap<Arc<str>, ServerKey> {
        let ids: Vec<_> = wanted.keys().cloned().collect();
        let stored = self.storage.get_server_keys_json(server, &ids).await;
        let stored = stored.inspect_err(|error| tracing::error!("cannot read the keys of {server}: {error}"));
        let mut found: HashMap<_, _> = stored.into_iter().flatten().map(|((_, id), key)| (id, key)).collect();
        let is_missing = |found: &HashMap<Arc<str>, ServerKey>, id: &Arc<str>, minimum: i64| {
            found.get(id).is_none_or(|key| key.valid_until_ts < minimum)
        };
        wanted.retain(|id, minimum| is_missing(&found, id, *minimum));
        if !wanted.is_empty() && !self.config.federation.client.key_servers.is_empty() {
            let asked = self.config.federation.client.key_servers.iter();
            let told = join_all(asked.map(|notary| self.told_by_notary(notary, server, &wanted))).await;
            found = told.into_iter().fold(found, merge);
            wanted.retain(|id, minimum| is_missing(&found, id, *minimum));
        }
        if !wanted.is_empty() {
            found = merge(found, self.told_by_server(server).await);
        }
        found
    }

    /// `get_server_verify_key_v2_indirect`: what `notary` says of `server`.
    async fn told_by_notary(&self, notary: &TrustedKeyServer, server: &str, wanted: &Wanted) -> Keys {
        let name = notary.server_name.as_str();
        tracing::info!("requesting keys of {server} from notary server {name}");
        let criteria = wanted.iter().map(|(id, minimum)| (id.to_string(), json!({"minimum_valid_until_ts": minimum})));
        let criteria: Map<String, Value> = criteria.collect();
        let Value::Object(content) = json!({"server_keys": {server: criteria}}) else { return Keys::new() };
        let ask = Ask {
            destination: name,
            path: "/_matrix/key/v2/query",
            content: Some(&content),
            timeout: None,
            ignore_backoff: false,
        };
        let told = match self.ask(ask).await {
            Ok(told) => told,
            Err(error) => {
                tracing::warn!("key lookup failed from {name}: {error}");
                return Keys::new();
            }
        };
        match self.told_by(notary, &told).await {
            Ok(mut servers) => servers.remove(server).unwrap_or_default(),
            Err(error) => {
                tracing::warn!("unable to get keys from {name}: {error}");
                Keys::new()
            }
        }
    }

    async fn told_by(
        &self,
        notary: &TrustedKeyServer,
        told: &Map<String, Value>,
    ) -> Result<HashMap<String, Keys>, BadKeys> {
        let now = now_ms();
        let mut servers: HashMap<String, Keys> = HashMap::new();
        let responses = told.get("server_keys").and_then(Value::as_array);
        for response in responses.ok_or(BadKeys::Odd("there are no server_keys"))? {
            let response = response.as_object().ok_or(BadKeys::Odd("what it says of a server is no object"))?;
            let Some(server) = response.get("server_name").and_then(Value::as_str) else {
                return Err(BadKeys::Odd("it does not say of which server"));
            };
            let checked = match response::check_notary(notary, response) {
                Ok(()) => self.keep(&notary.server_name, response, now).await,
                Err(error) => Err(error),
            };
            match checked {
                Ok(keys) => servers.entry_ref(server).or_default().extend(keys),
                Err(BadKeys::Lookup(error)) => {
                    tracing::warn!("{} tells of {server} what is not believed: {error}", notary.server_name);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(servers)
    }

    /// `get_server_verify_keys_v2_direct`
    async fn told_by_server(&self, server: &str) -> Keys {
        let now = now_ms();
        let ask = Ask {
            destination: server,
            path: "/_matrix/key/v2/server",
            content: None,
            timeout: Some(ANSWERS_WITHIN),
            ignore_backoff: true,
        };
        let kept = match self.ask(ask).await {
            Err(error) => Err(error),
            Ok(response) => match response.get("server_name").and_then(Value::as_str) {
                Some(name) if name == server => {
                    self.keep(server, &response, now).await.map_err(|error| error.to_string())
                }
                other => Err(format!("expected a response for server {server} not {other:?}")),
            },
        };
        kept.unwrap_or_else(|error| {
            tracing::warn!("error looking up keys from {server}: {error}");
            Keys::new()
        })
    }

    async fn ask(&self, ask: Ask<'_>) -> Result<Map<String, Value>, String> {
        let key = self.signing.as_ref().ok_or("there is no signing key in the configuration")?;
        self.client.ask(ask, key).await.map_err(|error| error.to_string())
    }

    /// `process_v2_response`: keys that are believed are stored, and everybody hears of it.
    async fn keep(&self, from_server: &str, response: &Map<String, Value>, now: i64) -> Result<Keys, BadKeys> {
        let (server, keys) = response::read(response)?;
        let json = canonical_json::encode_without(response, &[]).map_err(|_| BadKeys::Odd("it is not canonical"))?;
        let new: Vec<_> = keys.iter().map(|(id, key)| NewServerKey { id, key: *key }).collect();
        let stored = self.storage.store_server_keys_response(server, from_server, now, &new, &json).await;
        stored.map_err(|error| BadKeys::Lookup(format!("cannot store the keys: {error}")))?;
        Ok(keys)
    }
}

/// The one that is valid for longer counts.
fn merge(mut found: HashMap<Arc<str>, ServerKey>, more: Keys) -> HashMap<Arc<str>, ServerKey> {
    for (id, key) in more {
        if found.get(id.as_str()).is_none_or(|known| known.valid_until_ts <= key.valid_until_ts) {
            found.insert(id.into(), key);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> (Request, oneshot::Receiver<Found>) {
        let (done, found) = oneshot::channel();
        (Request { wanted: Wanted::new(), done }, found)
    }

    #[test]
    fn who_waits_for_a_server_waits_together() {
        let (queue, server) = (Queue::default(), Arc::from("a.test"));
        let join = || queue.join(&server, request().0);
        assert_eq!([join(), join(), join()], [Some(true), Some(false), Some(false)]);
        assert_eq!(queue.next(&server).len(), 3);
        // Whoever comes while the first three are served.
        assert_eq!([join(), join()], [Some(false), Some(false)]);
        assert_eq!(queue.next(&server).len(), 2);
        assert_eq!(queue.next(&server).len(), 0);
        assert_eq!(join(), Some(true));
        assert_eq!((1..WAITING_REQUESTS).filter(|_| join() == Some(false)).count(), WAITING_REQUESTS - 1);
        assert_eq!(join(), None);
        let others = (1..=WAITING_SERVERS).filter(|at| queue.join(&at.to_string().into(), request().0).is_some());
        assert_eq!(others.count(), WAITING_SERVERS - 1);
    }

    #[test]
    fn the_key_that_is_valid_for_longer() {
        let key = |seed: u8, valid_until_ts| ServerKey { key: [seed; 32], valid_until_ts };
        let found = HashMap::from([(Arc::from("a"), key(1, 10)), (Arc::from("b"), key(2, 10))]);
        let more = Keys::from([("a".to_owned(), key(3, 9)), ("b".to_owned(), key(4, 10)), ("c".to_owned(), key(5, 1))]);
        let merged = merge(found, more);
        assert_eq!([merged["a"], merged["b"], merged["c"]], [key(1, 10), key(4, 10), key(5, 1)]);
    }
}
