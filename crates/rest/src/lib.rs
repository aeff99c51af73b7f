//! The HTTP surface: routes, answers, errors, the fallback, metrics and the access log.
//!
//! Architecture invariant: no SQL and no Redis here.

pub mod access_log;
pub mod metrics;
mod proxy;
mod respond;
pub mod routes;
pub mod service;

pub use service::{App, AppError, Peer, metrics_router, router};
