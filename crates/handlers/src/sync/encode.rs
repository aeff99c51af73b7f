//! The JSON of an answer, written straight into a buffer. Answers to `encode_response` in
//! `synapse/rest/client/sync.py`.

use std::collections::BTreeMap;
use std::sync::Arc;

use myelin_model::event::serialize::{EventFormat, SerializeOptions};
use myelin_model::{Event, MatrixError, StreamToken};
use serde::Serialize;
use serde_json::{Value, json};

use super::{ArchivedRoom, JoinedRoom, SyncConfig, SyncResult};
use crate::event_json::ToSerialize;
use crate::relations::Bundles;
use crate::sections::Item;
use crate::{Handlers, Result};

/// A JSON object that is being written.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Where the key's value is to be written.
    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        write(self.out, key);
        self.out.push(b':');
        self.out
    }

    fn value(&mut self, key: &str, value: &(impl Serialize + ?Sized)) {
        write(self.key(key), value);
    }

    /// `{"events": […]}` of rendered events.
    fn events(&mut self, key: &str, events: &[u8]) {
        let out = self.key(key);
        out.extend_from_slice(br#"{"events":"#);
        out.extend_from_slice(events);
        out.push(b'}');
    }

    fn items(&mut self, key: &str, items: &[Item]) {
        let mut list = vec![b'['];
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                list.push(b',');
            }
            list.extend_from_slice(item.json.as_bytes());
        }
        list.push(b']');
        self.events(key, &list);
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

fn write(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Only a map with keys that are not texts could fail, and a buffer takes everything.
    let _ = serde_json::to_writer(out, value);
}

impl Handlers {
    /// `encode_response`.
    pub async fn encode_sync(&self, config: &SyncConfig, result: &SyncResult, now_ms: i64) -> Result<Vec<u8>> {
        let mut options = self.serialize_options(&config.requester).await?;
        options.format = if config.filter.federation_format { EventFormat::Raw } else { EventFormat::V2WithoutRoomId };
        let fields = &config.filter.event_fields;
        options.event_fields = (!fields.is_empty()).then_some(fields.as_slice());

        let mut out = Vec::with_capacity(1024 + 8192 * (result.joined.len() + result.archived.len()));
        let mut body = Object::begin(&mut out);
        body.value("next_batch", &self.write_token(&result.next_batch).await?);
        if !result.account_data.is_empty() {
            body.items("account_data", &result.account_data);
        }
        if !result.presence.is_empty() {
            body.items("presence", &result.presence);
        }
        if !result.to_device.is_empty() {
            body.items("to_device", &result.to_device);
        }
        let lists = &result.device_lists;
        if !lists.changed.is_empty() || !lists.left.is_empty() {
            let mut object = Object::begin(body.key("device_lists"));
            for (key, users) in [("changed", &lists.changed), ("left", &lists.left)] {
                if !users.is_empty() {
                    object.value(key, &users.iter().map(|user_id| &**user_id).collect::<Vec<&str>>());
                }
            }
            object.end();
        }
        if !result.profile_updates.is_empty() {
            let mut users = Object::begin(body.key("org.matrix.msc4429.users"));
            for (user_id, fields) in &result.profile_updates {
                users.value(user_id, &BTreeMap::from([("profile_updates", fields)]));
            }
            users.end();
        }
        body.value("device_one_time_keys_count", &result.one_time_keys.counts);
        body.value("device_unused_fallback_key_types", &result.one_time_keys.unused_fallback_types);
        if !(result.joined.is_empty()
            && result.invited.is_empty()
            && result.knocked.is_empty()
            && result.archived.is_empty())
        {
            let mut rooms = Object::begin(body.key("rooms"));
            self.encode_rooms(&mut rooms, config, result, now_ms, &options).await?;
            rooms.end();
        }
        body.end();
        Ok(out)
    }

