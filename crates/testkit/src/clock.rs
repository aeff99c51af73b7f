//! A clock of the wall that jumps, for single programs: libfaketime.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::packages::find;

pub struct Clock {
    library: String,
    offset: PathBuf,
}

impl Clock {
    /// Right at first; it keeps its file in `folder`.
    pub fn new(folder: &Path) -> Result<Self> {
        let faketime = find("faketime").context("faketime is not installed")?;
        // Where the library for programs with threads is, only its wrapper knows.
        let output = Command::new(faketime).args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"]).output()?;
        ensure!(output.status.success(), "faketime: {}", String::from_utf8_lossy(&output.stderr));
        let library = String::from_utf8(output.stdout)?.trim().to_owned();
        let clock = Self { library, offset: folder.join("clock") };
        clock.jump_to("+0")?;
        Ok(clock)
    }

    /// What a program that is to live by this clock needs in its environment. Its monotonic clock stays as it is.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", self.library.clone()),
            ("FAKETIME_TIMESTAMP_FILE", self.offset.display().to_string()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// How far it is off from now on, such as `+1d` or `-1h`.
    pub fn jump_to(&self, offset: &str) -> Result<()> {
        let new = self.offset.with_extension("new");
        std::fs::write(&new, offset)?;
        Ok(std::fs::rename(new, &self.offset)?)
    }
}
