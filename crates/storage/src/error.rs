//! What can go wrong with the database. Answers to `synapse/storage/engines/` and `StoreError`.

/// At run time `Driver` means "wait and retry"; the others mean that somebody must look.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("database: {0}")]
    Driver(#[from] sqlx::Error),
    /// A row holds something that Synapse never writes.
    #[error("database is inconsistent: {table}.{column} of row {row}")]
    Inconsistency { table: &'static str, column: &'static str, row: String },
    /// `databases` or `database` asks for something that cannot be done.
    #[error("database {label}: {key}: {reason}")]
    Setting { label: String, key: String, reason: String },
    /// This database cannot be served correctly.
    #[error("database {label}: {reason}")]
    Refused { label: String, reason: String },
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl StorageError {
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
        Self::internal(error)
    }
}
