//! Throw-away services for tests, the demo and benchmarks: the real Synapse, Postgres, Redis, nginx and haproxy.

pub mod certificate;
pub mod clock;
pub mod database;
pub mod folder;
pub mod haproxy;
pub mod http;
pub mod nginx;
pub mod packages;
pub mod postgres;
pub mod process;
pub mod program;
pub mod proxy;
pub mod python;
pub mod redis;
pub mod relay;
pub mod synapse;
pub mod writers;
