//! Events of an answer, with everything that is not in them. Answers to `EventClientSerializer` in
//! `synapse/events/utils.py`.

use std::sync::Arc;

use hashbrown::HashMap;
use myelin_model::Event;
use myelin_model::event::serialize::{EventExtras, SerializeOptions, to_client_json, write_client_json};
use myelin_storage::GetEvents;
use serde_json::{Value, json};

use crate::relations::Bundles;
use crate::{Handlers, Result};

/// An event and the reader's membership at it; state of a room has none.
pub type ToSerialize<'a> = (&'a Arc<Event>, Option<&'a str>);

impl Handlers {
    /// `serialize_events`: a JSON array.
    pub async fn serialize_events(
        &self,
        events: &[ToSerialize<'_>],
        now_ms: i64,
        options: &SerializeOptions<'_>,
        bundles: &Bundles,
    ) -> Result<Vec<u8>> {
        let redactions = self.redactions_of(events, bundles).await?;
        let mut out = Vec::with_capacity(events.iter().map(|(event, _)| event.client_len()).sum::<usize>() + 2);
        out.push(b'[');
        for (index, (event, membership)) in events.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let extras = extras(event, *membership, now_ms, options, bundles, &redactions);
            write_client_json(&mut out, event, now_ms, options, extras);
        }
        out.push(b']');
        Ok(out)
    }

    /// `serialize_event`.
    pub async fn serialize_event(
        &self,
        event: ToSerialize<'_>,
        now_ms: i64,
        options: &SerializeOptions<'_>,
        bundles: &Bundles,
    ) -> Result<Vec<u8>> {
        let redactions = self.redactions_of(&[event], bundles).await?;
        let extras = extras(event.0, event.1, now_ms, options, bundles, &redactions);
        Ok(to_client_json(event.0, now_ms, options, extras).into_bytes())
    }

    async fn redactions_of(
        &self,
        events: &[ToSerialize<'_>],
        bundles: &Bundles,
    ) -> Result<HashMap<Arc<str>, Arc<Event>>> {
        let bundled = bundles
            .values()
            .flat_map(|bundle| bundle.replace.iter().chain(bundle.thread.as_ref().map(|thread| &thread.latest_event)));
        let all = events.iter().map(|(event, _)| *event).chain(bundled);
        let ids: Vec<Arc<str>> = all.filter_map(|event| event.redacted_by.clone()).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        Ok(self.storage.get_events(&ids, GetEvents::default()).await?)
    }
}

fn extras<'a>(
    event: &Event,
    membership: Option<&'a str>,
    now_ms: i64,
    options: &SerializeOptions<'_>,
    bundles: &Bundles,
    redactions: &'a HashMap<Arc<str>, Arc<Event>>,
) -> EventExtras<'a> {
    let redacted_because = event.redacted_by.as_ref().and_then(|id| redactions.get(id)).map(|event| &**event);
    let aggregations = aggregations(event, now_ms, options, bundles, redactions);
    EventExtras { membership, redacted_because, aggregations }
}

fn aggregations(
    event: &Event,
    now_ms: i64,
    options: &SerializeOptions<'_>,
    bundles: &Bundles,
    redactions: &HashMap<Arc<str>, Arc<Event>>,
) -> Option<String> {
    let bundle = bundles.get(&event.event_id)?;
    let mut relations: Vec<String> = Vec::new();
    if !bundle.references.is_empty() {
        let chunk: Vec<Value> = bundle.references.iter().map(|id| json!({ "event_id": &**id })).collect();
        relations.push(format!(r#""m.reference":{}"#, json!({ "chunk": chunk })));
    }
    let nested = |event: &Event, bundles: &Bundles| {
        let extras = extras(event, None, now_ms, options, bundles, redactions);
        to_client_json(event, now_ms, options, extras)
    };
    if let Some(edit) = &bundle.replace {
        relations.push(format!(r#""m.replace":{}"#, nested(edit, &Bundles::new())));
    }
    if let Some(thread) = &bundle.thread {
        relations.push(format!(
            r#""m.thread":{{"latest_event":{},"count":{},"current_user_participated":{}}}"#,
            nested(&thread.latest_event, bundles),
            thread.count,
            thread.current_user_participated,
        ));
    }
    (!relations.is_empty()).then(|| format!("{{{}}}", relations.join(",")))
}
