//! Redis and HTTP replication, and how other processes and other homeservers are reached. Answers to
//! `synapse/replication/` and `synapse/http/`.
//!
//! Architecture invariants: `protocol` does no IO and cannot panic on input; every queue here is bounded.

pub mod connector;
pub mod federation;
pub mod http;
pub mod protocol;
mod publisher;
pub mod redis;
mod subscriber;

pub use http::{Client, HttpError};
pub use protocol::Command;
pub use redis::{Commands, Incoming, Room, connect};
pub use subscriber::Subscriber;
