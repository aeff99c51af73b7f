//! What a route means: reads the past from `storage`, the present from `live`, and answers.
//!
//! Architecture invariant: no axum types here, and no SQL.

pub mod account;
pub mod account_data;
mod admin;
pub mod auth;
pub mod auth_room;
pub mod capabilities;
mod delayed_events;
mod devices;
mod directory;
mod e2e_claim;
pub mod e2e_cross_signing;
pub mod e2e_keys;
mod e2e_resync;
pub mod e2e_room_keys;
mod e2e_signatures;
pub mod e2e_upload;
pub mod event_json;
pub mod event_stream;
pub mod federation;
pub mod federation_rooms;
pub mod filter;
pub mod filtering;
pub mod initial_sync;
mod invite_rules;
pub mod keyring;
mod linearizer;
mod notifications;
pub mod pagination;
mod presence_duty;
mod presence_set;
pub mod profile;
mod python_text;
pub mod ratelimiting;
mod read_marker;
mod registration;
pub mod relations;
pub mod room_context;
pub mod room_event;
pub mod room_hierarchy;
pub mod room_list;
pub mod room_members;
pub mod room_relations;
pub mod room_state;
mod room_summary;
mod search;
pub mod search_request;
pub mod sections;
mod server_keys;
pub mod stream_token;
pub mod sync;
mod thread_subscriptions;
mod timestamp_lookup;
mod user_directory;
pub mod versions;
pub mod visibility;
pub mod voip;
mod worker_lock;
mod writers;

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use myelin_caches::ResponseStats;
use myelin_config::Config;
use myelin_live::Reader;
use myelin_model::{MatrixError, Requester, StreamToken};
use myelin_replication::{Client, Command, Commands};
use myelin_storage::Storage;
pub use myelin_storage::usage;
use presence_duty::{PresenceDuty, Syncing};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub type Result<T> = std::result::Result<T, MatrixError>;

/// What every route needs.
pub struct Handlers {
    pub config: Arc<Config>,
    pub storage: Storage,
    pub live: Reader,
    /// Which member events a device was already sent.
    pub lazy_members: sync::LazyLoadedMembers,
    /// Which profile fields, for the same devices.
    lazy_profile_fields: sections::profile_updates::LazyLoadedProfileFields,
    sync_responses: sync::SyncResponses,
    /// Turns of syncs that gather everything.
    pub(crate) whole_syncs: tokio::sync::Semaphore,
    pub(crate) auth: auth::Auth,
    /// `rc_profile`
    pub profile_lookups: ratelimiting::Ratelimiter,
    hierarchies: room_hierarchy::Hierarchies,
    room_summaries: ratelimiting::Ratelimiter,
    /// `rc_user_directory`
    pub user_searches: ratelimiting::Ratelimiter,
    /// `rc_registration_token_validity`
    pub token_validity_checks: ratelimiting::Ratelimiter,
    /// Of `/register/available`.
    pub username_checks: federation::ratelimit::FederationRatelimiter,
    /// `rc_delayed_event_mgmt`
    delayed_event_mgmt: ratelimiting::Ratelimiter,
    /// Our own keys.
    pub keyring: keyring::Keyring,
    key_fetcher: Arc<keyring::fetch::KeyFetcher>,
    local_keys: server_keys::LocalKeys,
    marked_as_up: federation::authenticator::MarkedAsUp,
    /// `rc_federation`
    pub federation_requests: federation::ratelimit::FederationRatelimiter,
    presence_duty: Arc<PresenceDuty>,
    /// `rc_presence.per_user`, of those who set their presence by a request for that.
    presence_updates: ratelimiting::Ratelimiter,
    read_markers: linearizer::Linearizer,
    room_key_uploads: linearizer::Linearizer,
    worker_locks: linearizer::Linearizer,
    http: Client,
    commands: Commands,
    federation_rooms: federation_rooms::FederationRooms,
    /// `/versions` of users without features of their own.
    common_versions: String,
}

impl Handlers {
    pub fn new(config: Arc<Config>, storage: Storage, live: Reader, http: Client, commands: Commands) -> Self {
        let keyring = keyring::Keyring::new(&config.federation.keys);
        let federation =
            federation::client::FederationClient::new(Arc::clone(&config), storage.clone(), commands.clone());
        let signing = keyring.signing.first().cloned();
        let keep = u64::try_from(config.server.caches.sync_response_cache_duration).unwrap_or_default();
        Self {
            auth: auth::Auth::new(&config),
            profile_lookups: ratelimiting::Ratelimiter::new(config.profile.rate),
            hierarchies: room_hierarchy::hierarchies(),
            room_summaries: ratelimiting::Ratelimiter::new(room_hierarchy::RATE),
            user_searches: ratelimiting::Ratelimiter::new(config.directory.user_search_rate),
            token_validity_checks: ratelimiting::Ratelimiter::new(config.registration.token_validity_rate),
            username_checks: federation::ratelimit::FederationRatelimiter::new(registration::USERNAME_CHECKS),
            delayed_event_mgmt: ratelimiting::Ratelimiter::new(config.capabilities.delayed_event_mgmt_rate),
            presence_duty: Arc::new(PresenceDuty::new(&config, http.clone(), commands.clone())),
            presence_updates: ratelimiting::Ratelimiter::new(config.server.presence.per_user_rate),
            read_markers: linearizer::Linearizer::default(),
            room_key_uploads: linearizer::Linearizer::default(),
            worker_locks: linearizer::Linearizer::default(),
            http,
            keyring,
            key_fetcher: keyring::fetch::KeyFetcher::new(federation, Arc::clone(&config), storage.clone(), signing),
            local_keys: server_keys::LocalKeys::default(),
            marked_as_up: federation::authenticator::MarkedAsUp::default(),
            federation_requests: federation::ratelimit::FederationRatelimiter::new(config.federation.rate),
            commands,
            federation_rooms: federation_rooms::FederationRooms::new(),
            common_versions: versions::versions(&config, &[]),
            config,
            storage,
            live,
            lazy_members: sync::LazyLoadedMembers::default(),
            lazy_profile_fields: sections::profile_updates::LazyLoadedProfileFields::default(),
            whole_syncs: tokio::sync::Semaphore::new(sync::whole_syncs_at_once()),
            sync_responses: sync::responses(std::time::Duration::from_millis(keep)),
        }
    }

