//! The nouns of Matrix and of Synapse's replication: no IO, no clock, no locks.
//!
//! Architecture invariant: this crate depends on none of ours.
//!
//! Maps are `hashbrown`'s here and in the crates above: with SipHash, std's, a fifth of the time of a /sync went into
//! hashing ids. Its foldhash is seeded anew in each process and map, so that nobody can make keys that collide without
//! seeing the seed; unlike SipHash it does not claim to hide the seed from somebody who measures millions of look-ups
//! of keys of his choice. What that would gain him is slow requests, and his requests are limited.

pub mod canonical_json;
pub mod direction;
pub mod error;
pub mod event;
pub mod identifiers;
pub mod initial;
pub mod position;
pub mod presence;
pub mod requester;
pub mod room_version;
pub mod signing;
pub mod state_filter;
pub mod stream;
pub mod token;

pub use direction::Direction;
pub use error::MatrixError;
pub use event::Event;
pub use initial::{InitialPosition, InitialPositions};
pub use position::MultiWriterPosition;
pub use requester::Requester;
pub use stream::{Row, StreamName};
pub use token::{Instances, RoomToken, StreamToken};
