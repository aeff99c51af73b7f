//! The HTTP surface: routes, answers, errors, the fallback, metrics and the access log.
//!
//! Architecture invariant: no SQL and no Redis here.

mod access_log;
mod body;
mod call;
mod federation;
mod metrics;
mod native;
mod proxy;
mod query;
mod respond;
pub mod routes;
mod service;
mod token;
mod tracked;

pub use metrics::Metrics;
pub use service::{App, AppError, Peer, metrics_router, router};
