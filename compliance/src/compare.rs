//! Two answers side by side: what differs, as JSON pointers with both values.

use std::collections::BTreeSet;

use myelin_testkit::http::Answer;
use serde_json::{Map, Value};

use crate::allowed::{Allowed, Entry, Rule};
use crate::chance::{self, Asked};

#[derive(Debug)]
pub struct Difference {
    pub path: String,
    pub python: String,
    pub myelin: String,
}

/// Headers of the connection or the moment, not of the answer; and the one that only Myelin sends.
const PASSING: [&str; 5] = ["connection", "content-length", "date", "transfer-encoding", "x-myelin"];

/// Differences between two answers to the question.
pub fn answers(asked: Asked<'_>, allowed: &Allowed, python: &Answer, myelin: &Answer) -> Vec<Difference> {
    let mut comparison = Comparison::new(asked, allowed);
    if let Some(entry) = allowed.rule(Rule::Refused, asked.row)
        && python.status != 200
        && myelin.status == 200
        && python.json().is_ok_and(|json| json["error"] == *entry.error)
    {
        entry.mark_used();
        return Vec::new();
    }
    comparison.at("@status", |it| it.values(&python.status.into(), &myelin.status.into()));
    comparison.at("@headers", |it| it.values(&headers(python), &headers(myelin)));
    match (python.json(), myelin.json()) {
        (Ok(mut python), Ok(mut myelin)) => {
            chance::take_out(asked, allowed, &mut python, &mut myelin);
            comparison.values(&python, &myelin);
        }
        _ => comparison.at("@body", |it| it.values(&text(python), &text(myelin))),
    }
    comparison.found
}

/// Differences between what two answers say.
pub fn values(asked: Asked<'_>, allowed: &Allowed, python: &Value, myelin: &Value) -> Vec<Difference> {
    let mut comparison = Comparison::new(asked, allowed);
    comparison.values(python, myelin);
    comparison.found
}

fn headers(answer: &Answer) -> Value {
    let mut headers = Map::new();
    for (name, value) in answer.headers.iter().filter(|(name, _)| !PASSING.contains(&name.as_str())) {
        let known = headers.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
        known.as_array_mut().into_iter().for_each(|values| values.push(value.as_str().into()));
    }
    headers.into()
}

fn text(answer: &Answer) -> Value {
    String::from_utf8_lossy(&answer.body).into_owned().into()
}

/// Texts that are equal but for the numbers in them.
fn are_near(a: &str, b: &str, tolerance: u64) -> bool {
    let parts = |text: &str| -> Vec<String> {
        let mut parts: Vec<String> = Vec::new();
        for c in text.chars() {
            match parts.last_mut() {
                Some(last) if last.ends_with(|last: char| last.is_ascii_digit()) == c.is_ascii_digit() => last.push(c),
                _ => parts.push(c.to_string()),
            }
        }
        parts
    };
    let (a, b) = (parts(a), parts(b));
    let is_near = |(a, b): (&String, &String)| match (a.parse::<i64>(), b.parse::<i64>()) {
        (Ok(a), Ok(b)) => a.abs_diff(b) <= tolerance,
        _ => a == b,
    };
    a.len() == b.len() && a.iter().zip(&b).all(is_near)
}

struct Comparison<'a> {
    asked: Asked<'a>,
    allowed: &'a Allowed,
    path: Vec<String>,
    found: Vec<Difference>,
}

impl<'a> Comparison<'a> {
    fn new(asked: Asked<'a>, allowed: &'a Allowed) -> Self {
        Self { asked, allowed, path: Vec::new(), found: Vec::new() }
    }

    fn at(&mut self, segment: &str, act: impl FnOnce(&mut Self)) {
        self.path.push(segment.to_owned());
        act(self);
        self.path.pop();
    }

    fn values(&mut self, python: &Value, myelin: &Value) {
        let allowed = self.allowed.find(self.asked.row, &self.path);
        allowed.into_iter().for_each(Entry::mark_used);
        match (allowed.map(|entry| entry.rule), python, myelin) {
            (Some(Rule::Ignore), ..) | (Some(Rule::Stale), Value::Bool(false), Value::Bool(true)) => {}
            (Some(Rule::Set), Value::Array(a), Value::Array(b)) => {
                let (mut a, mut b) = (sorted(a), sorted(b));
                if allowed.is_some_and(|entry| a.len() == entry.full && b.len() == entry.full) {
                    take_cut_off(&mut a, &mut b);
                }
                self.arrays(&a, &b);
            }
            (Some(Rule::State), Value::Array(a), Value::Array(b)) => self.states(a, b),
            (Some(Rule::Near), Value::Number(a), Value::Number(b)) => {
                let tolerance = allowed.map_or(0, |entry| entry.tolerance);
                let (a, b) = (a.as_i64(), b.as_i64());
                if a.zip(b).is_none_or(|(a, b)| a.abs_diff(b) > tolerance) {
                    self.differ(python, myelin);
                }
            }
            (Some(Rule::Near), Value::String(a), Value::String(b)) => {
                if !are_near(a, b, allowed.map_or(0, |entry| entry.tolerance)) {
                    self.differ(python, myelin);
                }
            }
            (Some(Rule::Stale), Value::Object(a), Value::Object(b))
                if b.iter().all(|(key, value)| a.get(key) == Some(value)) => {}
            (_, Value::Object(a), Value::Object(b)) => self.objects(a, b),
            (_, Value::Array(a), Value::Array(b)) => self.arrays(a, b),
            (_, Value::Number(a), Value::Number(b)) if same_number(&a.to_string(), &b.to_string()) => {}
            (_, a, b) if a == b => {}
            _ => self.differ(python, myelin),
        }
    }

