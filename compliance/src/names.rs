//! What the seed made, by name: `<@alice>`, `<general>`, `<general:first>` stand for ids in rows.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    pub fn get(&self, name: &str) -> Result<&str> {
        self.0.get(name).map(String::as_str).with_context(|| format!("the seed has no <{name}>"))
    }

    /// (name, id)
    pub fn rooms(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.iter().map(|(name, id)| (name.as_str(), id.as_str()));
        all.filter(|(_, id)| id.starts_with('!'))
    }

    /// (rest of the name, value)
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// Replaces each `<name>`.
    pub fn fill(&self, template: &str) -> Result<String> {
        self.replace(template, ToOwned::to_owned)
    }

    /// Replaces each `<name>` by its percent-encoded value.
    pub fn fill_url(&self, template: &str) -> Result<String> {
        self.replace(template, encode)
    }

    fn replace(&self, template: &str, form: impl Fn(&str) -> String) -> Result<String> {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('<') {
            let (name, after) = after.split_once('>').with_context(|| format!("an unclosed < in {template}"))?;
            out.push_str(before);
            out.push_str(&form(self.get(name)?));
            rest = after;
        }
        Ok(out + rest)
    }

    /// For readers of a report: ids become names again.
    pub fn unfill(&self, text: &str) -> String {
        let ids = self.0.iter().filter(|(_, id)| id.len() > 6);
        ids.fold(text.to_owned(), |text, (name, id)| text.replace(id.as_str(), &format!("<{name}>")))
    }
}

pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_unknown_ones_are_errors() {
        let mut names = Names::default();
        names.set("room", "!a:b.test");
        assert_eq!(names.fill("x<room>y").unwrap(), "x!a:b.testy");
        assert_eq!(names.fill_url("/<room>/").unwrap(), "/%21a%3Ab.test/");
        assert!(names.fill("<moor>").is_err());
        assert_eq!(names.unfill("in !a:b.test"), "in <room>");
    }
}
