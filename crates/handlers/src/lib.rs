//! What a route means: reads the past from `storage`, the present from `live`, and answers.
//!
//! Architecture invariant: no axum types here, and no SQL.

pub mod account;
pub mod auth;
pub mod auth_room;
pub mod capabilities;
pub mod event_json;
pub mod filter;
pub mod filtering;
mod python_text;
pub mod relations;
pub mod room_event;
pub mod room_members;
pub mod room_state;
pub mod sections;
pub mod stream_token;
pub mod sync;
pub mod versions;
pub mod visibility;

use std::sync::Arc;

use myelin_config::Config;
use myelin_live::Reader;
use myelin_model::MatrixError;
use myelin_storage::Storage;

pub type Result<T> = std::result::Result<T, MatrixError>;

/// What every route needs.
pub struct Handlers {
    pub config: Arc<Config>,
    pub storage: Storage,
    pub live: Reader,
    /// Which member events a device was already sent.
    pub lazy_members: sync::LazyLoadedMembers,
    pub sync_responses: sync::SyncResponses,
    pub(crate) auth: auth::Auth,
}

impl Handlers {
    pub fn new(config: Arc<Config>, storage: Storage, live: Reader) -> Self {
        let keep = u64::try_from(config.server.caches.sync_response_cache_duration).unwrap_or_default();
        Self {
            auth: auth::Auth::new(&config),
            config,
            storage,
            live,
            lazy_members: sync::LazyLoadedMembers::default(),
            sync_responses: sync::SyncResponses::new(std::time::Duration::from_millis(keep)),
        }
    }
}

/// Milliseconds since the epoch, as ages count from.
pub(crate) fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
