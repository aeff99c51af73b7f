//! What another process writes for us. Answers to `make_client` in `synapse/replication/http/_base.py` and to
//! `wait_for_stream_position` in `synapse/replication/tcp/client.py`.

use std::sync::Arc;
use std::time::Duration;

use myelin_model::StreamName;
use myelin_replication::Command;
use myelin_replication::http::Repeat;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Handlers, Result};

/// Who asked does not wait longer for what was written to arrive here: `_WAIT_FOR_REPLICATION_TIMEOUT_SECONDS`.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);
/// What a writer says of where it stands.
const POSITIONS: &str = "_INT_STREAM_POS";

#[derive(Serialize)]
struct Request<'a, B> {
    #[serde(flatten)]
    body: &'a B,
    #[serde(rename = "_INT_STREAM_POS", skip_serializing_if = "Option::is_none")]
    positions: Option<Value>,
}

impl Handlers {
    /// Has `instance` do something, and waits until what it wrote is known here: whoever asked then finds it. Refusals
    /// are the other process' own, for the client.
    pub(crate) async fn ask_writer(
        &self,
        instance: &str,
        name: &str,
        path_args: &[&str],
        repeat: Repeat,
        body: &(impl Serialize + Sync),
    ) -> Result<Value> {
        // What was written here just now must be known there before.
        let caches = Some(self.storage.last_invalidation()).filter(|position| *position > 0);
        let positions = caches.map(|caches| {
            json!({ "instance_name": self.config.worker.name, "streams": { StreamName::Caches.as_str(): caches } })
        });
        let body = Request { body, positions };
        let mut answer = self.http.send(instance, name, path_args, repeat, &body).await?;
        let positions = answer.as_object_mut().and_then(|answer| answer.remove(POSITIONS));
        let arrive = async {
            for (stream, position) in positions.iter().filter_map(Value::as_object).flatten() {
                if let (Ok(stream), Some(position)) = (stream.parse::<StreamName>(), position.as_i64()) {
                    self.live.wait_for_position(stream, instance, position, ARRIVES_WITHIN).await;
                }
            }
        };
        if tokio::time::timeout(ARRIVES_WITHIN, arrive).await.is_err() {
            tracing::warn!("what {instance} wrote for {name} has not arrived yet; it is answered all the same");
        }
        Ok(answer)
    }

    /// Tells the others what writes here made stale, also those of requests that are answered after the process was
    /// told to stop. Once.
    pub(crate) fn tell_of_invalidations(&self) {
        let Some(mut invalidations) = self.storage.take_invalidations() else { return };
        let (commands, instance) = (self.commands.clone(), Arc::<str>::from(self.config.worker.name.as_str()));
        tokio::spawn(async move {
            while let Some(row) = invalidations.recv().await {
                let command = Command::Rdata {
                    stream: StreamName::Caches.as_str().to_owned(),
                    instance: Arc::clone(&instance),
                    token: Some(row.position),
                    row: json!([row.function, row.keys, row.ts]),
                };
                // In this order, and none left out: whoever hears of a later one does not look for an earlier.
                let Some(room) = commands.reserve().await else { return };
                room.send(&command);
            }
        });
    }
}
