//! What other servers ask. Answers to `synapse/federation/`.

pub mod authenticator;
pub mod ratelimit;
