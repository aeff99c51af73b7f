//! One update takes effect: invalidate, then advance, then wake. Answers to `on_rdata` in
//! `synapse/replication/tcp/client.py` and `process_replication_rows` of every store.
//!
//! Architecture invariant: a reader that sees a position has caches that know of it, and whoever is woken sees
//! the position that woke it.

use std::sync::Arc;

use myelin_live::{Changed, Wake};
use myelin_model::presence::PresenceState;
use myelin_model::stream::{EventRow, StateRow};
use myelin_model::{Row, StreamName};

use crate::Shared;

/// Everything that a writer wrote at one position.
pub(crate) struct Update {
    pub stream: StreamName,
    pub instance: Arc<str>,
    pub token: i64,
    pub rows: Vec<Row>,
}

impl Shared {
    /// The most important function of the program.
    pub async fn apply(&self, update: Update) {
        let device_rooms = self.rooms_of_device_changes(&update).await;
        let presence = self.presence_to_notify(&update);
        self.begin_anew(&update);
        for row in &update.rows {
            self.storage.invalidate_for(row);
            self.note(row, update.token);
        }
        if update.rows.is_empty() {
            self.writer.announce(update.stream, &update.instance, update.token);
        } else {
            self.writer.advance(update.stream, &update.instance, update.token);
        }
        self.wake(&update, device_rooms, presence).await;
    }

    /// A writer that went back has lost its memory: what it said before is over, what it says now stands.
    fn begin_anew(&self, update: &Update) {
        let Update { stream, instance, token, .. } = update;
        if stream.can_go_backwards() && *token < self.reader.position(*stream, instance) {
            match stream {
                StreamName::Typing => self.writer.reset_typing(instance, *token),
                _ => self.writer.reset_position(*stream, instance, *token),
            }
        }
    }

    /// Remembers what changed when, and what lives in memory alone.
    fn note(&self, row: &Row, token: i64) {
        match row {
            Row::Event(event) => self.note_event(event, token),
            Row::State(StateRow { room_id, kind, state_key, .. }) => {
                self.writer.changed(Changed::RoomState, room_id, token);
                if kind == "m.room.member" {
                    self.writer.changed(Changed::UserMembership, &Arc::from(&**state_key), token);
                }
            }
            Row::StateAll { room_id } => {
                self.writer.changed(Changed::RoomState, room_id, token);
                self.writer.all_changed(Changed::UserMembership, token);
            }
            Row::Receipt(receipt) => self.writer.changed(Changed::RoomReceipts, &receipt.room_id, token),
            Row::AccountData { user_id, .. } => self.writer.changed(Changed::UserAccountData, user_id, token),
            Row::PushRules { user_id } => self.writer.changed(Changed::UserPushRules, user_id, token),
            Row::ToDevice { entity } => self.writer.changed(Changed::UserToDevice, entity, token),
            Row::DeviceList { user_id, is_signature: true, .. } => {
                self.writer.changed(Changed::UserSignature, user_id, token);
            }
            Row::DeviceList { user_id, hosts_calculated: false, .. } => {
                self.writer.changed(Changed::UserDeviceList, user_id, token);
            }
            Row::Presence(presence) => {
                self.writer.changed(Changed::UserPresence, &presence.user_id, token);
                self.writer.set_presence(presence.clone());
            }
            Row::Typing { room_id, user_ids } => self.writer.set_typing(room_id, token, user_ids.clone()),
            Row::Backfill(_)
            | Row::Cache { .. }
            | Row::DeviceList { .. }
            | Row::Federation
            | Row::PresenceFederation { .. }
            | Row::ProfileUpdate { .. }
            | Row::Pushers { .. }
            | Row::QuarantinedMedia
            | Row::StickyEvent { .. }
            | Row::ThreadSubscription { .. }
            | Row::UnPartialStatedEvent { .. }
            | Row::UnPartialStatedRoom { .. } => {}
        }
    }

    fn note_event(&self, event: &EventRow, token: i64) {
        self.writer.changed(Changed::RoomEvents, &event.room_id, token);
        if let ("m.room.member", Some(user_id)) = (&*event.kind, &event.state_key) {
            self.writer.changed(Changed::UserMembership, &Arc::from(&**user_id), token);
        }
    }

