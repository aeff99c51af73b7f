//! YAML as PyYAML's `safe_load` reads it, into a JSON tree. Synapse's files are YAML 1.1: `yes` is true,
//! `0660` is octal, `<<` merges, and of equal keys the last wins.
//!
//! The scanner is a library's; what a plain scalar means is decided here, because every library
//! follows YAML 1.2.

mod scalar;

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

/// Aliases may repeat a node; a small file must not grow without bound.
const MAX_NODES: usize = 1_000_000;
const MAX_DEPTH: usize = 100;

#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    #[error("{0}")]
    Syntax(#[from] saphyr_parser::ScanError),
    #[error("line {line}: {reason}")]
    Content { line: usize, reason: String },
}

/// The file's one document; an empty file is null.
pub fn load(text: &str) -> Result<Value, YamlError> {
    let mut builder = Builder::default();
    let mut documents = 0;
    // PyYAML accepts a byte order mark.
    for item in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) = item?;
        if matches!(event, Event::DocumentStart(_)) {
            documents += 1;
            if documents > 1 {
                return Err(fault(span, "expected a single document in the stream"));
            }
        }
        builder.take(event, span)?;
    }
    Ok(builder.root.unwrap_or(Value::Null))
}

fn fault(span: Span, reason: impl Into<String>) -> YamlError {
    YamlError::Content { line: span.start.line(), reason: reason.into() }
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Value>,
    root: Option<Value>,
    nodes: usize,
}

struct Open {
    anchor: usize,
    node: Node,
}

enum Node {
    Sequence(Vec<Value>),
    /// Entries in order, merge keys not yet applied; `key` waits for its value.
    Mapping {
        entries: Vec<(Key, Value)>,
        key: Option<Key>,
    },
}

/// `<<` merges only when it is plain: a quoted one is a key.
enum Key {
    Merge,
    Text(String),
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                if plain && text == "<<" && tag.is_none() && self.awaits_key() {
                    return self.set_key(Key::Merge, span);
                }
                let value = scalar::resolve(&text, plain, tag.as_deref()).map_err(|reason| fault(span, reason))?;
                self.node(anchor, value, span)
            }
            Event::SequenceStart(anchor, tag) => self.start(anchor, Node::Sequence(Vec::new()), tag.as_deref(), span),
            Event::MappingStart(anchor, tag) => {
                self.start(anchor, Node::Mapping { entries: Vec::new(), key: None }, tag.as_deref(), span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { anchor, node }) = self.open.pop() else { return Ok(()) };
                let value = match node {
                    Node::Sequence(values) => Value::Array(values),
                    Node::Mapping { entries, .. } => Value::Object(merge(entries).map_err(|r| fault(span, r))?),
                };
                self.node(anchor, value, span)
            }
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().ok_or_else(|| fault(span, "undefined alias"))?;
                self.nodes += count(&value);
                self.node(0, value, span)
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn start(&mut self, anchor: usize, node: Node, tag: Option<&Tag>, span: Span) -> Result<(), YamlError> {
        if let Some(tag) = tag.filter(|tag| !matches!(tag.suffix.as_str(), "map" | "seq" | "omap" | "")) {
            return Err(fault(
                span,
                format!("could not determine a constructor for the tag {}{}", tag.handle, tag.suffix),
            ));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(fault(span, "nested too deeply"));
        }
        if self.awaits_key() {
            return Err(fault(span, "found unhashable key"));
        }
        self.open.push(Open { anchor, node });
        Ok(())
    }

    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { node: Node::Mapping { key: None, .. }, .. }))
    }

    fn set_key(&mut self, new: Key, span: Span) -> Result<(), YamlError> {
        match self.open.last_mut() {
            Some(Open { node: Node::Mapping { key, .. }, .. }) => *key = Some(new),
            _ => return Err(fault(span, "a key outside a mapping")),
        }
        Ok(())
    }

    fn node(&mut self, anchor: usize, value: Value, span: Span) -> Result<(), YamlError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(fault(span, "too large"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        if self.awaits_key() {
            return self.set_key(Key::Text(scalar::as_key(&value)), span);
        }
        match self.open.last_mut().map(|open| &mut open.node) {
            None => self.root = Some(value),
            Some(Node::Sequence(values)) => values.push(value),
            Some(Node::Mapping { entries, key }) => {
                if let Some(key) = key.take() {
                    entries.push((key, value));
                }
            }
        }
        Ok(())
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// Applies `<<`: merged keys come first and are overridden by the mapping's own;
/// of several merged mappings the earlier wins.
fn merge(entries: Vec<(Key, Value)>) -> Result<Map<String, Value>, String> {
    let mut merged = Map::new();
    let mut own = Map::new();
    for (key, value) in entries {
        match (key, value) {
            (Key::Text(key), value) => drop(own.insert(key, value)),
            (Key::Merge, Value::Object(map)) => merged.extend(map),
            (Key::Merge, Value::Array(maps)) => {
                for map in maps.into_iter().rev() {
                    let Value::Object(map) = map else { return Err("expected a mapping for merging".to_owned()) };
                    merged.extend(map);
                }
            }
            (Key::Merge, _) => return Err("expected a mapping or list of mappings for merging".to_owned()),
        }
    }
    merged.extend(own);
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scalars_are_yaml_1_1() {
        let text = "a: yes\nb: No\nc: on\nd: 0660\ne: 1_000\nf: 12:30:45\ng: 1e3\nh: 0o660\ni: '1'\nj: ~\nk:\nl: 1.5\nm: 0x1F\nn: y\no: .5e+1";
        let expected = json!({"a": true, "b": false, "c": true, "d": 432, "e": 1000, "f": 45045, "g": "1e3",
            "h": "0o660", "i": "1", "j": null, "k": null, "l": 1.5, "m": 31, "n": "y", "o": 5.0});
        assert_eq!(load(text).unwrap(), expected);
    }

    #[test]
    fn merges_and_duplicates() {
        let text = "base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\ndup: 1\ndup: 2\nlist: {<<: [{x: 1}, {x: 2, z: 3}]}\nq: {'<<': 1}";
        let expected = json!({"base": {"x": 1, "y": 2}, "use": {"x": 1, "y": 3}, "dup": 2, "list": {"x": 1, "z": 3}, "q": {"<<": 1}});
        assert_eq!(load(text).unwrap(), expected);
    }

    #[test]
    fn what_safe_load_refuses() {
        for text in ["a: !!python/object:os.system x", "a: [1", "? [1]\n: 2", "---\na\n---\nb", "a: *nope"] {
            assert!(load(text).is_err(), "{text}");
        }
    }
}
