//! What users of other servers do here, of which nothing exists but their keys: by signed requests to the main process.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use myelin_model::canonical_json::encode_without;
use myelin_testkit::http::{Answer, Client};
use myelin_testkit::synapse::Synapse;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::names::{Names, encode};
use crate::sign::{Signing, key};

/// Another server's events take effect some time after they were sent.
const PATIENCE: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(20);
/// What events are signed with, of those keys that they have here.
const SIGNED: [&str; 12] = [
    "auth_events",
    "content",
    "depth",
    "hashes",
    "origin_server_ts",
    "prev_events",
    "redacts",
    "room_id",
    "sender",
    "signatures",
    "state_key",
    "type",
];
const VERSIONS: &str = "ver=6&ver=9&ver=10&ver=11&ver=12";

/// One server.
pub struct Afar<'a> {
    pub names: &'a Names,
    pub synapse: &'a Synapse,
    pub server: &'a str,
}

impl Afar<'_> {
    /// `path` is filled in.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let body = body.map(|body| body.to_string().into_bytes());
        let signature = Signing::by(self.server).header(self.names, method, path, body.as_deref())?;
        let headers = [("Authorization", signature.as_str()), ("Content-Type", "application/json")];
        Client::new(self.synapse.port).send_bytes(method, path, &headers, body)
    }

    /// A user joins. The answer has the `event_id`, if it is 200.
    pub fn join(&self, user_id: &str, room_id: &str) -> Result<Answer> {
        let (user_id, room_id) = (encode(user_id), encode(room_id));
        let path = format!("/_matrix/federation/v1/make_join/{room_id}/{user_id}?{VERSIONS}");
        let template = self.ask("GET", &path, None)?;
        if template.status != 200 {
            return Ok(template);
        }
        let (id, event) = self.signed(template.json()?["event"].clone())?;
        let path = format!("/_matrix/federation/v2/send_join/{room_id}/{}", encode(&id));
        let answer = self.ask("PUT", &path, Some(&event))?;
        Ok(if answer.status == 200 { sent(&id) } else { answer })
    }

    /// Sends an event (type, content, sender, and what else it may have) that follows the latest ones, or `after`, and
    /// waits until it was looked at. The answer has the `event_id`, if it is 200.
    pub fn send(&self, room_id: &str, after: Option<&str>, mut event: Value) -> Result<Answer> {
        let place = self.place(room_id, after, &event)?;
        let Some(depth) = place["depth"].as_i64() else { return Ok(refused("nothing is known before it")) };
        event["room_id"] = room_id.into();
        event["prev_events"] = place["prev"].clone();
        event["auth_events"] = place["auth"].clone();
        event["depth"] = json!(depth + 1);
        let (id, event) = self.signed(event)?;
        let body = json!({"origin": self.server, "origin_server_ts": event["origin_server_ts"], "pdus": [event]});
        let path = format!("/_matrix/federation/v1/send/{}", id.trim_start_matches('$'));
        let answer = self.ask("PUT", &path, Some(&body))?;
        if answer.status != 200 {
            return Ok(answer);
        }
        let answer = answer.json()?;
        if answer["pdus"][&id] != json!({}) {
            return Ok(refused(&answer.to_string()));
        }
        let query = |sql: &str| self.synapse.postgres.query("synapse", sql);
        let waiting = format!("SELECT count(*) FROM federation_inbound_events_staging WHERE room_id = '{room_id}'");
        let start = Instant::now();
        while query(&waiting)? != "0" {
            ensure!(start.elapsed() < PATIENCE, "{id} of {} was not looked at", self.server);
            std::thread::sleep(GLANCE);
        }
        let found = query(&format!("SELECT count(*) FROM events WHERE event_id = '{id}'"))?;
        Ok(if found == "1" { sent(&id) } else { refused("it was dropped") })
    }

    /// What is before an event, and what entitles it.
    fn place(&self, room_id: &str, after: Option<&str>, event: &Value) -> Result<Value> {
        let latest = match after {
            Some(id) => format!("SELECT event_id, depth FROM events WHERE event_id = '{id}' AND room_id = '{room_id}'"),
            None => format!(
                "SELECT event_id, depth FROM event_forward_extremities JOIN events USING (event_id)
                 WHERE event_forward_extremities.room_id = '{room_id}' ORDER BY event_id LIMIT 10"
            ),
        };
        let text = |key: &str| event[key].as_str().unwrap_or_default();
        let mut auth = vec![("m.room.power_levels", ""), ("m.room.member", text("sender"))];
        if text("type") == "m.room.member" {
            auth.push(("m.room.member", text("state_key")));
            if matches!(event["content"]["membership"].as_str(), Some("join" | "invite" | "knock")) {
                auth.push(("m.room.join_rules", ""));
            }
        }
        let auth: Vec<String> = auth.iter().map(|(kind, key)| format!("('{kind}', '{key}')")).collect();
        let auth = auth.join(", ");
        // Of the state of now, or of what it probably was.
        let state = match after {
            Some(_) => format!(
                "SELECT DISTINCT ON (e.type, s.state_key) e.event_id, e.type, s.state_key
                 FROM state_events AS s JOIN events AS e USING (event_id)
                 WHERE e.room_id = '{room_id}' AND e.depth <= (SELECT max(depth) FROM latest)
                     AND e.rejection_reason IS NULL
                 ORDER BY e.type, s.state_key, e.depth DESC, e.stream_ordering DESC"
            ),
            None => {
                format!("SELECT event_id, type, state_key FROM current_state_events WHERE room_id = '{room_id}'")
            }
        };
        let sql = format!(
            "WITH latest AS ({latest}), state AS ({state}) SELECT json_build_object(
                'prev', (SELECT json_agg(event_id) FROM latest), 'depth', (SELECT max(depth) FROM latest),
                'auth', (SELECT json_agg(event_id) FROM state WHERE (type, state_key) IN ({auth})
                    OR (type = 'm.room.create'
                        AND (SELECT room_version FROM rooms WHERE room_id = '{room_id}') <> '12')))"
        );
        Ok(serde_json::from_str(&self.synapse.postgres.query("synapse", &sql)?)?)
    }

    /// An event with hash and signature, and its id: of a version from 4 on, and of a kind that keeps its membership,
    /// what it redacts, or nothing when it is redacted.
    fn signed(&self, event: Value) -> Result<(String, Value)> {
        let Value::Object(mut event) = event else { bail!("no event: {event}") };
        event.retain(|key, _| SIGNED.contains(&key.as_str()));
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?;
        event.insert("origin_server_ts".to_owned(), json!(now));
        let hash = Sha256::digest(encode_without(&event, &["hashes", "signatures"])?);
        event.insert("hashes".to_owned(), json!({"sha256": STANDARD_NO_PAD.encode(hash)}));
        let mut redacted = event.clone();
        redacted.remove("redacts");
        let kept = match redacted["type"].as_str() {
            Some("m.room.member") => "membership",
            Some("m.room.redaction") => "redacts",
            _ => "",
        };
        let kept: Map<String, Value> =
            redacted["content"].get(kept).map(|value| (kept.to_owned(), value.clone())).into_iter().collect();
        redacted.insert("content".to_owned(), kept.into());
        key(self.names, self.server)?.sign_json(&mut redacted, self.server)?;
        let id = Sha256::digest(encode_without(&redacted, &["signatures"])?);
        let signatures = redacted.remove("signatures").context("no signatures")?;
        event.insert("signatures".to_owned(), signatures);
        Ok((format!("${}", URL_SAFE_NO_PAD.encode(id)), event.into()))
    }
}

fn sent(event_id: &str) -> Answer {
    answer(200, &json!({ "event_id": event_id }))
}

fn refused(why: &str) -> Answer {
    answer(403, &json!({ "error": why }))
}

fn answer(status: u16, body: &Value) -> Answer {
    Answer { status, headers: Vec::new(), body: body.to_string().into_bytes(), took: Duration::ZERO }
}
