//! A scenario as data: what is done, and what both workers are asked afterwards. One step is one line of JSON.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::world::is_server;
use crate::row::{Row, get, post};

/// `<name>` stands for an id that an earlier act kept; who refers to one that does not exist is left out. That is how a
/// scenario still has a meaning when steps are taken out of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its number in the scenario that it was made for: `<t7>` is the position after step 7.
    pub number: usize,
    /// Done at the same time, so that their events fork the room's history.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_once: bool,
    /// The device that waits in a long-poll of both workers meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<String>,
    pub acts: Vec<Act>,
    pub asks: Vec<Ask>,
}

/// A request to the main process, or to Myelin. It may be refused: then nothing has happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// A device, or a server.
    pub by: String,
    /// Of a server: `JOIN` or `EVENT`.
    pub method: String,
    /// Below `/_matrix/client/`; of a server, the room.
    pub path: String,
    pub body: Value,
    /// Strings of the answer that get a name: `(name, JSON pointer)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<(String, String)>,
    /// To Myelin, which does it or passes it on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_myelin: bool,
}

/// A request to both workers: GET, or POST if it has a body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// As a row of the table is named, because of `allowed-differences.toml`.
    pub name: String,
    pub by: String,
    /// Below `/_matrix/client/`, unless it begins with a slash.
    pub path: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<(String, String)>,
    /// Spoiled on purpose: Myelin may leave the answer to the fallback.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub odd: bool,
}

impl Act {
    pub fn new(by: &str, method: &str, path: impl Into<String>, body: Value) -> Self {
        let (by, method) = (by.to_owned(), method.to_owned());
        Self { by, method, path: path.into(), body, keep: Vec::new(), at_myelin: false }
    }

    pub fn keep(mut self, name: &str, pointer: &str) -> Self {
        self.keep.push((name.to_owned(), pointer.to_owned()));
        self
    }
}

impl Ask {
    pub fn new(name: &str, by: &str, path: impl Into<String>) -> Self {
        let (name, by) = (name.to_owned(), by.to_owned());
        Self { name, by, path: path.into(), query: Vec::new(), body: None, keep: None, odd: false }
    }

    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    pub fn row(&self) -> Row {
        let api = if is_server(&self.by) { "federation" } else { "client" };
        let below = format!("/_matrix/{api}/{}", self.path);
        let path = if self.path.starts_with('/') { self.path.clone() } else { below };
        let row = match &self.body {
            Some(body) => post(&self.name, &path).json(body),
            None => get(&self.name, &path),
        };
        let row = if is_server(&self.by) { row.signed(&self.by) } else { row.by(&self.by) };
        let row = self.query.iter().fold(row, |row, (name, value)| row.query(name, value));
        match &self.keep {
            Some((name, pointer)) => row.keep(name, pointer),
            None => row,
        }
    }
}

pub fn write(steps: &[Step]) -> Result<String> {
    let lines = steps.iter().map(|step| Ok(serde_json::to_string(step)? + "\n"));
    lines.collect::<Result<String>>()
}

pub fn read(text: &str) -> Result<Vec<Step>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| serde_json::from_str(line).with_context(|| format!("not a step: {line}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{generate, servers};

    #[test]
    fn what_is_written_can_be_read() {
        for step in [generate::step, servers::step] {
            let steps = generate::generate(1, 60, step);
            assert_eq!(steps.len(), 60);
            assert_eq!(read(&write(&steps).unwrap()).unwrap(), steps);
        }
    }
}