    fn objects(&mut self, python: &Map<String, Value>, myelin: &Map<String, Value>) {
        for (key, a) in python {
            self.at(key, |it| match myelin.get(key) {
                Some(b) => it.values(a, b),
                None => it.missing(a.to_string(), "(absent)".to_owned()),
            });
        }
        for (key, b) in myelin.iter().filter(|(key, _)| !python.contains_key(*key)) {
            self.at(key, |it| it.missing("(absent)".to_owned(), b.to_string()));
        }
    }

    fn arrays(&mut self, python: &[Value], myelin: &[Value]) {
        for at in 0..python.len().max(myelin.len()) {
            self.at(&at.to_string(), |it| match (python.get(at), myelin.get(at)) {
                (Some(a), Some(b)) => it.values(a, b),
                (a, b) => {
                    let text = |value: Option<&Value>| value.map_or("(absent)".to_owned(), ToString::to_string);
                    it.missing(text(a), text(b));
                }
            });
        }
    }

    fn states(&mut self, python: &[Value], myelin: &[Value]) {
        let key = |event: &Value| format!("{} {}", event["type"], event["state_key"]);
        let at = |event: &Value| event["origin_server_ts"].as_i64();
        let forked = |event: &Value| {
            let at = at(event).unwrap_or_default();
            self.asked.forked.iter().any(|(from, to)| (*from..=*to).contains(&at))
        };
        let either: Vec<bool> = python.iter().map(forked).collect();
        for (a, either) in python.iter().zip(either) {
            self.at(&key(a), |it| match myelin.iter().find(|b| key(a) == key(b)) {
                Some(b) if a["event_id"] != b["event_id"] && (either || at(a) < at(b)) => {}
                Some(b) => it.values(a, b),
                None => it.missing(a.to_string(), "(absent)".to_owned()),
            });
        }
        for b in myelin.iter().filter(|b| !python.iter().any(|a| key(a) == key(b))) {
            self.at(&key(b), |it| it.missing("(absent)".to_owned(), b.to_string()));
        }
        if python.len() != myelin.len() {
            self.at("length", |it| it.differ(&python.len().into(), &myelin.len().into()));
        }
    }

    fn missing(&mut self, python: String, myelin: String) {
        match self.allowed.find(self.asked.row, &self.path) {
            Some(entry) if matches!(entry.rule, Rule::Ignore | Rule::Stale) => entry.mark_used(),
            _ => self.found.push(Difference { path: self.pointer(), python, myelin }),
        }
    }

    fn differ(&mut self, python: &Value, myelin: &Value) {
        let path = self.pointer();
        self.found.push(Difference { path, python: python.to_string(), myelin: myelin.to_string() });
    }

    fn pointer(&self) -> String {
        self.path.iter().flat_map(|segment| ["/", segment]).collect()
    }
}

/// A whole number and a float are not the same to a client; two spellings of one float are.
fn same_number(a: &str, b: &str) -> bool {
    let is_float = |text: &str| text.contains(['.', 'e', 'E']);
    a == b || (is_float(a) && is_float(b) && a.parse::<f64>().ok() == b.parse::<f64>().ok())
}

fn sorted(values: &[Value]) -> Vec<Value> {
    let mut values = values.to_vec();
    values.sort_by_cached_key(sort_key);
    values
}

/// Takes out what only one of two full lists has, unless that is much. How old an event is does not make it another.
fn take_cut_off(a: &mut Vec<Value>, b: &mut Vec<Value>) {
    let key = |value: &Value| sort_key(value).0;
    let keys = |values: &[Value]| values.iter().map(key).collect::<BTreeSet<_>>();
    let (of_a, of_b) = (keys(a), keys(b));
    if of_a.difference(&of_b).count() <= a.len() / 4 {
        a.retain(|value| of_b.contains(&key(value)));
        b.retain(|value| of_a.contains(&key(value)));
    }
}

