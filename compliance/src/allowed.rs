//! `allowed-differences.toml`: the only differences between Python and Myelin, each with its reason.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use serde::Deserialize;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Presence and value do not matter.
    Ignore,
    /// What Python remembers too long. Presence does not matter; where both have it, Myelin's may lack keys, or be true
    /// where Python's is false.
    Stale,
    /// An array whose order is that of a Python set.
    Set,
    /// Room state, by type and state key. Of two events of a key, the one before the timeline and the one after it,
    /// Python sends either, by the order of a set; the later one is right. If Python's was made at once with others, the
    /// later one may not be the one that the state after the timeline has.
    State,
    /// Numbers that depend on the moment of the request, or a text with such.
    Near,
    /// Members of a sync that a worker may remember to have sent, and what follows from them; see `chance.rs`.
    Remembered,
    /// As `Remembered`, but only of the room's heroes.
    Heroes,
    /// Users of a sync who come and go at once; see `chance.rs`.
    Newcomers,
    /// Python answers with an error, whose text is `error`, what Myelin answers.
    Refused,
}

impl Rule {
    fn is_of_whole_answers(self) -> bool {
        matches!(self, Self::Remembered | Self::Heroes | Self::Newcomers | Self::Refused)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub rule: Rule,
    /// Segments of a JSON pointer; `*` is any one, `**` any number of them.
    path: String,
    /// Names of rows begin with this.
    #[serde(default)]
    rows: String,
    #[serde(default)]
    pub tolerance: u64,
    /// Of `Set`: how many elements a limit leaves. Which ones are the last within it may then be chance.
    #[serde(default)]
    pub full: usize,
    #[serde(default)]
    pub error: String,
    reason: String,
    /// Only random scenarios come upon it.
    #[serde(default)]
    scenarios_only: bool,
    #[serde(skip)]
    used: AtomicBool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    #[serde(default)]
    difference: Vec<Entry>,
}

impl Allowed {
    pub fn load() -> Result<Self> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("allowed-differences.toml");
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(&text)
    }

    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("allowed-differences.toml")
    }

    pub fn find(&self, row: &str, path: &[String]) -> Option<&Entry> {
        let applies = |entry: &&Entry| {
            // `/a` is one segment, the empty path none.
            let pattern: Vec<_> = entry.path.split('/').skip(1).collect();
            !entry.rule.is_of_whole_answers() && row.starts_with(&entry.rows) && matches(&pattern, path)
        };
        // An entry for these rows goes before one for all.
        self.difference.iter().filter(applies).max_by_key(|entry| entry.rows.len())
    }

    /// An entry of a rule that looks at whole answers.
    pub fn rule(&self, rule: Rule, row: &str) -> Option<&Entry> {
        self.difference.iter().find(|entry| entry.rule == rule && row.starts_with(&entry.rows))
    }

    /// Entries that no answer of the table had a use for are out of date.
    pub fn unused(&self) -> Vec<String> {
        let expected = self.difference.iter().filter(|entry| !entry.scenarios_only);
        let unused = expected.filter(|entry| !entry.used.load(Ordering::Relaxed));
        unused.map(|entry| format!("{} {} ({})", entry.rows, entry.path, entry.reason)).collect()
    }
}

impl Entry {
    /// Used is what applied, whether or not the answers differed this time: sets are sometimes in the same order.
    pub fn mark_used(&self) {
        self.used.store(true, Ordering::Relaxed);
    }
}

fn matches(pattern: &[&str], path: &[String]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => (0..=path.len()).any(|skipped| matches(rest, &path[skipped..])),
        (Some((&wanted, pattern)), Some((found, path))) => (wanted == "*" || wanted == found) && matches(pattern, path),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let path = |text: &str| text.split('/').skip(1).map(ToOwned::to_owned).collect::<Vec<_>>();
        assert!(matches(&["**", "age"], &path("/rooms/0/age")));
        assert!(matches(&["**", "age"], &path("/age")));
        assert!(matches(&["a", "*", "c"], &path("/a/b/c")));
        assert!(!matches(&["a", "*"], &path("/a/b/c")));
        assert!(!matches(&["**", "age"], &path("/age/x")));
    }
}
