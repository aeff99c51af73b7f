//! The endpoints that are served here, by area: each takes a request apart, asks `handlers`, and says what to send.

pub mod account;
pub mod account_data;
pub mod admin;
pub mod capabilities;
pub mod delayed_events;
pub mod devices;
pub mod directory;
pub mod events;
pub mod federation;
pub mod federation_rooms;
pub mod filter;
pub mod initial_sync;
pub mod joined_rooms;
pub mod keys;
pub mod login;
pub mod mas;
pub mod matrix_rtc;
pub mod media;
pub mod notifications;
pub mod pagination;
pub mod password_policy;
pub mod presence;
pub mod profile;
pub mod read_marker;
pub mod register;
pub mod room_directory;
pub mod room_keys;
pub mod room_membership;
pub mod rooms;
pub mod search;
pub mod server_keys;
pub mod sync;
pub mod thread_subscriptions;
pub mod user_directory;
pub mod versions;
pub mod voip;
pub mod well_known;

use myelin_model::MatrixError;

use crate::call::Call;

/// Routes that exist only where a feature is on.
fn feature(is_on: bool) -> Result<(), MatrixError> {
    if is_on { Ok(()) } else { Err(MatrixError::unrecognized(404)) }
}

/// Routes that exist only where Synapse itself knows who somebody is.
fn unless_delegated(call: &Call) -> Result<(), MatrixError> {
    feature(call.app.handlers.config.auth.mas.is_none())
}
