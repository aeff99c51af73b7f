//! Parameters of the query string, with Synapse's texts for each mistake. Answers to `synapse/http/servlet.py`.

use myelin_model::MatrixError;
use percent_encoding::percent_decode;
use serde_json::Value;

use crate::body;

/// The query string as Twisted splits it: by `&` and `;`, items without `=` are dropped.
#[derive(Clone, Debug, Default)]
pub struct Query {
    items: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Query {
    pub fn parse(text: &str) -> Self {
        let items = text.split(['&', ';']).filter_map(|item| item.split_once('='));
        Self { items: items.map(|(name, value)| (unquote_plus(name), unquote_plus(value))).collect() }
    }

    pub fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// Whether every name and every first value is text.
    pub fn is_utf8(&self) -> bool {
        let is_text = |bytes: &[u8]| str::from_utf8(bytes).is_ok();
        self.items.iter().all(|(name, _)| {
            is_text(name) && str::from_utf8(name).is_ok_and(|name| self.first(name).is_some_and(is_text))
        })
    }

    /// The first value wins when a parameter is repeated.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.items.iter().find(|(known, _)| known == name.as_bytes()).map(|(_, value)| value.as_slice())
    }

    /// `parse_integer`: what Python's `int` takes, and not below zero.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, MatrixError> {
        let Some(value) = self.first(name) else { return Ok(None) };
        let value = python_int(value)
            .ok_or_else(|| MatrixError::invalid_param(format!("Query parameter {name} must be an integer")))?;
        if value < 0 {
            let error = format!("Query parameter {name} must be a positive integer.");
            return Err(MatrixError::invalid_param(error));
        }
        Ok(Some(value))
    }

    pub fn required_integer(&self, name: &str) -> Result<i64, MatrixError> {
        self.integer(name)?
            .ok_or_else(|| MatrixError::missing_param(format!("Missing required integer query parameter {name}")))
    }

    /// `parse_boolean`
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, MatrixError> {
        match self.first(name) {
            None => Ok(None),
            Some(b"true") => Ok(Some(true)),
            Some(b"false") => Ok(Some(false)),
            Some(_) => {
                let error = format!("Boolean query parameter '{name}' must be one of ['true', 'false']");
                Err(MatrixError::invalid_param(error))
            }
        }
    }

    /// `parse_string` with its default encoding, ASCII.
    pub fn string(&self, name: &str) -> Result<Option<&str>, MatrixError> {
        let ascii = self.first(name).map(|value| str::from_utf8(value).ok().filter(|text| text.is_ascii()));
        match ascii {
            None => Ok(None),
            Some(Some(text)) => Ok(Some(text)),
            Some(None) => Err(MatrixError::unknown(400, format!("Query parameter '{name}' must be ascii"))),
        }
    }

    /// `parse_strings_from_args`: every value of the parameter.
    pub fn strings(&self, name: &str) -> Result<Vec<&str>, MatrixError> {
        let values = self.items.iter().filter(|(known, _)| known == name.as_bytes());
        let error = || MatrixError::unknown(400, format!("Query parameter '{name}' must be ascii"));
        values.map(|(_, value)| str::from_utf8(value).ok().filter(|text| text.is_ascii()).ok_or_else(error)).collect()
    }

    /// `parse_string(encoding="utf-8")`
    pub fn utf8_string(&self, name: &str) -> Result<Option<&str>, MatrixError> {
        let error = |_| MatrixError::unknown(400, format!("Query parameter '{name}' must be utf-8"));
        self.first(name).map(|value| str::from_utf8(value).map_err(error)).transpose()
    }

    pub fn required_string(&self, name: &str) -> Result<&str, MatrixError> {
        let error = || MatrixError::missing_param(format!("Missing string query parameter '{name}'"));
        self.string(name)?.ok_or_else(error)
    }

    /// `parse_string(allowed_values=…)`
    pub fn one_of(&self, name: &str, allowed: &[&str]) -> Result<Option<&str>, MatrixError> {
        let Some(value) = self.string(name)? else { return Ok(None) };
        if allowed.contains(&value) {
            return Ok(Some(value));
        }
        let list: Vec<_> = allowed.iter().map(|value| format!("'{value}'")).collect();
        let error = format!("Query parameter '{name}' must be one of [{}]", list.join(", "));
        Err(MatrixError::invalid_param(error))
    }

    /// `parse_json(encoding="utf-8")`. Synapse: the value is percent-decoded a second time.
    pub fn json(&self, name: &str) -> Result<Option<Value>, MatrixError> {
        let Some(text) = self.utf8_string(name)? else { return Ok(None) };
        let text = percent_decode(text.as_bytes()).decode_utf8_lossy();
        let error = || MatrixError::not_json(format!("Query parameter {name} must be a valid JSON object"));
        body::python_json(&text).map(Some).ok_or_else(error)
    }
}

