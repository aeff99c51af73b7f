//! The long poll from before /sync. Answers to `EventStreamHandler` in `synapse/handlers/events.py`, to `get_events_for` in
//! `synapse/notifier.py` and to the event sources that it asks.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;
use myelin_live::Wakened;
use myelin_model::event::serialize::{EventFormat, SerializeOptions};
use myelin_model::state_filter::MEMBER;
use myelin_model::{MatrixError, Requester, RoomToken, StreamToken};
use myelin_storage::account_data::AccountDatum;
use serde_json::{Value, json};

use crate::relations::Bundles;
use crate::sections::account_data::tag_content;
use crate::visibility::{HISTORY_VISIBILITY, VisibleEvent};
use crate::{Handlers, Result, now_ms};

/// Synapse's shortest wait.
const MIN_TIMEOUT: Duration = Duration::from_millis(500);
/// A client asks again long before.
const MAX_TIMEOUT: Duration = Duration::from_hours(24);

/// `GET /events`
#[derive(Clone, Copy, Debug)]
pub struct EventStreamRequest<'a> {
    pub requester: &'a Requester,
    pub from: Option<&'a StreamToken>,
    /// Events of rooms in one answer; 0 is no limit but that of each room.
    pub limit: usize,
    /// Milliseconds; less than none is the shortest wait.
    pub timeout: i64,
    /// Only this room, which the user may also just look into.
    pub room_id: Option<&'a str>,
    /// Events as servers see them.
    pub raw: bool,
}

/// Which rooms are listened to, and whether the user is in them.
struct Heard {
    rooms: Vec<Arc<str>>,
    is_joined: bool,
}

/// `EventStreamResult`, without the token that it starts with.
struct News {
    events: Vec<VisibleEvent>,
    /// Everything that is no event, as JSON.
    others: Vec<String>,
    end: StreamToken,
}

impl Handlers {
    /// `get_stream`: a JSON object; nothing while the state of a room is not complete.
    pub async fn event_stream(&self, request: &EventStreamRequest<'_>) -> Result<Option<Vec<u8>>> {
        let user_id = &request.requester.user_id;
        if let Some(room_id) = request.room_id.filter(|room_id| !room_id.is_empty())
            && self.storage.is_room_blocked(room_id).await?
        {
            return Err(MatrixError::unknown(403, "This room has been blocked on this server"));
        }
        let syncing =
            if request.requester.is_guest { None } else { self.user_syncing(request.requester, "online").await? };
        let from = request.from.cloned().unwrap_or_else(|| StreamToken::clone(&*self.live.current_token()));
        let heard = self.heard_rooms(user_id, request.room_id).await?;
        let partial = self.storage.partial_state_rooms().await?;
        if heard.rooms.iter().any(|room_id| partial.contains(room_id)) {
            return Ok(None);
        }
        let news = self.wait_for_events(request, &from, &heard).await?;
        drop(syncing);
        self.encode_events(request, &from, news).await.map(Some)
    }

    /// `_get_room_ids`
    async fn heard_rooms(&self, user_id: &str, room_id: Option<&str>) -> Result<Heard> {
        let joined = self.storage.get_rooms_for_user(user_id).await?;
        let Some(room_id) = room_id.filter(|room_id| !room_id.is_empty()) else {
            return Ok(Heard { rooms: joined.iter().cloned().collect(), is_joined: true });
        };
        let rooms = vec![Arc::from(room_id)];
        if joined.contains(room_id) {
            return Ok(Heard { rooms, is_joined: true });
        }
        let visibility = self.get_current_state_event(room_id, HISTORY_VISIBILITY, "").await?;
        let visibility = visibility.and_then(|event| event.content_str("history_visibility"));
        if visibility.as_deref() != Some("world_readable") {
            return Err(MatrixError::forbidden("Non-joined access not allowed"));
        }
        Ok(Heard { rooms, is_joined: false })
    }

    async fn wait_for_events(
        &self,
        request: &EventStreamRequest<'_>,
        from: &StreamToken,
        heard: &Heard,
    ) -> Result<News> {
        let user_id = &request.requester.user_id;
        // Who only looks into a room does not hear what is for its members.
        let listener_id: Arc<str> = if heard.is_joined {
            Arc::clone(user_id)
        } else {
            format!("_PEEKING_{}_{user_id}", request.room_id.unwrap_or_default()).into()
        };
        let mut listener = self.live.listen(&listener_id, heard.rooms.clone());
        if request.timeout == 0 {
            return self.news(request, from, heard).await;
        }
        let timeout = Duration::from_millis(u64::try_from(request.timeout).unwrap_or_default());
        let deadline = tokio::time::Instant::now() + timeout.clamp(MIN_TIMEOUT, MAX_TIMEOUT);
        loop {
            let seen = listener.seen();
            let news = self.news(request, from, heard).await?;
            if !news.is_empty() {
                return Ok(news);
            }
            match listener.wait(seen, deadline.saturating_duration_since(tokio::time::Instant::now())).await {
                Wakened::Woken => {}
                Wakened::Stopping | Wakened::TimedOut => return Ok(news),
            }
        }
    }

