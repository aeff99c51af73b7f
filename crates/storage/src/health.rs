//! A database that went away: one warning, connections from before are not used again, the pool waits for its return.
//! Answers to `_noop_dispatch` and the reconnecting of `synapse/storage/database.py`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Error;

/// An idle connection is tried before it is used again: its server may have restarted meanwhile.
pub(crate) const TRUSTED_FOR: Duration = Duration::from_secs(5);

/// Classes of SQLSTATE that end a connection: shutdown, crash, starting up, connection failures.
const FATAL: [&str; 4] = ["57P01", "57P02", "57P03", "57P05"];

#[derive(Debug, Default)]
pub(crate) struct Health {
    loss: Mutex<Loss>,
}

#[derive(Debug, Default)]
struct Loss {
    /// When a statement last found its connection dead.
    at: Option<Instant>,
    told: bool,
}

impl Health {
    /// Learns from how a statement, or the wait for a connection, ended.
    pub(crate) fn note<T>(&self, result: &Result<T, Error>) {
        let lost = result.as_ref().err().filter(|error| is_lost(error));
        let mut loss = self.loss.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = lost {
            loss.at = Some(Instant::now());
            if !std::mem::replace(&mut loss.told, true) {
                tracing::warn!("the database is gone; requests wait for its return: {error}");
            }
        } else if loss.told && result.is_ok() {
            loss.told = false;
            tracing::info!("the database is back");
        }
    }

    /// Whether a connection of this age was made after the last loss.
    pub(crate) fn trusts(&self, age: Duration) -> bool {
        let loss = self.loss.lock().unwrap_or_else(PoisonError::into_inner);
        loss.at.is_none_or(|at| age < at.elapsed())
    }
}

/// Whether the statement may succeed on another connection.
pub(crate) fn is_connection_lost(error: &Error) -> bool {
    is_lost(error) && !matches!(error, Error::PoolTimedOut)
}

fn is_lost(error: &Error) -> bool {
    match error {
        // A proxy that has no server to connect to ends the connection in the middle of the first words.
        Error::Io(_) | Error::Protocol(_) | Error::PoolTimedOut | Error::WorkerCrashed => true,
        Error::Database(error) => error.code().is_some_and(|code| code.starts_with("08") || FATAL.contains(&&*code)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_from_before_a_loss_are_not_trusted() {
        let health = Health::default();
        assert!(health.trusts(Duration::from_mins(1)));
        health.note::<()>(&Err(Error::RowNotFound));
        assert!(health.trusts(Duration::from_mins(1)));
        health.note::<()>(&Err(Error::Io(std::io::ErrorKind::ConnectionReset.into())));
        assert!(!health.trusts(Duration::from_mins(1)));
        std::thread::sleep(Duration::from_millis(2));
        health.note(&Ok(()));
        assert!(!health.trusts(Duration::from_mins(1)) && health.trusts(Duration::ZERO));
    }
}
