//! The parts of /sync beside the timelines. Answers to the `_generate_sync_entry_for_…` functions in
//! `synapse/handlers/sync.py` and to the event sources that they ask.

pub mod account_data;
pub mod device_lists;
pub mod ephemeral;
pub mod one_time_keys;
mod presence;
pub mod profile_updates;
mod push_rules;
mod sticky_events;
mod to_device;
pub mod unread;

use std::sync::Arc;

use serde::Serialize;

/// One rendered object of a section's `events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its `type`, for filters.
    pub kind: Arc<str>,
    pub sender: Option<Arc<str>>,
    pub json: String,
}

impl Item {
    /// `{"type": …, "content": …}`; `content` is a JSON text.
    fn new(kind: &Arc<str>, content: &str) -> Self {
        let json = format!(r#"{{"type":{},"content":{content}}}"#, quoted(kind));
        Self { kind: Arc::clone(kind), sender: None, json }
    }

    fn of(kind: &str, content: &impl Serialize) -> Self {
        // Maps with texts as keys cannot fail.
        Self::new(&Arc::from(kind), &serde_json::to_string(content).unwrap_or_default())
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