    async fn encode_rooms(
        &self,
        rooms: &mut Object<'_>,
        config: &SyncConfig,
        result: &SyncResult,
        now_ms: i64,
        options: &SerializeOptions<'_>,
    ) -> Result<()> {
        if !result.joined.is_empty() {
            let mut joined = Object::begin(rooms.key("join"));
            for room in &result.joined {
                let mut object = Object::begin(joined.key(&room.room.room_id));
                self.encode_room(&mut object, config, &room.room, now_ms, options).await?;
                if !room.sticky.is_empty() {
                    let events: Vec<ToSerialize<'_>> =
                        room.sticky.iter().map(|visible| (&visible.event, Some(&*visible.membership))).collect();
                    let events = self.serialize_events(&events, now_ms, options, &Bundles::new()).await?;
                    object.events("msc4354_sticky", &events);
                }
                self.encode_joined(&mut object, config, room);
                object.end();
            }
            joined.end();
        }
        for (section, state, stored, events) in [
            ("invite", "invite_state", "invite_room_state", &result.invited),
            ("knock", "knock_state", "knock_room_state", &result.knocked),
        ] {
            if !events.is_empty() {
                let mut object = Object::begin(rooms.key(section));
                for event in events {
                    object.value(&event.room_id, &json!({ state: { "events": stripped_state(event, stored) } }));
                }
                object.end();
            }
        }
        if !result.archived.is_empty() {
            let mut left = Object::begin(rooms.key("leave"));
            for room in &result.archived {
                let mut object = Object::begin(left.key(&room.room_id));
                self.encode_room(&mut object, config, room, now_ms, options).await?;
                object.end();
            }
            left.end();
        }
        Ok(())
    }

    async fn encode_room(
        &self,
        object: &mut Object<'_>,
        config: &SyncConfig,
        room: &ArchivedRoom,
        now_ms: i64,
        options: &SerializeOptions<'_>,
    ) -> Result<()> {
        let state: Vec<ToSerialize<'_>> = room.state.values().map(|event| (event, None)).collect();
        let state = self.serialize_events(&state, now_ms, options, &Bundles::new()).await?;
        let timeline = &room.timeline;
        let events: Vec<ToSerialize<'_>> =
            timeline.events.iter().map(|visible| (&visible.event, Some(&*visible.membership))).collect();
        let events = self.serialize_events(&events, now_ms, options, &timeline.bundles).await?;
        let mut written = Object::begin(object.key("timeline"));
        written.key("events").extend_from_slice(&events);
        written.value("prev_batch", &self.write_token(&timeline.prev_batch).await?);
        written.value("limited", &timeline.limited);
        written.end();
        object.events(if config.use_state_after { "org.matrix.msc4222.state_after" } else { "state" }, &state);
        object.items("account_data", &room.account_data);
        Ok(())
    }

    fn encode_joined(&self, object: &mut Object<'_>, config: &SyncConfig, room: &JoinedRoom) {
        let experimental = &self.config.server.experimental;
        let mut total = room.unread.main;
        let mut threads = serde_json::Map::new();
        for (thread_id, counts) in &room.unread.threads {
            if config.filter.unread_thread_notifications() {
                let counts = json!({ "notification_count": counts.notify, "highlight_count": counts.highlight });
                threads.insert(thread_id.to_string(), counts);
            } else {
                total.notify += counts.notify;
                total.highlight += counts.highlight;
                total.unread += counts.unread;
            }
        }
        object.items("ephemeral", &room.ephemeral);
        let counts = json!({ "notification_count": total.notify, "highlight_count": total.highlight });
        object.value("unread_notifications", &counts);
        if !threads.is_empty() {
            object.value("unread_thread_notifications", &threads);
            if experimental.msc3773 {
                object.value("org.matrix.msc3773.unread_thread_notifications", &threads);
            }
        }
        object.value("summary", &room.summary);
        if experimental.msc2654 {
            object.value("org.matrix.msc2654.unread_count", &total.unread);
        }
    }

    /// A token's text. A writer that no token named before gets its number now.
    pub async fn write_token(&self, token: &StreamToken) -> Result<String> {
        let mut instances = self.storage.instances();
        loop {
            let unknown = match token.write(&instances) {
                Ok(text) => return Ok(text),
                Err(unknown) => unknown,
            };
            instances = self.storage.add_instance(&unknown.0).await?;
            if instances.id(&unknown.0).is_none() {
                return Err(MatrixError::internal(unknown.to_string()));
            }
        }
    }
}

/// What the inviting server told of the room, and the membership itself (MSC4319).
fn stripped_state(event: &Arc<Event>, stored: &str) -> Vec<Value> {
    let mut state = event.unsigned.get(stored).and_then(Value::as_array).cloned().unwrap_or_default();
    state.push(json!({
        "type": &*event.kind,
        "state_key": event.state_key.as_deref(),
        "content": event.content_value(),
        "sender": &*event.sender,
    }));
    state
}
