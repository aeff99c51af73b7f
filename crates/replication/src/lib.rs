//! Redis and HTTP replication, and how other processes are reached. Answers to `synapse/replication/`.
//!
//! Architecture invariants: `protocol` does no IO and cannot panic on input; every queue here is bounded.

pub mod connector;
pub mod http;
pub mod protocol;
mod publisher;
pub mod redis;
mod subscriber;

pub use http::{Client, HttpError};
pub use protocol::Command;
pub use redis::{Commands, Incoming, Room, connect};
pub use subscriber::Subscriber;
