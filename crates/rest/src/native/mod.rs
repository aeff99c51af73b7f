//! The endpoints that are served here, by area: each takes a request apart, asks `handlers`, and says what to send.

pub mod account;
pub mod account_data;
pub mod capabilities;
pub mod devices;
pub mod filter;
pub mod joined_rooms;
pub mod pagination;
pub mod password_policy;
pub mod rooms;
pub mod sync;
pub mod versions;
pub mod well_known;
