//! Who was seen, when and from where: told to the process that writes `user_ips` and the monthly active users.
//! Answers to `_record_request` in `synapse/api/auth/base.py` and `insert_client_ip` in
//! `synapse/storage/databases/main/client_ips.py`.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use myelin_caches::Cache;
use myelin_model::Requester;
use tokio::sync::mpsc;

use super::Credentials;
use crate::{Handlers, now_ms};

/// A user, token and address are told once in this time: `LAST_SEEN_GRANULARITY`.
const GRANULARITY: Duration = Duration::from_mins(2);

/// What is remembered of who was told.
const CAPACITY: usize = 16 << 20;

/// What the command USER_IP says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSeen {
    pub user_id: Arc<str>,
    pub access_token: String,
    pub ip: String,
    pub user_agent: String,
    pub device_id: Option<Arc<str>>,
    pub last_seen: i64,
}

type Key = (Arc<str>, Box<str>, Box<str>);

pub struct SeenUsers {
    told: Cache<Key, Instant>,
    listener: OnceLock<mpsc::Sender<UserSeen>>,
}

impl Default for SeenUsers {
    fn default() -> Self {
        let told = Cache::new(CAPACITY, |(user, token, ip): &Key, _| user.len() + token.len() + ip.len() + 100);
        Self { told, listener: OnceLock::new() }
    }
}

impl Handlers {
    /// Who wants to know. Only the first listener counts.
    pub fn on_user_seen(&self, listener: mpsc::Sender<UserSeen>) {
        self.auth.seen.listener.get_or_init(|| listener);
    }

    pub(super) fn user_seen(&self, requester: &Requester, credentials: &Credentials<'_>, token: &str) {
        let server = &self.config.server;
        if credentials.ip.is_empty() || (requester.app_service.is_some() && !server.track_appservice_user_ips) {
            return;
        }
        let device = requester.device_id.clone();
        let recorded =
            if requester.app_service.is_some() { device.clone().or(Some("dummy-device".into())) } else { device };
        self.tell(&requester.authenticated_entity, recorded, credentials, token);
        if requester.user_id != requester.authenticated_entity && server.track_puppeted_user_ips {
            self.tell(&requester.user_id, requester.device_id.clone(), credentials, token);
        }
    }

    fn tell(&self, user_id: &Arc<str>, device_id: Option<Arc<str>>, credentials: &Credentials<'_>, token: &str) {
        // The sliding sync proxy asks all the time, its users may be asleep.
        let Some(listener) = self.auth.seen.listener.get().filter(|_| credentials.user_agent != "sync-v3-proxy-")
        else {
            return;
        };
        let key: Key = (Arc::clone(user_id), token.into(), credentials.ip.into());
        if self.auth.seen.told.get(&key).is_some_and(|told| told.elapsed() < GRANULARITY) {
            return;
        }
        let seen = UserSeen {
            user_id: Arc::clone(user_id),
            access_token: token.to_owned(),
            ip: credentials.ip.to_owned(),
            user_agent: credentials.user_agent.to_owned(),
            device_id,
            last_seen: now_ms(),
        };
        // A full queue: the next request tells.
        if listener.try_send(seen).is_ok() {
            self.auth.seen.told.insert(key, Instant::now());
        }
    }
}
