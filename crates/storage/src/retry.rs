//! A statement that a lost connection ended is run again on another. Answers to the attempts of `new_transaction` in
//! `synapse/storage/database.py`.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgStatement};
use sqlx::{Error, Execute, Postgres, SqlStr};

use crate::health::is_connection_lost;

/// First words of statements; there are no others here.
const VERBS: [&str; 5] = ["SELECT", "WITH", "INSERT", "UPDATE", "DELETE"];
/// How often one statement is tried, connecting included: for half a minute, as long as a connection is waited for.
const MAX_ATTEMPTS: u32 = 34;
/// Before the second attempt; twice as long before each further one, up to `MAX_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// What can be sent several times.
#[derive(Clone)]
pub(crate) struct Statement {
    sql: SqlStr,
    arguments: Option<PgArguments>,
    persistent: bool,
    /// The first word, as a metric names it.
    pub verb: &'static str,
    /// It changes nothing, or nothing more the second time; an INSERT may have been done before the connection broke.
    pub may_run_again: bool,
}

impl Statement {
    pub fn of<'q>(mut query: impl Execute<'q, Postgres>) -> Result<Self, Error> {
        let arguments = query.take_arguments().map_err(Error::Encode)?;
        let persistent = query.persistent();
        let sql = query.sql();
        let verb = verb(sql.as_str());
        Ok(Self { sql, arguments, persistent, verb, may_run_again: verb != "INSERT" })
    }
}

fn verb(sql: &str) -> &'static str {
    let first = sql.split_whitespace().next().unwrap_or_default();
    VERBS.into_iter().find(|verb| first.eq_ignore_ascii_case(verb)).unwrap_or("other")
}

impl Execute<'_, Postgres> for Statement {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&PgStatement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, sqlx::error::BoxDynError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

/// Those of one statement.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    failed: u32,
}

impl Attempts {
    /// What to wait before the next attempt, unless it is the first.
    pub fn pause(&self) -> Option<Duration> {
        let doublings = self.failed.checked_sub(1)?;
        Some(FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(MAX_PAUSE))
    }

    /// Whether this ended in a way that another attempt may mend.
    pub fn try_again<T>(&mut self, result: &Result<T, Error>) -> bool {
        let lost = result.as_ref().err().is_some_and(is_connection_lost);
        self.failed += u32::from(lost);
        lost && self.failed < MAX_ATTEMPTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lost_connections_are_tried_again_and_not_for_ever() {
        let mut attempts = Attempts::default();
        assert!(!attempts.try_again(&Ok(())));
        assert!(!attempts.try_again::<()>(&Err(Error::RowNotFound)));
        assert!(!attempts.try_again::<()>(&Err(Error::PoolTimedOut)));
        assert_eq!(attempts.pause(), None);
        let lost = || Err::<(), _>(Error::Io(std::io::ErrorKind::ConnectionReset.into()));
        let mut pauses = Duration::ZERO;
        while attempts.try_again(&lost()) {
            pauses += attempts.pause().unwrap();
        }
        assert_eq!((attempts.failed, pauses), (MAX_ATTEMPTS, Duration::from_millis(30_500)));
    }

    #[test]
    fn what_may_run_again() {
        let may = |sql: &'static str| Statement::of(sqlx::query(sql)).unwrap().may_run_again;
        assert!(may("SELECT 1") && may(" WITH x AS (SELECT 1) SELECT 1") && may("DELETE FROM t"));
        assert!(!may("INSERT INTO t VALUES (1)"));
    }
}