/// Not by what depends on the moment: events sort by their id, presence by its user. Of events without ids that are
/// otherwise equal, the younger goes first.
fn sort_key(value: &Value) -> (String, i64) {
    if let Some(id) = value["event_id"].as_str() {
        return (id.to_owned(), 0);
    }
    // A room of an initial sync, whose events have ages, and who types in one.
    let is_of_room = value["visibility"].is_string() || value["type"] == "m.typing";
    if let Some(room_id) = value["room_id"].as_str().filter(|_| is_of_room) {
        return (room_id.to_owned(), 0);
    }
    let kind = value["type"].as_str().filter(|kind| *kind == "m.presence");
    let sender = value["sender"].as_str().or_else(|| value["content"]["user_id"].as_str());
    if let Some((_, sender)) = kind.zip(sender) {
        return (sender.to_owned(), 0);
    }
    let age = value["unsigned"]["age"].as_i64().unwrap_or_default();
    let mut value = value.clone();
    value.as_object_mut().into_iter().for_each(|event| drop(event.remove("unsigned")));
    (value.to_string(), age)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(allowed: &str, python: &Value, myelin: &Value) -> Vec<String> {
        let allowed = Allowed::parse(allowed).unwrap();
        let asked = Asked { row: "a/b", forked: &[(5, 6)], ..Asked::default() };
        values(asked, &allowed, python, myelin).into_iter().map(|found| found.path).collect()
    }

    #[test]
    fn every_difference_is_found() {
        let python = json!({"a": 1, "b": [1, 2], "c": null, "d": {"e": 1}});
        let myelin = json!({"a": 1, "b": [1], "d": {"e": "1"}, "f": 0});
        assert_eq!(paths("", &python, &myelin), ["/b/1", "/c", "/d/e", "/f"]);
    }

    #[test]
    fn numbers() {
        let value = |text: &str| serde_json::from_str(text).unwrap();
        assert!(paths("", &value("1e+16"), &value("1E16")).is_empty());
        assert_eq!(paths("", &value("1.0"), &value("1")), [""]);
        assert_eq!(paths("", &value("123456789012345678901"), &value("123456789012345678902")), [""]);
    }

    #[test]
    fn allowed_differences() {
        let set = "[[difference]]\nrule = 'set'\npath = '/a'\nrows = 'a/'\nreason = 'r'\n";
        assert!(paths(set, &json!({"a": [1, 2]}), &json!({"a": [2, 1]})).is_empty());
        assert_eq!(paths(set, &json!({"a": [1, 2]}), &json!({"a": [2, 2]})), ["/a/0"]);
        let full = format!("{set}full = 4\n");
        assert!(paths(&full, &json!({"a": [1, 2, 3, 4]}), &json!({"a": [4, 5, 2, 3]})).is_empty());
        assert_eq!(paths(&full, &json!({"a": [1, 2, 3, 4]}), &json!({"a": [1, 2, 5, 6]})), ["/a/2", "/a/3"]);
        assert_eq!(paths(&full, &json!({"a": [1, 2, 3]}), &json!({"a": [1, 2, 4]})), ["/a/2"]);
        let events = |kinds: [&str; 4], age: i64| {
            let event = |kind| json!({"type": kind, "unsigned": {"age": age}});
            json!({ "a": kinds.map(event) })
        };
        let near = format!("{full}[[difference]]\nrule = 'near'\npath = '/**/age'\ntolerance = 9\nreason = 'r'\n");
        assert!(paths(&near, &events(["a", "b", "c", "d"], 1), &events(["e", "d", "c", "b"], 2)).is_empty());
        let state = "[[difference]]\nrule = 'state'\npath = '/a'\nreason = 'r'\n";
        let event = |id: &str, ts: u32| json!({"type": "t", "state_key": "", "event_id": id, "origin_server_ts": ts});
        assert!(paths(state, &json!({"a": [event("$1", 1)]}), &json!({"a": [event("$2", 2)]})).is_empty());
        let older = paths(state, &json!({"a": [event("$2", 2)]}), &json!({"a": [event("$1", 1)]}));
        assert_eq!(older, ["/a/\"t\" \"\"/event_id", "/a/\"t\" \"\"/origin_server_ts"]);
        assert!(paths(state, &json!({"a": [event("$2", 5)]}), &json!({"a": [event("$1", 1)]})).is_empty());
        let near = "[[difference]]\nrule = 'near'\npath = '/**/age'\ntolerance = 5\nreason = 'r'\n";
        assert!(paths(near, &json!([{"age": 1}]), &json!([{"age": 6}])).is_empty());
        assert_eq!(paths(near, &json!([{"age": 1}]), &json!([{"age": 7}])), ["/0/age"]);
        let ignore = "[[difference]]\nrule = 'ignore'\npath = '/x'\nreason = 'r'\n";
        assert!(paths(ignore, &json!({"x": 1}), &json!({})).is_empty());
        assert!(paths(ignore, &json!({"x": {"a": 1}}), &json!({"x": {"b": 1}})).is_empty());
        let stale = "[[difference]]\nrule = 'stale'\npath = '/x'\nreason = 'r'\n";
        assert!(paths(stale, &json!({"x": {"a": 1}}), &json!({"x": {}})).is_empty());
        assert!(paths(stale, &json!({"x": {"a": 1}}), &json!({})).is_empty());
        assert_eq!(paths(stale, &json!({"x": {"a": 1}}), &json!({"x": {"a": 2}})), ["/x/a"]);
        assert!(paths(stale, &json!({"x": false}), &json!({"x": true})).is_empty());
        assert_eq!(paths(stale, &json!({"x": true}), &json!({"x": false})), ["/x"]);
    }
}
