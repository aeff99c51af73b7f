//! JSON in the one form that is signed. Answers to `canonicaljson.encode_canonical_json`, which takes what Python's
//! decoder gives: integers of any size, and floats.

use serde_json::{Map, Number, Value};

/// An infinite number: Python reads `1e999` as one, and cannot write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a number is out of range")]
pub struct NotCanonical;

/// The canonical form of a value.
pub fn encode(value: &Value) -> Result<Vec<u8>, NotCanonical> {
    let mut out = Vec::new();
    write(&mut out, value)?;
    Ok(out)
}

/// The same of an object without some of its keys.
pub fn encode_without(object: &Map<String, Value>, left_out: &[&str]) -> Result<Vec<u8>, NotCanonical> {
    let mut out = Vec::new();
    write_entries(&mut out, object.iter().filter(|(key, _)| !left_out.contains(&key.as_str())))?;
    Ok(out)
}

pub(crate) fn write(out: &mut Vec<u8>, value: &Value) -> Result<(), NotCanonical> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
        Value::Number(number) => {
            let text = python_number(number);
            if text.ends_with("inf") {
                return Err(NotCanonical);
            }
            out.extend_from_slice(text.as_bytes());
        }
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(out, item)?;
            }
            out.push(b']');
        }
        Value::Object(object) => write_entries(out, object.iter())?,
    }
    Ok(())
}

fn write_entries<'a>(
    out: &mut Vec<u8>,
    entries: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Result<(), NotCanonical> {
    // By code point, which is the order of the bytes.
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    out.push(b'{');
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_text(out, key);
        out.push(b':');
        write(out, value)?;
    }
    out.push(b'}');
    Ok(())
}

/// Quoted, with no more escapes than JSON demands.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    // A text in memory can always be written into memory.
    let _ = serde_json::to_writer(out, text);
}

/// A number as Python prints it.
pub fn python_number(number: &Number) -> String {
    let text = number.to_string();
    if !text.contains(['.', 'e', 'E']) {
        return if text == "-0" { "0".to_owned() } else { text };
    }
    let value: f64 = text.parse().unwrap_or(f64::NAN);
    if value.is_infinite() {
        return if value > 0.0 { "inf".to_owned() } else { "-inf".to_owned() };
    }
    // The shortest digits that mean the same number, as both languages print them.
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        let value: Value = serde_json::from_str(text).unwrap();
        encode(&value).map_or_else(|error| error.to_string(), |bytes| String::from_utf8(bytes).unwrap())
    }

    /// The right sides were printed by `encode_canonical_json(json.loads(…))`.
    #[test]
    fn as_python_encodes_it() {
        for (text, expected) in [
            (r#"{"b": 1, "a": [true, null, ""], "a\u0000": {}}"#, r#"{"a":[true,null,""],"a\u0000":{},"b":1}"#),
            (r#"{"日": 1, "本": 2, "z": 3, "😀": 4, "": 5}"#, "{\"\":5,\"z\":3,\"日\":1,\"本\":2,\"😀\":4}"),
            (r#""\u00e9\u2028\u007f\u001f\b\f\n\r\t\"\\\/""#, "\"é\u{2028}\u{7f}\\u001f\\b\\f\\n\\r\\t\\\"\\\\/\""),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("[-0, -0.0, 1.0, 1e3, 1E16, 1.5e-7, 0.0001]", "[0,-0.0,1.0,1000.0,1e+16,1.5e-07,0.0001]"),
            ("[9007199254740993.0, 1e22, 123456789.123456789]", "[9007199254740992.0,1e+22,123456789.12345679]"),
            (r#"{"a": 1, "a": 2}"#, r#"{"a":2}"#),
            ("[1e999]", "a number is out of range"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }
}
