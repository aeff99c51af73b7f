//! Every SQL statement: the past, read within bounds that the caller gives.
//! Answers to `synapse/storage/`; one file per Synapse store, under its name.
//!
//! Architecture invariants: no clock and no "now" here; no HTTP and no Redis; the schema is never changed;
//! no statement without its tables in `migrations-readonly/tables.toml`.

pub mod account_data;
mod admin;
pub mod admin_client_config;
mod auth_caches;
mod cache;
mod checks;
pub mod cross_signing;
pub mod delayed_events;
mod device_lists;
mod deviceinbox;
pub mod devices;
pub mod directory;
pub mod e2e_device_keys;
pub mod e2e_room_keys;
pub mod e2e_upload;
pub mod end_to_end_keys;
mod error;
mod event_auth;
pub mod event_cache;
mod event_federation;
mod event_graph;
pub mod event_push_actions;
pub mod events_worker;
mod experimental_features;
mod filtering;
mod health;
mod id_generators;
mod instance_map;
mod invalidations;
pub mod keys;
mod locks;
mod metrics;
mod monthly_active_users;
mod openid;
pub mod pagination;
mod pool;
mod presence;
pub mod profile;
pub mod push_rule;
pub mod receipts;
pub mod registration;
pub mod relation_pages;
pub mod relations;
mod replication;
mod retry;
mod room;
mod room_caches;
mod room_reads;
pub mod room_stats;
pub mod roommember;
pub mod search;
pub mod state;
pub mod state_deltas;
mod state_groups;
pub mod sticky_events;
pub mod stream;
pub mod tables;
pub mod thread_subscriptions;
pub mod transactions;
mod user_caches;
pub mod user_directory;

use std::panic::Location;
use std::sync::{Arc, RwLock};

use myelin_caches::{Registry, SharedTexts};
use myelin_config::Config;
use myelin_model::Instances;
use prometheus::core::Collector;
use sqlx::PgPool;

use metrics::{StorageMetrics, Timed};

pub use error::StorageError;
pub use events_worker::{GetEvents, RedactBehaviour};
pub use invalidations::Invalidation;
pub use myelin_caches::usage;
pub use pool::CacheSizes;
pub use replication::StreamUpdates;

/// Misses of concurrent callers become one statement.
pub(crate) type Loader<K, V> = myelin_caches::Loader<K, V, StorageError>;
/// The same of what becomes stale in groups.
pub(crate) type Groups<G, K, V> = myelin_caches::Groups<G, K, V, StorageError>;

/// Where a row belongs that says by `WITH ORDINALITY` for which of several keys it is.
pub(crate) fn slot<T>(slots: &mut [T], ordinality: i64) -> Option<&mut T> {
    let index = usize::try_from(ordinality.checked_sub(1)?).ok()?;
    slots.get_mut(index)
}

/// The database as a reader sees it. Cheap to clone.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    /// The data store `main`: everything but state groups.
    main: PgPool,
    /// The data store `state`; the same pool unless `databases` splits them.
    state: PgPool,
    registry: Registry,
    /// Cache names that nobody here knows.
    warned: cache::Warned,
    metrics: StorageMetrics,
    instances: RwLock<Arc<Instances>>,
    // Caches, one line per store.
    events: Arc<event_cache::EventCache>,
    texts: SharedTexts,
    rooms: room_caches::RoomCaches,
    room_reads: Arc<room_reads::RoomReads>,
    users: user_caches::UserCaches,
    accounts: auth_caches::AuthCaches,
    invalidations: invalidations::Invalidations,
    server_keys: keys::ServerKeys,
    retry_timings: transactions::RetryTimingsOf,
}

impl Storage {
    /// Connects to every database of the configuration, and refuses one that cannot be served correctly.
    pub async fn connect(config: &Config) -> Result<Self, StorageError> {
        pool::probe(&config.databases).await?;
        let storage = Self::open(config)?;
        storage.check(&config.databases, &config.server.server_name).await?;
        storage.reload_instances().await?;
        Ok(storage)
    }

    /// The same without a look at the database: each statement connects when it must.
    pub fn open(config: &Config) -> Result<Self, StorageError> {
        let metrics = StorageMetrics::new()?;
        let pools = pool::open(&config.databases, &metrics.health)?;
        let registry = Registry::default();
        let sizes = CacheSizes::new(&config.server.caches);
        Ok(Self(Arc::new(Inner {
            main: pools.main,
            state: pools.state,
            instances: RwLock::default(),
            events: event_cache::new(sizes, &registry),
            texts: SharedTexts::default(),
            rooms: room_caches::RoomCaches::new(&sizes, &registry),
            room_reads: room_reads::RoomReads::new(&sizes, &registry),
            users: user_caches::UserCaches::new(&sizes, &registry),
            accounts: auth_caches::AuthCaches::new(&sizes, &registry),
            invalidations: invalidations::Invalidations::new(&config.worker.name),
            server_keys: keys::server_keys(&sizes, &registry),
            retry_timings: transactions::retry_timings(&sizes, &registry),
            registry,
            warned: cache::Warned::default(),
            metrics,
        })))
    }

    /// Invalidation by Synapse's function names.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// For all tables but those of `state_pool`.
    #[track_caller]
    pub(crate) fn pool(&self) -> Timed<'_> {
        Timed { pool: &self.0.main, metrics: &self.0.metrics, caller: Location::caller() }
    }

    /// For `state_groups`, `state_group_edges` and `state_groups_state`.
    #[track_caller]
    pub(crate) fn state_pool(&self) -> Timed<'_> {
        Timed { pool: &self.0.state, metrics: &self.0.metrics, caller: Location::caller() }
    }

    /// What is measured here, for the exposition.
    pub fn collectors(&self) -> Vec<Box<dyn Collector>> {
        self.0.metrics.collectors()
    }

    /// Ids that many entries of many caches hold are one text.
    pub(crate) fn texts(&self) -> &SharedTexts {
        &self.0.texts
    }

    /// State, members and what else is remembered of rooms.
    pub(crate) fn caches(&self) -> &room_caches::RoomCaches {
        &self.0.rooms
    }

    pub(crate) fn room_reads(&self) -> &room_reads::RoomReads {
        &self.0.room_reads
    }

    /// Account data, push rules and keys of users.
    pub(crate) fn users(&self) -> &user_caches::UserCaches {
        &self.0.users
    }

    /// Accounts, tokens and devices.
    pub(crate) fn accounts(&self) -> &auth_caches::AuthCaches {
        &self.0.accounts
    }

    /// Waits for running statements and closes every connection.
    pub async fn close(&self) {
        self.0.main.close().await;
        self.0.state.close().await;
    }
}
