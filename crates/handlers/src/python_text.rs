//! JSON values as Python prints them, for errors that quote what a client sent. Answers to `repr` and
//! `pprint.pformat(width=72, sort_dicts=False)`.

use std::fmt::Write as _;

use myelin_model::canonical_json::python_number;
use serde_json::Value;

const WIDTH: usize = 72;

/// `repr`
pub fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => python_number(number),
        Value::String(text) => repr_text(text),
        Value::Array(items) => format!("[{}]", items.iter().map(repr).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let items: Vec<_> = map.iter().map(|(key, value)| format!("{}: {}", repr_text(key), repr(value))).collect();
            format!("{{{}}}", items.join(", "))
        }
    }
}

pub fn repr_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if is_printable(c) => out.push(c),
            c => {
                let code = u32::from(c);
                // Writing to a String cannot fail.
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
    out
}

/// Controls, separators other than the space, formats and private characters are not; unassigned ones pass as printable.
fn is_printable(c: char) -> bool {
    !(c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{e0001}'..='\u{e007f}' | '\u{f0000}'..='\u{10ffff}'))
}

/// `pformat`
pub fn pretty(value: &Value) -> String {
    let mut out = String::new();
    format(&mut out, value, 0, 0, true);
    out
}

/// `indent`: where the value starts; `allowance`: what must fit behind it.
fn format(out: &mut String, value: &Value, indent: usize, allowance: usize, top: bool) {
    let short = repr(value);
    if short.chars().count() + indent + allowance <= WIDTH {
        out.push_str(&short);
        return;
    }
    let line = format!(",\n{}", " ".repeat(indent + 1));
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                let last = index + 1 == items.len();
                out.push_str(if index == 0 { "" } else { &line });
                format(out, item, indent + 1, if last { allowance + 1 } else { 1 }, false);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                let last = index + 1 == map.len();
                let key = repr_text(key) + ": ";
                out.push_str(if index == 0 { "" } else { &line });
                out.push_str(&key);
                let indent = indent + 1 + key.chars().count();
                format(out, item, indent, if last { allowance + 1 } else { 1 }, false);
            }
            out.push('}');
        }
        Value::String(text) => format_text(out, text, indent, allowance, top),
        _ => out.push_str(&short),
    }
}

/// Long strings are broken between words.
fn format_text(out: &mut String, text: &str, indent: usize, allowance: usize, top: bool) {
    let (indent, allowance) = if top { (indent + 1, allowance + 1) } else { (indent, allowance) };
    let width = WIDTH.saturating_sub(indent);
    let mut chunks: Vec<String> = Vec::new();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for (number, line) in lines.iter().enumerate() {
        let last_line = number + 1 == lines.len();
        let whole = repr_text(line);
        if whole.chars().count() <= width.saturating_sub(if last_line { allowance } else { 0 }) {
            chunks.push(whole);
            continue;
        }
        let words = words(line);
        let mut current = String::new();
        for (index, word) in words.iter().enumerate() {
            let last = last_line && index + 1 == words.len();
            let candidate = format!("{current}{word}");
            if repr_text(&candidate).chars().count() > width.saturating_sub(if last { allowance } else { 0 }) {
                if !current.is_empty() {
                    chunks.push(repr_text(&current));
                }
                (*word).clone_into(&mut current);
            } else {
                current = candidate;
            }
        }
        if !current.is_empty() {
            chunks.push(repr_text(&current));
        }
    }
    let wrap = top && chunks.len() > 1;
    out.push_str(if wrap { "(" } else { "" });
    out.push_str(&chunks.join(&format!("\n{}", " ".repeat(indent))));
    out.push_str(if wrap { ")" } else { "" });
}

/// Each word with the white space behind it.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut in_space) = (0, false);
    for (at, c) in line.char_indices() {
        if in_space && !c.is_whitespace() {
            words.push(&line[start..at]);
            start = at;
        }
        in_space = c.is_whitespace();
    }
    if start < line.len() {
        words.push(&line[start..]);
    }
    words
}
/// A JSON text as `json_encoder` writes what it reads there: no white space, ASCII alone, keys in their order.
pub fn compact_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        if !in_string {
            if !c.is_ascii_whitespace() {
                out.push(c);
            }
            in_string = c == '"';
            continue;
        }
        if c == '/' && escaped {
            out.pop();
        }
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
        in_string = c != '"' || escaped;
        escaped = c == '\\' && !escaped;
    }
    out
}

/// `==`, to which numbers are equal by their value, and truth is a number.
pub(crate) fn python_equal(one: &Value, other: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        Value::Number(number) => {
            let text = python_number(number);
            // 1.0 is 1, and -0.0 is 0.
            let whole = text.strip_suffix(".0").unwrap_or(&text);
            Some(if whole == "-0" { "0".to_owned() } else { whole.to_owned() })
        }
        _ => None,
    };
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| python_equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(key, value)| other.get(key).is_some_and(|other| python_equal(value, other));
            one.len() == other.len() && one.iter().all(same)
        }
        _ => match (number(one), number(other)) {
            (Some(one), Some(other)) => one == other,
            (None, None) => one == other,
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal() {
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        for (one, other) in
            [("[1, {\"a\": true}]", "[1.0, {\"a\": 1}]"), ("-0.0", "0"), ("false", "0"), ("1e3", "1000")]
        {
            assert!(python_equal(&value(one), &value(other)), "{one} {other}");
        }
        for (one, other) in
            [("[1]", "[1, 2]"), ("{\"a\": 1}", "{\"b\": 1}"), ("null", "0"), ("\"1\"", "1"), ("1.5", "1")]
        {
            assert!(!python_equal(&value(one), &value(other)), "{one} {other}");
        }
    }

    #[test]
    fn compact_texts() {
        assert_eq!(
            compact_json(r#" { "z" : [ 1.50 , " a\"\\" ], "é😀\/": null } "#),
            r#"{"z":[1.50," a\"\\"],"\u00e9\ud83d\ude00/":null}"#
        );
    }
}
