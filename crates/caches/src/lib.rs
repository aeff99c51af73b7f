//! Bounded caches: single flight, batching, and invalidation by Synapse's function names.
//! Answers to `synapse/util/caches/`.

mod cache;
mod epochs;
mod loader;
mod registry;
mod response;

pub use cache::{Cache, Stats};
pub use epochs::Epochs;
pub use loader::Loader;
pub use registry::Registry;
pub use response::ResponseCache;
