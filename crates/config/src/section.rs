//! Typed access to one mapping of the configuration. Every complaint names file, key and reason.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::error::ConfigError;

type Result<T> = std::result::Result<T, ConfigError>;

/// A mapping and where it stands. A missing or null mapping reads as an empty one.
pub struct Section<'a> {
    value: &'a Value,
    origins: &'a HashMap<String, PathBuf>,
    path: String,
}

impl<'a> Section<'a> {
    pub fn root(value: &'a Value, origins: &'a HashMap<String, PathBuf>) -> Self {
        Self { value, origins, path: String::new() }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// File and key, as complaints begin.
    pub fn place(&self) -> String {
        match self.origins.get(top(&self.path)) {
            Some(file) => format!("{}: {}", file.display(), self.path),
            None => self.path.clone(),
        }
    }

    /// A complaint about one key.
    pub fn fault(&self, key: &str, reason: impl Into<String>) -> ConfigError {
        let key = self.path_of(key);
        match self.origins.get(top(&key)) {
            Some(file) => ConfigError::Key { file: file.clone(), key, reason: reason.into() },
            None => ConfigError::Missing { key, reason: reason.into() },
        }
    }

    /// The path of a file that must be there.
    pub fn file(&self, key: &str) -> Result<Option<PathBuf>> {
        let Some(path) = self.text(key)? else { return Ok(None) };
        match std::fs::File::open(&path) {
            Ok(_) => Ok(Some(path.into())),
            Err(error) => Err(self.fault(key, format!("cannot read {path}: {error}"))),
        }
    }

    /// The value, unless it is missing or null.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.value.get(key).filter(|value| !value.is_null())
    }

    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.value.as_object().into_iter().flatten().map(|(key, _)| key.as_str())
    }

    pub fn section(&self, key: &str) -> Result<Section<'a>> {
        static EMPTY: Value = Value::Null;
        let value = self.get(key).unwrap_or(&EMPTY);
        if !value.is_null() && !value.is_object() {
            return Err(self.fault(key, "must be a mapping"));
        }
        Ok(Section { value, origins: self.origins, path: self.path_of(key) })
    }

    /// A list of mappings.
    pub fn sections(&self, key: &str) -> Result<Vec<Section<'a>>> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let Some(items) = value.as_array() else { return Err(self.fault(key, "must be a list")) };
        let mut sections = Vec::with_capacity(items.len());
        for (index, value) in items.iter().enumerate() {
            let path = format!("{}[{index}]", self.path_of(key));
            if !value.is_object() {
                return Err(self.fault(&format!("{key}[{index}]"), "must be a mapping"));
            }
            sections.push(Section { value, origins: self.origins, path });
        }
        Ok(sections)
    }

    pub fn text(&self, key: &str) -> Result<Option<String>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            // A password of digits is read as a number; libpq and Redis want its text.
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(self.fault(key, "must be a string")),
        }
    }

    pub fn text_or(&self, key: &str, default: &str) -> Result<String> {
        Ok(self.text(key)?.unwrap_or_else(|| default.to_owned()))
    }

    pub fn required_text(&self, key: &str) -> Result<String> {
        self.text(key)?.ok_or_else(|| self.fault(key, "is required"))
    }

    /// A secret given directly or by the path of a file that holds it.
    pub fn secret(&self, key: &str) -> Result<Option<String>> {
        let path_key = format!("{key}_path");
        let (direct, path) = (self.text(key)?, self.text(&path_key)?);
        match (direct, path) {
            (Some(_), Some(_)) => Err(self.fault(&path_key, format!("cannot be set together with {key}"))),
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) => Ok(Some(text.trim().to_owned())),
                Err(error) => Err(self.fault(&path_key, format!("cannot read {path}: {error}"))),
            },
            (direct, None) => Ok(direct),
        }
    }

    /// Python's truth, as most of Synapse's switches are read: 'true', 1 and a non-empty text are true.
    pub fn flag(&self, key: &str, default: bool) -> bool {
        self.get(key).map_or(default, truthy)
    }

    pub fn integer(&self, key: &str) -> Result<Option<i64>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {
                number.as_i64().map(Some).ok_or_else(|| self.fault(key, "is out of range"))
            }
            Some(Value::String(text)) => {
                text.trim().parse().map(Some).map_err(|_| self.fault(key, "must be an integer"))
            }
            Some(_) => Err(self.fault(key, "must be an integer")),
        }
    }

    /// A number; Synapse takes no text for one here.
    pub fn port(&self, key: &str) -> Result<Option<u16>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let port = value.as_u64().and_then(|number| u16::try_from(number).ok());
        port.map(Some).ok_or_else(|| self.fault(key, "must be a port number"))
    }

    pub fn float_or(&self, key: &str, default: f64) -> Result<f64> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Number(number)) => number.as_f64().ok_or_else(|| self.fault(key, "is out of range")),
            Some(_) => Err(self.fault(key, "must be a number")),
        }
    }

    /// Milliseconds: an integer, or digits with one of s m h d w y (y is 365 days).
    pub fn duration_ms(&self, key: &str, default: i64) -> Result<i64> {
        const UNITS: [(&str, i64); 6] = [
            ("s", 1_000),
            ("m", 60_000),
            ("h", 3_600_000),
            ("d", 86_400_000),
            ("w", 604_800_000),
            ("y", 31_536_000_000),
        ];
        self.scaled(key, default, &UNITS, "must be a duration such as 30s, 5m or 2d")
    }

    /// Bytes or a count: an integer, or digits with one of K M G T.
    pub fn size(&self, key: &str, default: i64) -> Result<i64> {
        const UNITS: [(&str, i64); 4] = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];
        self.scaled(key, default, &UNITS, "must be a size such as 10K or 50M")
    }

    fn scaled(&self, key: &str, default: i64, units: &[(&str, i64)], expected: &str) -> Result<i64> {
        let fault = || self.fault(key, expected);
        match self.get(key) {
            None => Ok(default),
            Some(Value::Number(number)) => number.as_i64().ok_or_else(fault),
            Some(Value::String(text)) => {
                let unit = units.iter().find(|(suffix, _)| text.ends_with(suffix));
                let (digits, scale) =
                    unit.map_or((text.as_str(), 1), |(suffix, scale)| (&text[..text.len() - suffix.len()], *scale));
                let number: i64 = digits.trim().parse().map_err(|_| fault())?;
                number.checked_mul(scale).ok_or_else(fault)
            }
            Some(_) => Err(fault()),
        }
    }

    /// A list of strings, or one string standing for a list of itself.
    pub fn texts(&self, key: &str) -> Result<Vec<String>> {
        let fault = || self.fault(key, "must be a list of strings");
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text.clone()]),
            Some(Value::Array(items)) => {
                items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(fault)).collect()
            }
            Some(_) => Err(fault()),
        }
    }
}

/// The key of the whole document that a path begins with.
fn top(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or_default()
}

/// Python's truth.
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}