    /// `check_for_updates`: each source from the token on.
    async fn news(&self, request: &EventStreamRequest<'_>, from: &StreamToken, heard: &Heard) -> Result<News> {
        let now = StreamToken::clone(&*self.live.current_token());
        let user_id = &request.requester.user_id;
        let mut news = News { events: Vec::new(), others: Vec::new(), end: from.clone() };
        let now_ms = now_ms();
        if from.room != now.room {
            (news.events, news.end.room) = self.room_news(request, from, &now, heard).await?;
        }
        if from.presence != now.presence {
            let room_id = request.room_id.filter(|room_id| !room_id.is_empty());
            let presence = self.presence_news(user_id, from.presence, room_id, now_ms).await?;
            news.others.extend(presence.iter().map(Value::to_string));
            news.end.presence = now.presence;
        }
        if from.typing != now.typing {
            for (room_id, user_ids) in self.live.typing_changed(&heard.rooms, from.typing, now.typing) {
                let user_ids: Vec<&str> = user_ids.iter().map(|user_id| &**user_id).collect();
                let typing = json!({"type": "m.typing", "room_id": &*room_id, "content": {"user_ids": user_ids}});
                news.others.push(typing.to_string());
            }
            news.end.typing = now.typing;
        }
        if from.receipt != now.receipt {
            for (room_id, item) in
                self.receipts_of_rooms(user_id, &heard.rooms, Some(&from.receipt), &now.receipt).await?
            {
                news.others.push(of_room(&room_id, &item.json));
            }
            news.end.receipt = now.receipt.clone();
        }
        if from.account_data != now.account_data {
            news.others.extend(self.account_data_news(user_id, from.account_data).await?);
            news.end.account_data = now.account_data;
        }
        Ok(news)
    }

    /// `RoomEventSource`. Synapse: the user's own membership events come twice where they are in the room.
    async fn room_news(
        &self,
        request: &EventStreamRequest<'_>,
        from: &StreamToken,
        now: &StreamToken,
        heard: &Heard,
    ) -> Result<(Vec<VisibleEvent>, RoomToken)> {
        let user_id = &request.requester.user_id;
        let lower = match &from.room {
            RoomToken::Live(position) => position.clone(),
            RoomToken::Topological { stream, .. } => (*stream).into(),
        };
        let upper = now.room.position();
        let mut ids = self.storage.membership_changes_for_user(user_id, &lower, &upper, &[]).await?;
        let limit = if request.limit == 0 { 10 } else { request.limit };
        ids.extend(self.storage.oldest_room_events(&heard.rooms, (&lower, &upper), limit).await?);
        let mut events = self.storage.get_events_with_prev_content(&ids).await?;
        events.sort_by_key(|event| event.position.stream);
        if request.limit > 0 {
            events.truncate(request.limit);
        }
        let end = match events.last() {
            Some(last) => RoomToken::Live(last.position.stream.into()),
            None => now.room.clone(),
        };
        let is_peeking = !heard.is_joined;
        Ok((self.filter_events_for_client(user_id, events, is_peeking, &HashSet::new()).await?, end))
    }

    /// `AccountDataEventSource`
    async fn account_data_news(&self, user_id: &str, from: i64) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for room_id in self.storage.rooms_with_updated_tags(user_id, from).await? {
            let tags = self.storage.get_tags_for_user(user_id).await?;
            let content = tag_content(tags.get(&room_id).map(Vec::as_slice).unwrap_or_default());
            found.push(of_room(&room_id, &datum("m.tag", &content)));
        }
        let global = self.storage.get_updated_global_account_data_for_user(user_id, from).await?;
        found.extend(global.iter().map(|(kind, content): &AccountDatum| datum(kind, content)));
        for (room_id, data) in self.storage.get_updated_room_account_data_for_user(user_id, from).await? {
            found.extend(data.iter().map(|(kind, content)| of_room(&room_id, &datum(kind, content))));
        }
        Ok(found)
    }

    async fn encode_events(&self, request: &EventStreamRequest<'_>, from: &StreamToken, news: News) -> Result<Vec<u8>> {
        let now_ms = now_ms();
        let mut others = news.others;
        // Who joined is shown with their presence; a room that the user joined with that of everybody in it.
        for visible in &news.events {
            let event = &visible.event;
            if &*event.kind != MEMBER || event.membership() != Some("join") {
                continue;
            }
            let own = event.state_key.as_deref() == Some(&*request.requester.user_id);
            let users: HashSet<Arc<str>> = if own {
                self.storage.get_users_in_room(&event.room_id).await?.iter().cloned().collect()
            } else {
                event.state_key.as_deref().map(Arc::from).into_iter().collect()
            };
            others.extend(self.presence_events(users, now_ms).await?.iter().map(Value::to_string));
        }
        let format = if request.raw { EventFormat::Raw } else { EventFormat::V1 };
        let options = SerializeOptions { format, ..self.serialize_options(request.requester).await? };
        let events: Vec<_> = news.events.iter().map(VisibleEvent::to_serialize).collect();
        let mut out = br#"{"chunk":"#.to_vec();
        out.extend(self.serialize_events(&events, now_ms, &options, &Bundles::new()).await?);
        if !others.is_empty() {
            out.pop();
            out.extend_from_slice(if events.is_empty() { b"" } else { b"," });
            out.extend(others.join(",").bytes());
            out.push(b']');
        }
        for (name, token) in [("start", from), ("end", &news.end)] {
            out.extend(format!(r#","{name}":"{}""#, self.write_token(token).await?).bytes());
        }
        out.push(b'}');
        Ok(out)
    }
}

impl News {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.others.is_empty()
    }
}

fn datum(kind: &str, content: &str) -> String {
    format!(r#"{{"type":{},"content":{content}}}"#, Value::from(kind))
}

/// A JSON object with the room that it is of.
pub(crate) fn of_room(room_id: &str, json: &str) -> String {
    format!(r#"{{"room_id":{},{}"#, Value::from(room_id), json.strip_prefix('{').unwrap_or_default())
}