    /// Tells the writer of presence that a device syncs, for as long as the result lives. What the writer wrote of
    /// the user is in the answer: it would else end their next long-poll at once.
    pub async fn user_syncing(&self, requester: &Requester, set_presence: &str) -> Result<Option<Syncing>> {
        let user_id = &requester.user_id;
        let changes = self.live.presence(user_id).is_none_or(|presence| presence.state != set_presence);
        let unlimited = self.is_unlimited(requester);
        let syncing = self.presence_duty.user_syncing(requester, set_presence, unlimited).await?;
        // A Python worker is slower than Redis, and has heard of it by now. The writer answers when it has written.
        if changes
            && syncing.as_ref().is_some_and(|syncing| syncing.told)
            && let Some(presence) = self.storage.presence_position(user_id).await?
        {
            let written = StreamToken { presence, ..StreamToken::clone(&*self.live.current_token()) };
            self.live.wait_for_token(&written, HEARD_WITHIN).await;
        }
        Ok(syncing)
    }

    /// How often answers were shared, by Synapse's names.
    pub fn shared_answers(&self) -> [(&'static str, ResponseStats); 4] {
        let rooms = &self.federation_rooms;
        [
            ("get_room_hierarchy", self.hierarchies.stats()),
            ("state_resp", rooms.state.stats()),
            ("state_ids_resp", rooms.state_ids.stats()),
            ("sync", self.sync_responses.stats()),
        ]
    }

    /// `is_mine_id`
    pub(crate) fn is_mine(&self, user_id: &str) -> bool {
        user_id.split_once(':').is_some_and(|(_, server)| server == self.config.server.server_name)
    }

    /// Whom `Ratelimiter` lets do everything: some application services, and whom an admin said so of.
    async fn is_unlimited(&self, requester: &Requester) -> Result<bool> {
        let service = requester.app_service.as_deref();
        let service = service.and_then(|id| self.config.app_services.iter().find(|service| service.id == id));
        if service.is_some_and(|service| !service.rate_limited) {
            return Ok(true);
        }
        let entity = &requester.authenticated_entity;
        // Other numbers than 0 are for the sending of events alone.
        let limit = self.storage.get_ratelimit_for_user(entity).await?;
        Ok(limit.is_some_and(|messages_per_second| messages_per_second == 0))
    }

    /// What other processes must hear from this one: what became stale, who syncs, and who was seen. Until `stop`.
    pub async fn tell_others(&self, stop: CancellationToken) {
        self.tell_of_invalidations();
        let (seen, mut told) = mpsc::channel(SEEN);
        self.on_user_seen(seen);
        let forward = async {
            while let Some(seen) = told.recv().await {
                let data = serde_json::json!([
                    seen.access_token,
                    seen.ip,
                    seen.user_agent,
                    seen.device_id.as_deref(),
                    seen.last_seen
                ]);
                self.commands.send(&Command::UserIp { user_id: seen.user_id.to_string(), data });
            }
        };
        tokio::join!(self.presence_duty.run(stop.clone()), async {
            tokio::select! {
                () = forward => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// `is_feature_enabled`: `feature` such as `msc4222`, for everybody or for this user.
    pub async fn is_feature_enabled(&self, user_id: &str, feature: &str) -> Result<bool> {
        let everybody = self.config.server.experimental.enabled.contains(&format!("{feature}_enabled"));
        Ok(everybody || self.storage.list_enabled_features(user_id).await?.contains(feature))
    }
}

/// A sync does not wait longer for what the writer of presence wrote: Redis is in trouble, or its writer.
const HEARD_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);
/// Users seen and not yet told of; beyond, they are told of the next time.
const SEEN: usize = 1_000;

/// Milliseconds since the epoch, as ages count from: for what is told to others or compared with what they wrote.
pub fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since a moment of this process: for how long something lasts, as the clock of the wall may jump.
fn elapsed_ms() -> i64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    i64::try_from(START.elapsed().as_millis()).unwrap_or(i64::MAX)
}
