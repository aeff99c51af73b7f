//! What can go wrong with the database. Answers to `synapse/storage/engines/` and `StoreError`.

use std::sync::Arc;

/// At run time `Driver` means "wait and retry"; the others mean that somebody must look.
///
/// Cheap to clone, because one load may fail for many callers.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    #[error("database: {0}")]
    Driver(Arc<sqlx::Error>),
    /// A row holds something that Synapse never writes.
    #[error("database is inconsistent: {table}.{column} of row {row}")]
    Inconsistency { table: &'static str, column: &'static str, row: String },
    /// `databases` or `database` asks for something that cannot be done.
    #[error("{place}.{key}: {reason}")]
    Setting { place: String, key: String, reason: String },
    /// This database cannot be served correctly.
    #[error("database {label}: {reason}")]
    Refused { label: String, reason: String },
    #[error("metrics: {0}")]
    Metrics(Arc<prometheus::Error>),
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(Arc::new(error))
    }
}

impl From<prometheus::Error> for StorageError {
    fn from(error: prometheus::Error) -> Self {
        Self::Metrics(Arc::new(error))
    }
}

impl StorageError {
    /// A parameter that no column can hold (SQLSTATE `character_not_in_repertoire`): the fault of who asked.
    fn is_no_text(&self) -> bool {
        const CHARACTER_NOT_IN_REPERTOIRE: &str = "22021";
        let Self::Driver(error) = self else { return false };
        error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .is_some_and(|code| code == CHARACTER_NOT_IN_REPERTOIRE)
    }

    pub(crate) fn inconsistency(table: &'static str, column: &'static str, row: impl Into<String>) -> Self {
        Self::Inconsistency { table, column, row: row.into() }
    }

    pub(crate) fn refused(label: &str, reason: impl Into<String>) -> Self {
        Self::Refused { label: label.to_owned(), reason: reason.into() }
    }
}

/// The client learns nothing of the database, the log does.
impl From<StorageError> for myelin_model::MatrixError {
    fn from(error: StorageError) -> Self {
        if error.is_no_text() {
            return Self::invalid_param("NUL in a text");
        }
        Self::internal(error)
    }
}
