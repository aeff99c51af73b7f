//! Presence that a user sets, or shows by what they do. Answers to `set_state` and `bump_presence_active_time` of
//! `WorkerPresenceHandler` in `synapse/handlers/presence.py`, and to `on_PUT` of `PresenceStatusRestServlet` in
//! `synapse/rest/client/presence.py`.

use myelin_model::{MatrixError, Requester};
use myelin_replication::http::Repeat;
use serde_json::{Map, Value, json};

use crate::{Handlers, Result};

const VALID: [&str; 3] = ["online", "unavailable", "offline"];
/// MSC3026.
const BUSY: &str = "org.matrix.msc3026.busy";

/// A body of `presence` and perhaps `status_msg`, and nothing else.
fn parse_state(mut content: Map<String, Value>) -> Result<(Value, Option<Value>)> {
    let unparsable = || MatrixError::unknown(400, "Unable to parse state");
    let presence = content.remove("presence").ok_or_else(unparsable)?;
    let status_msg = content.remove("status_msg");
    if status_msg.as_ref().is_some_and(|text| !text.is_string()) {
        return Err(MatrixError::unknown(400, "status_msg must be a string."));
    }
    if content.is_empty() { Ok((presence, status_msg)) } else { Err(unparsable()) }
}

impl Handlers {
    /// The limit on `set_presence`.
    pub async fn ratelimit_presence(&self, requester: &Requester) -> Result<()> {
        self.ratelimit(&self.presence_updates, Some(requester), "").await.map_err(|error| match error.status {
            // Not an exception of Synapse: another text, and no header.
            429 => MatrixError { error: "Too many requests".to_owned(), headers: Vec::new(), ..error },
            _ => error,
        })
    }

    /// `set_state`, from the body of a request.
    pub async fn set_presence(&self, requester: &Requester, content: Map<String, Value>) -> Result<()> {
        let (presence, status_msg) = parse_state(content)?;
        let settings = &self.config.server;
        if !settings.presence.tracked {
            return Ok(());
        }
        let busy = settings.experimental.enabled.contains("msc3026_enabled");
        let valid = |text: &str| VALID.contains(&text) || (busy && text == BUSY);
        if !presence.as_str().is_some_and(valid) {
            return Err(MatrixError::unknown(400, "Invalid presence state"));
        }
        let mut state = json!({ "presence": presence });
        if let Some(status_msg) = status_msg {
            state["status_msg"] = status_msg;
        }
        self.presence_duty.forget_told(requester);
        let device_id = requester.device_id.as_deref();
        let body = json!({ "device_id": device_id, "state": state, "force_notify": false, "is_sync": false });
        self.ask_presence_writer("presence_set_state", requester, &body).await
    }

    /// `bump_presence_active_time`: the user did something.
    pub async fn bump_presence_active_time(&self, requester: &Requester) -> Result<()> {
        if !self.presence_duty.must_bump(requester) {
            return Ok(());
        }
        let body = json!({ "device_id": requester.device_id.as_deref() });
        self.ask_presence_writer("bump_presence_active_time", requester, &body).await
    }

    async fn ask_presence_writer(&self, name: &str, requester: &Requester, body: &Value) -> Result<()> {
        let writer = &self.config.worker.stream_writers.presence;
        self.ask_writer(writer, name, &[&requester.user_id], Repeat::Harmless, body).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        let error = |body: Value| parse_state(body.as_object().cloned().unwrap()).unwrap_err().error;
        assert_eq!(error(json!({})), "Unable to parse state");
        assert_eq!(error(json!({"presence": "online", "x": 1})), "Unable to parse state");
        assert_eq!(error(json!({"presence": "online", "status_msg": null, "x": 1})), "status_msg must be a string.");
        let body = json!({"presence": 5, "status_msg": ""});
        assert_eq!(parse_state(body.as_object().cloned().unwrap()).unwrap(), (json!(5), Some(json!(""))));
    }
}
