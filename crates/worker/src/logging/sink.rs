//! Where log lines go. Answers to the handlers of `logging` and `logging.handlers`.

use std::fs::{File, OpenOptions};
use std::io::{Result, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::format::{date, since_epoch};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    Never,
    /// `RotatingFileHandler`; a maximum of 0 bytes means never.
    Size {
        max: u64,
        backups: u64,
    },
    /// `TimedRotatingFileHandler`
    Time {
        every: Duration,
        backups: u64,
    },
}

/// `when` and `interval` as a time. Weekdays are weeks; the day of the week itself is not kept.
pub fn period(when: &str, interval: u64) -> Duration {
    let seconds = match when.chars().next() {
        Some('S') => 1,
        // `MIDNIGHT`, which begins with an M too, is a day.
        Some('M') if when == "M" => 60,
        Some('H') => 3600,
        Some('W') => 7 * 86_400,
        _ => 86_400,
    };
    Duration::from_secs(seconds * interval.max(1))
}

#[derive(Debug)]
pub enum Sink {
    Stdout,
    Stderr,
    File(Mutex<LogFile>),
}

impl Sink {
    pub fn stdout() -> Self {
        Self::Stdout
    }

    pub fn stderr() -> Self {
        Self::Stderr
    }

    pub fn file(path: &Path, rotation: Rotation) -> Result<Self> {
        Ok(Self::File(Mutex::new(LogFile::open(path.to_owned(), rotation)?)))
    }

    /// A line that cannot be written is lost; there is nowhere to say so.
    pub fn write(&self, line: &str) {
        let written = match self {
            Self::Stdout => std::io::stdout().lock().write_all(line.as_bytes()),
            Self::Stderr => std::io::stderr().lock().write_all(line.as_bytes()),
            Self::File(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write(line, SystemTime::now()),
        };
        written.unwrap_or_default();
    }
}

#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    size: u64,
    /// Which period the file belongs to.
    period: u64,
}

impl LogFile {
    fn open(path: PathBuf, rotation: Rotation) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let about = file.metadata()?;
        let written = if about.len() > 0 { about.modified()? } else { SystemTime::now() };
        Ok(Self { period: period_of(rotation, written), size: about.len(), path, rotation, file })
    }

    fn write(&mut self, line: &str, now: SystemTime) -> Result<()> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let full = match self.rotation {
            Rotation::Never => false,
            Rotation::Size { max, .. } => max > 0 && self.size > 0 && self.size + length > max,
            Rotation::Time { .. } => period_of(self.rotation, now) != self.period,
        };
        if full {
            self.rotate(now)?;
        }
        self.size += length;
        self.file.write_all(line.as_bytes())
    }

    fn rotate(&mut self, now: SystemTime) -> Result<()> {
        match self.rotation {
            Rotation::Never => {}
            Rotation::Size { backups, .. } => {
                for number in (1..backups).rev() {
                    // One that is not there yet is no failure.
                    std::fs::rename(self.backup(number), self.backup(number + 1)).unwrap_or_default();
                }
                if backups > 0 {
                    std::fs::rename(&self.path, self.backup(1))?;
                } else {
                    self.file.set_len(0)?;
                }
            }
            Rotation::Time { every, backups } => {
                let begun = self.period * every.as_secs().max(1);
                std::fs::rename(&self.path, self.with_suffix(&stamp(begun, every)))?;
                self.remove_old(backups)?;
            }
        }
        *self = Self::open(self.path.clone(), self.rotation)?;
        self.period = period_of(self.rotation, now);
        Ok(())
    }

    fn backup(&self, number: u64) -> PathBuf {
        self.with_suffix(&number.to_string())
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(suffix);
        name.into()
    }

    /// Keeps the newest `backups` files; 0 keeps all. Their stamps sort by time.
    fn remove_old(&self, backups: u64) -> Result<()> {
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else { return Ok(()) };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let prefix = format!("{}.", name.to_string_lossy());
        let mut old: Vec<_> = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        old.retain(|path| {
            let suffix = path.file_name().and_then(|name| name.to_str()?.strip_prefix(&prefix));
            suffix.is_some_and(|suffix| suffix.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'_')))
        });
        old.sort();
        let surplus = if backups == 0 { 0 } else { old.len().saturating_sub(usize::try_from(backups).unwrap_or(0)) };
        old.iter().take(surplus).try_for_each(std::fs::remove_file)
    }
}

fn period_of(rotation: Rotation, time: SystemTime) -> u64 {
    match rotation {
        Rotation::Time { every, .. } => since_epoch(time).as_secs() / every.as_secs().max(1),
        _ => 0,
    }
}

/// `2026-11-20`, or with the time of day when files change more often than daily.
fn stamp(second: u64, every: Duration) -> String {
    let (year, month, day) = date(second / 86_400);
    let time = second % 86_400;
    if every.as_secs() >= 86_400 {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:04}-{month:02}-{day:02}_{:02}-{:02}-{:02}", time / 3600, time / 60 % 60, time % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn rotation_by_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = LogFile::open(path.clone(), Rotation::Size { max: 8, backups: 2 }).unwrap();
        for line in ["one\n", "two\n", "three\n", "four\n", "five\n"] {
            file.write(line, SystemTime::now()).unwrap();
        }
        assert_eq!(names(folder.path()), ["log", "log.1", "log.2"]);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "five\n");
    }

    #[test]
    fn rotation_by_day_keeps_so_many() {
        let folder = tempfile::tempdir().unwrap();
        let rotation = Rotation::Time { every: period("MIDNIGHT", 1), backups: 2 };
        let mut file = LogFile::open(folder.path().join("log"), rotation).unwrap();
        let start = SystemTime::now();
        for day in 0..5 {
            file.write("x\n", start + Duration::from_secs(day * 86_400)).unwrap();
        }
        assert_eq!(names(folder.path()).len(), 3);
        assert_eq!(
            (period("M", 5).as_secs(), period("W0", 1).as_secs(), period("H", 2).as_secs()),
            (300, 604_800, 7200)
        );
    }
}
