//! Throw-away services for tests, the demo and benchmarks: the real Synapse, Postgres, Redis and nginx.

pub mod packages;
pub mod python;
