//! What a scalar means. Answers to PyYAML's `resolver.py` and `constructor.py` (`SafeLoader`).

use std::sync::LazyLock;

use regex::Regex;
use saphyr_parser::Tag;
use serde_json::{Number, Value};

/// Integers of YAML 1.1: binary, octal, decimal, hexadecimal and sexagesimal.
static INTEGER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^[-+]?(0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*(:[0-5]?[0-9])+)$").ok()
});

/// Floats of YAML 1.1: a dot is required and an exponent needs its sign, so that `1e3` is text.
static FLOAT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^([-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?",
        r"|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$",
    ))
    .ok()
});

fn is_match(pattern: &LazyLock<Option<Regex>>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

/// The value of a scalar; `Err` is PyYAML's complaint.
pub fn resolve(text: &str, plain: bool, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return Ok(if plain { plain_value(text) } else { Value::String(text.to_owned()) });
    };
    let name = format!("{}{}", tag.handle, tag.suffix);
    let wrong = || format!("{text:?} is not a value of {name}");
    match name.as_str() {
        "!" | "tag:yaml.org,2002:str" => Ok(Value::String(text.to_owned())),
        "tag:yaml.org,2002:null" => Ok(Value::Null),
        "tag:yaml.org,2002:bool" => boolean(&text.to_lowercase()).map(Value::Bool).ok_or_else(wrong),
        "tag:yaml.org,2002:int" => integer(text).map(Value::Number).ok_or_else(wrong),
        "tag:yaml.org,2002:float" => float(text).map(float_value).ok_or_else(wrong),
        _ => Err(format!("could not determine a constructor for the tag {name}")),
    }
}

fn plain_value(text: &str) -> Value {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    // The resolver knows three spellings of each word: yes, Yes, YES; mixed case is text.
    let lower = text.to_lowercase();
    let capitalised = text.chars().next().is_some_and(char::is_uppercase) && text.get(1..) == lower.get(1..);
    if (text == lower || capitalised || text == text.to_uppercase())
        && let Some(value) = boolean(&lower)
    {
        return Value::Bool(value);
    }
    if is_match(&INTEGER, text)
        && let Some(number) = integer(text)
    {
        return Value::Number(number);
    }
    if is_match(&FLOAT, text)
        && let Some(number) = float(text)
    {
        return float_value(number);
    }
    Value::String(text.to_owned())
}

fn boolean(lower: &str) -> Option<bool> {
    match lower {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

fn unsigned(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn integer(text: &str) -> Option<Number> {
    let text = text.replace('_', "");
    let (negative, digits) = unsigned(&text);
    let sign = |value: i128| if negative { -value } else { value };
    let value = if digits == "0" {
        0
    } else if let Some(binary) = digits.strip_prefix("0b") {
        sign(i128::from_str_radix(binary, 2).ok()?)
    } else if let Some(hex) = digits.strip_prefix("0x") {
        sign(i128::from_str_radix(hex, 16).ok()?)
    } else if let Some(octal) = digits.strip_prefix('0') {
        sign(i128::from_str_radix(octal, 8).ok()?)
    } else if digits.contains(':') {
        let mut value: i128 = 0;
        for part in digits.split(':') {
            value = value.checked_mul(60)?.checked_add(part.parse().ok()?)?;
        }
        sign(value)
    } else {
        // Python's integers have no bound; serde_json keeps the digits.
        let digits: String = if negative { format!("-{digits}") } else { digits.to_owned() };
        return digits.parse().ok().filter(|number: &Number| !number.is_f64());
    };
    value.to_string().parse().ok()
}

fn float(text: &str) -> Option<f64> {
    let text = text.replace('_', "").to_lowercase();
    let (negative, body) = unsigned(&text);
    let value = match body {
        ".inf" => f64::INFINITY,
        ".nan" => f64::NAN,
        _ if body.contains(':') => {
            let mut value = 0.0;
            for part in body.split(':') {
                value = value * 60.0 + part.parse::<f64>().ok()?;
            }
            value
        }
        _ => body.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}

/// JSON has neither infinity nor NaN; no setting of Synapse takes them, so they become text.
fn float_value(number: f64) -> Value {
    Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
}

/// Keys are text here; Python would keep `1` and `true` as what they are.
pub fn as_key(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
