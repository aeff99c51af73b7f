//! A folder for all that one run writes, gone with it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tempfile::TempDir;

/// How long processes that were killed may still be in the way of removing their folder.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// Every folder there is, for when a signal cuts the normal way short.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

pub struct Folder(TempDir);

impl Folder {
    /// `purpose` is part of its name.
    pub fn new(purpose: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("myelin-{purpose}-")).tempdir()?;
        folders().push(folder.path().to_owned());
        Ok(Self(folder))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        folders().retain(|folder| folder != self.path());
    }
}

fn folders() -> MutexGuard<'static, Vec<PathBuf>> {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn remove_all() {
    let deadline = Instant::now() + PATIENCE;
    for folder in folders().drain(..) {
        while std::fs::remove_dir_all(&folder).is_err() && folder.exists() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
    }
}
