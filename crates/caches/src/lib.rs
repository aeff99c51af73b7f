//! Bounded caches: single flight, batching, and invalidation by Synapse's function names.
//! Answers to `synapse/util/caches/`.

mod cache;
mod loader;
mod registry;
mod response;
mod shared;

pub use cache::{Cache, Stats};
pub use loader::Loader;
pub use registry::Registry;
pub use response::ResponseCache;
pub use shared::SharedTexts;
