//! What users do, one line each.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Seed;

impl Seed {
    fn transaction(&mut self) -> u32 {
        self.transactions += 1;
        self.transactions
    }

    /// Creates a room; `settings` goes over the defaults: version 11, private.
    pub(super) fn room(&mut self, by: &str, name: &str, settings: &Value) -> Result<()> {
        let mut body = json!({"room_version": "11", "preset": "private_chat"});
        if let (Some(body), Some(settings)) = (body.as_object_mut(), settings.as_object()) {
            body.extend(settings.clone());
        }
        let answer = self.ask(by, "POST", "v3/createRoom", &body)?;
        self.names.set(name, answer["room_id"].as_str().context("no room_id")?);
        Ok(())
    }

    pub(super) fn join(&mut self, room: &str, users: &[&str]) -> Result<()> {
        users.iter().try_for_each(|user| self.ask(user, "POST", &format!("v3/join/<{room}>"), &json!({})).map(drop))
    }

    /// `invite`, `kick`, `ban`, `unban`
    pub(super) fn membership(&mut self, by: &str, room: &str, action: &str, user: &str) -> Result<()> {
        let body = json!({"user_id": self.names.get(&format!("@{user}"))?, "reason": format!("{action}, for a test")});
        self.ask(by, "POST", &format!("v3/rooms/<{room}>/{action}"), &body).map(drop)
    }

    pub(super) fn leave(&mut self, user: &str, room: &str) -> Result<()> {
        self.ask(user, "POST", &format!("v3/rooms/<{room}>/leave"), &json!({})).map(drop)
    }

    /// Sends an event and keeps its id as `<room:name>`.
    pub(super) fn send(&mut self, by: &str, room: &str, name: &str, kind: &str, content: &Value) -> Result<()> {
        let path = format!("v3/rooms/<{room}>/send/{kind}/{}", self.transaction());
        self.keep_event(by, &path, room, name, content)
    }

    pub(super) fn say(&mut self, by: &str, room: &str, name: &str, text: &str) -> Result<()> {
        self.send(by, room, name, "m.room.message", &json!({"msgtype": "m.text", "body": text}))
    }

    /// `kind` may go on with `/state_key`.
    pub(super) fn state(&mut self, by: &str, room: &str, name: &str, kind: &str, content: &Value) -> Result<()> {
        self.keep_event(by, &format!("v3/rooms/<{room}>/state/{kind}"), room, name, content)
    }

    pub(super) fn redact(&mut self, by: &str, room: &str, event: &str) -> Result<()> {
        let path = format!("v3/rooms/<{room}>/redact/<{room}:{event}>/{}", self.transaction());
        self.keep_event(by, &path, room, &format!("redaction of {event}"), &json!({"reason": "a test"}))
    }

    pub(super) fn keep_event(&mut self, by: &str, path: &str, room: &str, name: &str, content: &Value) -> Result<()> {
        let content = serde_json::from_str(&self.names.fill(&content.to_string())?)?;
        let answer = self.ask(by, "PUT", path, &content)?;
        self.names.set(&format!("{room}:{name}"), answer["event_id"].as_str().context("no event_id")?);
        Ok(())
    }

    /// An event that refers to another one of its room.
    pub(super) fn relate(&mut self, by: &str, room: &str, name: &str, relation: &Value, text: &str) -> Result<()> {
        let mut content = json!({"msgtype": "m.text", "body": text, "m.relates_to": relation});
        if relation["rel_type"] == "m.replace" {
            content["m.new_content"] = json!({"msgtype": "m.text", "body": format!("new {text}")});
        }
        self.send(by, room, name, "m.room.message", &content)
    }

    /// Public, private or of one thread.
    pub(super) fn receipt(&self, by: &str, kind: &str, room: &str, event: &str, body: &Value) -> Result<()> {
        let body = serde_json::from_str(&self.names.fill(&body.to_string())?)?;
        self.ask(by, "POST", &format!("v3/rooms/<{room}>/receipt/{kind}/<{room}:{event}>"), &body).map(drop)
    }

    pub(super) fn account_data(&self, by: &str, kind: &str, content: &Value) -> Result<()> {
        self.ask(by, "PUT", &format!("v3/user/<@{by}>/account_data/{kind}"), content).map(drop)
    }

    pub(super) fn room_account_data(&self, by: &str, room: &str, kind: &str, content: &Value) -> Result<()> {
        self.ask(by, "PUT", &format!("v3/user/<@{by}>/rooms/<{room}>/account_data/{kind}"), content).map(drop)
    }

    pub(super) fn tag(&self, by: &str, room: &str, tag: &str, content: &Value) -> Result<()> {
        self.ask(by, "PUT", &format!("v3/user/<@{by}>/rooms/<{room}>/tags/{tag}"), content).map(drop)
    }

    pub(super) fn send_to_device(&mut self, by: &str, to: &str, device: &str, content: &Value) -> Result<()> {
        let path = format!("v3/sendToDevice/m.test/{}", self.transaction());
        let user = self.names.get(&format!("@{to}"))?;
        let device = self.names.get(&format!("device:{device}"))?;
        self.ask(by, "PUT", &path, &json!({"messages": {user: {device: content}}})).map(drop)
    }
}
