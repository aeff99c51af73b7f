//! Bounded caches: single flight, batching, and invalidation by Synapse's function names.
//! Answers to `synapse/util/caches/`.

mod cache;
mod groups;
mod loader;
mod registry;
mod response;
mod shared;
pub mod usage;

pub use cache::{Cache, Stats};
pub use groups::Groups;
pub use loader::Loader;
pub use registry::Registry;
pub use response::{ResponseCache, ResponseStats};
pub use shared::SharedTexts;
