//! What Synapse adds to an event without signing it. Answers to `unsigned` in `synapse/events/__init__.py`.

use std::sync::Arc;

use serde_json::{Map, Value};

/// `unsigned` as it is stored. Nearly always there is a time in it, and of state events what they replaced.
#[derive(Clone, Debug, Default)]
pub struct Unsigned {
    /// When the event arrived, in milliseconds since the epoch; clients get its age.
    pub age_ts: Option<i64>,
    /// The id of the state event that this one replaced.
    pub replaces_state: Option<Arc<str>>,
    /// Every other key.
    other: Option<Arc<Map<String, Value>>>,
}

impl Unsigned {
    pub(super) fn new(mut stored: Map<String, Value>) -> Self {
        let age_ts = stored.remove("age_ts").as_ref().and_then(Value::as_i64);
        let replaces_state = stored.get("replaces_state").and_then(Value::as_str).map(Arc::from);
        if replaces_state.is_some() {
            stored.remove("replaces_state");
        }
        Self { age_ts, replaces_state, other: (!stored.is_empty()).then(|| Arc::new(stored)) }
    }

    /// A key that has no field of its own here.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.other.as_ref()?.get(key)
    }

    pub(super) fn others(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.other.iter().flat_map(|other| other.iter())
    }

    /// What a redaction leaves.
    pub(super) fn prune(&self) -> Self {
        let odd = self.get("replaces_state").map(|value| ("replaces_state".to_owned(), value.clone()));
        Self { other: odd.map(|entry| Arc::new(Map::from_iter([entry]))), ..self.clone() }
    }

    /// Bytes of the tree: a key takes far more than its text.
    pub(super) fn weight(&self) -> usize {
        self.others().map(|(key, value)| 200 + key.len() + weight(value)).sum()
    }
}

fn weight(value: &Value) -> usize {
    const EACH: usize = 80;
    match value {
        Value::String(text) => EACH + text.len(),
        Value::Array(list) => EACH + list.iter().map(weight).sum::<usize>(),
        Value::Object(map) => EACH + map.iter().map(|(key, value)| EACH + key.len() + weight(value)).sum::<usize>(),
        _ => EACH,
    }
}
