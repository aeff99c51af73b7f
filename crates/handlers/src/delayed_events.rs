//! Events that are to be sent later (MSC4140). Answers to the reads in `synapse/handlers/delayed_events.py`.

use myelin_model::identifiers::parse_user_id;
use myelin_model::{MatrixError, Requester};
use myelin_storage::delayed_events::DelayedEvent;
use serde_json::{Map, Value, json};

use crate::{Handlers, Result};

impl Handlers {
    /// `get_for_user`: a JSON object.
    pub async fn get_delayed_event(&self, requester: &Requester, delay_id: &str) -> Result<Value> {
        let event = self.delayed_events(requester, Some(delay_id)).await?.pop();
        let event = event.ok_or_else(|| MatrixError::not_found("Delayed event not found"))?;
        Ok(response(event)?.into())
    }

    /// `get_all_for_user`, under the names of today and of earlier drafts.
    pub async fn get_all_delayed_events(&self, requester: &Requester) -> Result<Value> {
        let events = self.delayed_events(requester, None).await?.into_iter().map(|event| {
            let mut event = response(event)?;
            for (name, old) in [("delay_ms", "delay"), ("delayed_since_ts", "running_since")] {
                let value = event.get(name).cloned().unwrap_or_default();
                event.insert(old.to_owned(), value);
            }
            Ok(Value::from(event))
        });
        Ok(json!({ "delayed_events": events.collect::<Result<Vec<_>>>()? }))
    }

    async fn delayed_events(&self, requester: &Requester, delay_id: Option<&str>) -> Result<Vec<DelayedEvent>> {
        self.ratelimit(&self.delayed_event_mgmt, Some(requester), &requester.user_id).await?;
        let (localpart, _) = parse_user_id(&requester.user_id)?;
        Ok(self.storage.get_delayed_events_for_user(localpart, delay_id).await?)
    }
}

/// `DelayedEventResponse.asdict`
fn response(event: DelayedEvent) -> Result<Map<String, Value>> {
    let content: Value = serde_json::from_str(&event.content).map_err(MatrixError::internal)?;
    let mut response = Map::from_iter([
        ("delay_id".to_owned(), event.delay_id.into()),
        ("room_id".to_owned(), event.room_id.into()),
        ("type".to_owned(), event.kind.into()),
        ("delay_ms".to_owned(), event.delay.into()),
        ("delayed_since_ts".to_owned(), event.running_since.into()),
        ("content".to_owned(), content),
    ]);
    if let Some(state_key) = event.state_key {
        response.insert("state_key".to_owned(), state_key.into());
    }
    Ok(response)
}