    /// The rooms that share the users whose devices changed; `None`: not known.
    async fn rooms_of_device_changes(&self, update: &Update) -> Option<Vec<Arc<str>>> {
        let concerns = |row: &Row| matches!(row, Row::DeviceList { is_signature: false, hosts_calculated: false, .. });
        if !update.rows.iter().any(concerns) {
            return Some(Vec::new());
        }
        let from = self.reader.current_token().device_list.base;
        match self.storage.rooms_of_device_list_changes(from, update.token).await {
            Ok(rooms) => {
                let rooms: Vec<Arc<str>> = rooms.into_iter().map(Arc::from).collect();
                for room_id in &rooms {
                    self.writer.changed(Changed::RoomDeviceList, room_id, update.token);
                }
                Some(rooms)
            }
            Err(error) => {
                tracing::warn!("everybody is woken for a change of devices: {error}");
                self.writer.all_changed(Changed::RoomDeviceList, update.token);
                None
            }
        }
    }

    /// Whose presence others should hear of; compared with what was known before.
    fn presence_to_notify(&self, update: &Update) -> Vec<Arc<str>> {
        let granularity = self.config.server.presence.last_active_granularity;
        let news = |row: &Row| match row {
            Row::Presence(new) => {
                let old = self.reader.presence(&new.user_id);
                should_notify(old.as_ref(), new, granularity).then(|| Arc::clone(&new.user_id))
            }
            _ => None,
        };
        update.rows.iter().filter_map(news).collect()
    }

    async fn wake(&self, update: &Update, device_rooms: Option<Vec<Arc<str>>>, presence: Vec<Arc<str>>) {
        // Whoever comes from now on sees the position: nobody's rooms have to be read.
        if !self.reader.anybody_waits() {
            return;
        }
        let mut wake = Wake::default();
        for row in &update.rows {
            match row {
                Row::Event(event) if !event.rejected => wake_for_event(&mut wake, event),
                Row::Receipt(receipt) => wake.rooms.push(Arc::clone(&receipt.room_id)),
                Row::Typing { room_id, .. }
                | Row::UnPartialStatedRoom { room_id }
                | Row::StickyEvent { room_id, .. } => {
                    wake.rooms.push(Arc::clone(room_id));
                }
                Row::AccountData { user_id, .. }
                | Row::PushRules { user_id }
                | Row::ThreadSubscription { user_id, .. } => {
                    wake.users.push(Arc::clone(user_id));
                }
                Row::ToDevice { entity } if entity.starts_with('@') => wake.users.push(Arc::clone(entity)),
                Row::DeviceList { user_id, is_signature: true, .. } => wake.users.push(Arc::clone(user_id)),
                Row::ProfileUpdate { user_id, .. } => wake.rooms.extend(self.rooms_of(user_id).await),
                _ => {}
            }
        }
        for user_id in presence {
            wake.rooms.extend(self.rooms_of(&user_id).await);
            wake.users.push(user_id);
        }
        match device_rooms {
            Some(rooms) => wake.rooms.extend(rooms),
            None => self.writer.wake_all(),
        }
        if !(wake.users.is_empty() && wake.rooms.is_empty()) {
            self.writer.wake(update.stream, &wake);
        }
    }

    async fn rooms_of(&self, user_id: &str) -> Vec<Arc<str>> {
        match self.storage.get_rooms_for_user(user_id).await {
            Ok(rooms) => rooms.iter().cloned().collect(),
            Err(error) => {
                tracing::warn!("nobody is woken for a change of profile or presence: {error}");
                Vec::new()
            }
        }
    }
}

fn wake_for_event(wake: &mut Wake, event: &EventRow) {
    wake.rooms.push(Arc::clone(&event.room_id));
    if let ("m.room.member", Some(user_id)) = (&*event.kind, &event.state_key) {
        let user_id: Arc<str> = Arc::from(&**user_id);
        if event.membership.as_deref() == Some("join") {
            wake.joined.push((Arc::clone(&user_id), Arc::clone(&event.room_id)));
        }
        wake.users.push(user_id);
    }
}

/// `should_notify` in `synapse/handlers/presence.py`; `granularity` in milliseconds.
fn should_notify(old: Option<&PresenceState>, new: &PresenceState, granularity: i64) -> bool {
    let Some(old) = old else { return true };
    let active_later = new.last_active_ts - old.last_active_ts > granularity;
    if old.status_msg != new.status_msg || old.state != new.state {
        return true;
    }
    if old.state == "online" {
        return old.currently_active != new.currently_active || active_later && !new.currently_active;
    }
    active_later
}
