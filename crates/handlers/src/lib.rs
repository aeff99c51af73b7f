//! What a route means: reads the past from `storage`, the present from `live`, and answers.
//!
//! Architecture invariant: no axum types here, and no SQL.

pub mod account;
pub mod auth;
pub mod auth_room;
pub mod capabilities;
pub mod event_json;
pub mod filtering;
mod python_text;
pub mod relations;
pub mod room_event;
pub mod room_members;
pub mod room_state;
pub mod stream_token;
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
    pub(crate) auth: auth::Auth,
}

impl Handlers {
    pub fn new(config: Arc<Config>, storage: Storage, live: Reader) -> Self {
        Self { auth: auth::Auth::new(&config), config, storage, live }
    }
}
