//! The endpoints that are served here, by area: each takes a request apart, asks `handlers`, and says what to send.

pub mod account;
pub mod account_data;
pub mod capabilities;
pub mod devices;
pub mod directory;
pub mod federation;
pub mod filter;
pub mod joined_rooms;
pub mod keys;
pub mod login;
pub mod notifications;
pub mod pagination;
pub mod password_policy;
pub mod presence;
pub mod profile;
pub mod read_marker;
pub mod room_directory;
pub mod room_keys;
pub mod rooms;
pub mod server_keys;
pub mod sync;
pub mod user_directory;
pub mod versions;
pub mod voip;
pub mod well_known;
