//! The nouns of Matrix and of Synapse's replication: no IO, no clock, no locks.
//!
//! Architecture invariant: this crate depends on none of ours.

pub mod direction;
pub mod error;
pub mod event;
pub mod identifiers;
pub mod initial;
pub mod position;
pub mod presence;
pub mod requester;
pub mod room_version;
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
