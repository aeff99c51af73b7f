//! Who is there. Answers to `PresenceEventSource` in `synapse/handlers/presence.py` and
//! `_generate_sync_entry_for_presence`.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use myelin_live::Changed;
use myelin_model::presence::PresenceState;
use myelin_model::{MatrixError, Requester, StreamToken};
use serde_json::{Map, Value, json};

use super::Item;
use crate::{Handlers, Result};

const ONLINE: &str = "online";
const OFFLINE: &str = "offline";

impl Handlers {
    /// Presence of the users that share a room with the requester, and of the requester. `since`: only what
    /// changed after it. Users and rooms that are new to the requester come whole.
    pub async fn presence_for_sync(
        &self,
        requester: &Requester,
        since: Option<&StreamToken>,
        now: &StreamToken,
        (newly_joined_rooms, newly_joined_or_invited_users): (&HashSet<Arc<str>>, &HashSet<Arc<str>>),
        include_offline: bool,
        now_ms: i64,
    ) -> Result<Vec<Item>> {
        let user_id = &requester.user_id;
        let (mut since, mut include_offline) = (since.map(|since| since.presence), include_offline);
        if let Some(from) = since
            && self.storage.get_full_presence_position(user_id).await?.is_some_and(|position| from <= position)
        {
            (since, include_offline) = (None, false);
        }
        let mut states: HashMap<Arc<str>, PresenceState> = HashMap::new();
        // Nothing moved: whatever is already beyond the token comes with the next one.
        if since != Some(now.presence) {
            let users = self.users_with_news(user_id, since).await?;
            states = self.presence_of(users).await?;
            if !include_offline {
                states.retain(|_, state| state.state != OFFLINE);
            }
        }
        let mut extra: HashSet<Arc<str>> = newly_joined_or_invited_users.clone();
        for users in self.storage.get_users_in_rooms(newly_joined_rooms.iter().cloned().collect()).await?.values() {
            extra.extend(users.iter().cloned());
        }
        extra.remove(user_id);
        states.extend(self.presence_of(extra).await?);
        Ok(states.values().map(|state| item(state, now_ms)).collect())
    }

    async fn users_with_news(&self, user_id: &Arc<str>, since: Option<i64>) -> Result<HashSet<Arc<str>>> {
        let rooms = self.storage.get_rooms_for_user(user_id).await?;
        let excluded = &self.config.server.rooms_to_exclude_from_presence;
        let counts = |room_id: &Arc<str>| !excluded.iter().any(|excluded| **excluded == **room_id);
        if let Some(changed) = since.and_then(|since| self.live.changed_since(Changed::UserPresence, since)) {
            // Few have changed: each one's rooms are cached, and looked at for every request that it wakes.
            let shared = self.storage.get_rooms_for_users(changed).await?;
            let shares =
                |theirs: &HashSet<Arc<str>>| theirs.iter().any(|room_id| rooms.contains(room_id) && counts(room_id));
            let seen = shared.into_iter().filter(|(other, theirs)| other == user_id || shares(theirs));
            return Ok(seen.map(|(other, _)| other).collect());
        }
        let rooms: Vec<Arc<str>> = rooms.iter().filter(|room_id| counts(room_id)).cloned().collect();
        let mut users: HashSet<Arc<str>> = HashSet::new();
        for joined in self.storage.get_users_in_rooms(rooms).await?.values() {
            users.extend(joined.iter().cloned());
        }
        users.insert(Arc::clone(user_id));
        match since {
            Some(since) => {
                Ok(self.live.may_have_changed_of(Changed::UserPresence, &users, since).into_iter().collect())
            }
            None => Ok(users),
        }
    }

    /// `GET /presence/{user_id}/status`: of whom the requester shares a room with. Synapse: only the writer of presence
    /// can tell of others, a worker fails.
    pub async fn presence_status(&self, requester: &Requester, user_id: &str, now_ms: i64) -> Result<Value> {
        let user_id: Arc<str> = Arc::from(user_id);
        if requester.user_id != user_id {
            let ours = self.storage.get_rooms_for_user(&requester.user_id).await?;
            let theirs = self.storage.get_rooms_for_user(&user_id).await?;
            let excluded = &self.config.server.rooms_to_exclude_from_presence;
            let counts = |room_id: &&Arc<str>| !excluded.iter().any(|excluded| **excluded == ***room_id);
            if !ours.intersection(&theirs).any(|room_id| counts(&room_id)) {
                return Err(MatrixError::forbidden("You are not allowed to see their presence."));
            }
        }
        let states = self.presence_of(HashSet::from([Arc::clone(&user_id)])).await?;
        Ok(states.get(&user_id).map(|state| format_user_presence_state(state, now_ms)).unwrap_or_default().into())
    }

