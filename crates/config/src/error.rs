//! Why a configuration is refused: always the file, the key and the reason.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: {reason}", file.display())]
    File { file: PathBuf, reason: String },
    #[error("{}: {key}: {reason}", file.display())]
    Key { file: PathBuf, key: String, reason: String },
    #[error("{key}: {reason}")]
    Missing { key: String, reason: String },
}
