//! Redis and HTTP replication. Answers to `synapse/replication/`.
//!
//! Architecture invariants: `protocol` does no IO and cannot panic on input; every queue here is bounded.

pub mod http;
pub mod protocol;
pub mod redis;

pub use http::{Client, HttpError};
pub use protocol::Command;
pub use redis::{Commands, Incoming, connect};