    /// `PresenceEventSource` from the beginning, as the oldest routes show it: of those who are there.
    pub(crate) async fn presence_for_initial_sync(&self, user_id: &Arc<str>, now_ms: i64) -> Result<Vec<Value>> {
        let mut states = self.presence_of(self.users_with_news(user_id, None).await?).await?;
        states.retain(|_, state| state.state != OFFLINE);
        Ok(states.values().map(|state| presence_event(state, now_ms)).collect())
    }

    /// `PresenceEventSource` from a position on, as the oldest routes show it: of those whom the user shares a room with,
    /// or who are in the room that is asked for.
    pub(crate) async fn presence_news(
        &self,
        user_id: &Arc<str>,
        from: i64,
        room_id: Option<&str>,
        now_ms: i64,
    ) -> Result<Vec<Value>> {
        let full = self.storage.get_full_presence_position(user_id).await?.is_some_and(|position| from <= position);
        let since = (!full).then_some(from);
        let mut users = self.users_with_news(user_id, since).await?;
        if let Some(room_id) = room_id {
            let there: HashSet<Arc<str>> = self.storage.get_users_in_room(room_id).await?.iter().cloned().collect();
            match since {
                Some(since) => users.extend(self.live.may_have_changed_of(Changed::UserPresence, &there, since)),
                None => users.extend(there),
            }
        }
        let mut states = self.presence_of(users).await?;
        states.retain(|_, state| !full || state.state != OFFLINE);
        Ok(states.values().map(|state| presence_event(state, now_ms)).collect())
    }

    /// `get_states`, as the oldest routes show them.
    pub(crate) async fn presence_events(&self, users: HashSet<Arc<str>>, now_ms: i64) -> Result<Vec<Value>> {
        Ok(self.presence_of(users).await?.values().map(|state| presence_event(state, now_ms)).collect())
    }

    /// `current_state_for_users`: of users who never had a presence, "offline".
    async fn presence_of(&self, users: HashSet<Arc<str>>) -> Result<HashMap<Arc<str>, PresenceState>> {
        let mut states = HashMap::new();
        let mut missing = Vec::new();
        for user_id in users {
            match self.live.presence(&user_id) {
                Some(state) => drop(states.insert(user_id, state)),
                None => missing.push(user_id),
            }
        }
        for state in self.storage.get_presence_for_users(missing.clone()).await? {
            states.insert(Arc::clone(&state.user_id), PresenceState::clone(&state));
        }
        for user_id in missing {
            states.entry(Arc::clone(&user_id)).or_insert_with(|| offline(user_id));
        }
        Ok(states)
    }
}

fn offline(user_id: Arc<str>) -> PresenceState {
    PresenceState {
        user_id,
        state: OFFLINE.to_owned(),
        last_active_ts: 0,
        last_federation_update_ts: 0,
        last_user_sync_ts: 0,
        status_msg: None,
        currently_active: false,
    }
}

/// The user stands in the content, and nobody has sent it.
fn presence_event(state: &PresenceState, now_ms: i64) -> Value {
    let mut content = format_user_presence_state(state, now_ms);
    content.insert("user_id".to_owned(), (*state.user_id).into());
    json!({ "type": "m.presence", "content": content })
}

fn item(state: &PresenceState, now_ms: i64) -> Item {
    let content = format_user_presence_state(state, now_ms);
    let json = json!({ "type": "m.presence", "sender": &*state.user_id, "content": content });
    Item { kind: Arc::from("m.presence"), sender: Some(Arc::clone(&state.user_id)), json: json.to_string() }
}

fn format_user_presence_state(state: &PresenceState, now_ms: i64) -> Map<String, Value> {
    let mut content: Map<String, Value> = Map::new();
    content.insert("presence".to_owned(), state.state.as_str().into());
    if state.last_active_ts != 0 {
        content.insert("last_active_ago".to_owned(), (now_ms - state.last_active_ts).into());
    }
    if let Some(status) = state.status_msg.as_ref().filter(|status| !status.is_empty()) {
        content.insert("status_msg".to_owned(), status.as_str().into());
    }
    if state.state == ONLINE {
        content.insert("currently_active".to_owned(), state.currently_active.into());
    }
    content
}