fn unquote_plus(text: &str) -> Vec<u8> {
    percent_decode(text.replace('+', " ").as_bytes()).collect()
}

/// Python's `int(bytes)`: surrounding white space, a sign, single underscores between digits. Values beyond
/// 64 bits are clamped; no parameter means anything there.
pub(crate) fn python_int(text: &[u8]) -> Option<i64> {
    let text = str::from_utf8(text).ok()?;
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if digits.split('_').any(|group| group.is_empty() || !group.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let value = digits.replace('_', "").parse().unwrap_or(i64::MAX);
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<T: std::fmt::Debug>(result: Result<T, MatrixError>) -> String {
        let error = result.unwrap_err();
        format!("{} {} {}", error.status, error.errcode, error.error)
    }

    #[test]
    fn the_first_value_wins_and_both_separators_count() {
        let query = Query::parse("a=1&a=2;b=x+y%21&flag&empty=&access%5Ftoken=t");
        assert_eq!(query.integer("a").unwrap(), Some(1));
        assert_eq!(query.string("b").unwrap(), Some("x y!"));
        assert!(!query.has("flag"));
        assert_eq!(query.string("empty").unwrap(), Some(""));
        assert_eq!(query.first("access_token"), Some(&b"t"[..]));
    }

    #[test]
    fn integers_are_pythons() {
        for (text, value) in [("5", 5), ("+7", 7), (" 1_000\n", 1000), ("007", 7), ("99999999999999999999", i64::MAX)] {
            assert_eq!(python_int(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["", "a", "1.0", "_1", "1_", "1__0", "--1", "0x1", "１"] {
            assert_eq!(python_int(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn texts_of_the_errors() {
        let query = Query::parse("timeout=abc&limit=-5&full_state=1&dir=q&name=%C3%A4&filter=%7Bx");
        assert_eq!(error(query.integer("timeout")), "400 M_INVALID_PARAM Query parameter timeout must be an integer");
        assert_eq!(
            error(query.integer("limit")),
            "400 M_INVALID_PARAM Query parameter limit must be a positive integer."
        );
        assert_eq!(
            error(query.required_integer("ts")),
            "400 M_MISSING_PARAM Missing required integer query parameter ts"
        );
        assert_eq!(
            error(query.boolean("full_state")),
            "400 M_INVALID_PARAM Boolean query parameter 'full_state' must be one of ['true', 'false']"
        );
        assert_eq!(
            error(query.one_of("dir", &["b", "f"])),
            "400 M_INVALID_PARAM Query parameter 'dir' must be one of ['b', 'f']"
        );
        assert_eq!(error(query.string("name")), "400 M_UNKNOWN Query parameter 'name' must be ascii");
        assert_eq!(query.utf8_string("name").unwrap(), Some("ä"));
        assert_eq!(error(query.required_string("from")), "400 M_MISSING_PARAM Missing string query parameter 'from'");
        assert_eq!(error(query.json("filter")), "400 M_NOT_JSON Query parameter filter must be a valid JSON object");
    }
}
