//! What a route means: reads the past from `storage`, the present from `live`, and answers.
//!
//! Architecture invariant: no axum types here, and no SQL.
