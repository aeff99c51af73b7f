//! Searching messages. Answers to `synapse/handlers/search.py`.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::try_join_all;
use hashbrown::{HashMap, HashSet};
use myelin_model::state_filter::{MEMBER, StateFilter};
use myelin_model::{Direction, Event, MatrixError, Requester, RoomToken, StreamToken};
use myelin_storage::pagination::Pagination;
use myelin_storage::search::{SearchHit, SearchQuery};
use myelin_storage::{GetEvents, RedactBehaviour};
use serde_json::{Map, Value, json};

use crate::filter::Filter;
use crate::relations::Bundles;
use crate::search_request::{Batch, EventContext, Order, SearchRequest};
use crate::visibility::VisibleEvent;
use crate::{Handlers, Result};

/// How often more is read while too little of it may be seen.
const MAX_ROUNDS: usize = 5;
/// Rooms before an upgraded one that are followed.
const MAX_PREDECESSORS: usize = 1_000;

/// `_SearchResult`
#[derive(Default)]
struct Found {
    count: i64,
    ranks: HashMap<Arc<str>, f64>,
    events: Vec<VisibleEvent>,
    highlights: HashSet<String>,
    room_groups: Map<String, Value>,
    sender_groups: Map<String, Value>,
    next_batch: Option<String>,
}

/// What stands around one event.
struct Around {
    before: Vec<VisibleEvent>,
    after: Vec<VisibleEvent>,
    start: RoomToken,
    end: RoomToken,
    profiles: Option<Value>,
}

impl Handlers {
    /// `search`: a JSON object; nothing while the state of one of the rooms is not complete.
    pub async fn search(
        &self,
        requester: &Requester,
        mut request: SearchRequest,
        now_ms: i64,
    ) -> Result<Option<Vec<u8>>> {
        let room_ids = self.searched_rooms(&requester.user_id, &mut request).await?;
        if room_ids.is_empty() {
            let nothing = br#"{"search_categories":{"room_events":{"results":[],"count":0,"highlights":[]}}}"#;
            return Ok(Some(nothing.to_vec()));
        }
        let partial = self.storage.partial_state_rooms().await?;
        if room_ids.iter().any(|room_id| partial.contains(room_id)) {
            return Ok(None);
        }
        let query = SearchQuery { term: &request.term, room_ids: &room_ids, keys: &request.keys };
        let user_id = &*requester.user_id;
        let found = match request.order {
            Order::Rank => self.search_by_rank(user_id, &query, &request.filter).await?,
            Order::Recent => self.search_by_recent(user_id, &query, &request.filter, request.batch.as_ref()).await?,
        };
        let around = match &request.context {
            Some(context) => {
                let around = found.events.iter().map(|event| self.around(user_id, event, context));
                try_join_all(around).await?
            }
            None => Vec::new(),
        };
        self.search_answer(requester, &request, &found, &around, now_ms).await.map(Some)
    }

    /// Of the rooms that the user is in those that the filter wants, and older rooms of upgraded ones that it names.
    async fn searched_rooms(&self, user_id: &str, request: &mut SearchRequest) -> Result<Vec<Arc<str>>> {
        let rooms = self.storage.get_rooms_for_local_user_where_membership_is(user_id, &["join"]).await?;
        let mut older = Vec::new();
        for room_id in request.filter.rooms() {
            older.extend(self.get_old_rooms_from_upgraded_room(room_id).await?);
        }
        request.filter.add_rooms(older);
        let batch = request.batch.as_ref().filter(|batch| batch.group == "room_id");
        let wanted = |room_id: &Arc<str>| {
            request.filter.wants_room(room_id) && batch.is_none_or(|batch| batch.group_key == **room_id)
        };
        Ok(rooms.into_iter().map(|room| room.room_id).filter(wanted).collect())
    }

    /// `get_old_rooms_from_upgraded_room`: 404 for a room that is not known.
    async fn get_old_rooms_from_upgraded_room(&self, room_id: &str) -> Result<Vec<String>> {
        let mut older: Vec<String> = Vec::new();
        let mut predecessor = self.get_room_predecessor(room_id).await?;
        while let Some(room_id) = predecessor
            && older.len() < MAX_PREDECESSORS
            && !older.contains(&room_id)
        {
            predecessor = match self.get_room_predecessor(&room_id).await {
                Ok(predecessor) => predecessor,
                Err(error) if error.status == 404 => break,
                Err(error) => return Err(error),
            };
            older.push(room_id);
        }
        Ok(older)
    }

    async fn get_room_predecessor(&self, room_id: &str) -> Result<Option<String>> {
        let state = self.storage.get_partial_current_state_ids(room_id).await?;
        if state.is_empty() {
            return Err(MatrixError::not_found(format!("Current state for room {room_id} is empty")));
        }
        let create = self.storage.get_current_state_event_id(room_id, "m.room.create", "").await?;
        let no_create = || MatrixError::not_found(format!("No create event in current state for room {room_id}"));
        let create = create.ok_or_else(no_create)?;
        let not_found = || MatrixError::not_found(format!("Could not find event {create}"));
        let create = self.storage.get_event(&create).await?.ok_or_else(not_found)?;
        Ok(create.content_value().get("predecessor").and_then(|old| old["room_id"].as_str().map(str::to_owned)))
    }

    /// The events that may be seen and are wanted, in the order of the hits; and all that the hits stand for.
    async fn visible_hits(
        &self,
        user_id: &str,
        hits: &[SearchHit],
        filter: &Filter,
    ) -> Result<(Vec<VisibleEvent>, Vec<Arc<Event>>)> {
        let ids: Vec<Arc<str>> = hits.iter().map(|hit| Arc::clone(&hit.event_id)).collect();
        // What was redacted is not found by what it said.
        let options = GetEvents { redact: RedactBehaviour::Block, ..GetEvents::default() };
        let known = self.storage.get_events_as_list(&ids, options).await?;
        let wanted = self.filter_events(filter, known.clone()).await?;
        Ok((self.filter_events_for_client(user_id, wanted, false, &HashSet::new()).await?, known))
    }

    /// `_search_by_rank`
    async fn search_by_rank(&self, user_id: &str, query: &SearchQuery<'_>, filter: &Filter) -> Result<Found> {
        let (hits, count) = self.storage.search_msgs(query).await?;
        let ranks: HashMap<Arc<str>, f64> = hits.iter().map(|hit| (Arc::clone(&hit.event_id), hit.rank)).collect();
        let (mut events, known) = self.visible_hits(user_id, &hits, filter).await?;
        let rank = |event: &VisibleEvent| ranks.get(&event.event.event_id).copied().unwrap_or_default();
        events.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
        events.truncate(filter.limit());
        let mut found = Found { count, highlights: self.highlights(query.term, &known).await?, ..Found::default() };
        for event in &events {
            let new = json!({"results": [], "order": rank(event)});
            for (groups, key) in
                [(&mut found.room_groups, &event.event.room_id), (&mut found.sender_groups, &event.event.sender)]
            {
                push(groups.entry(&**key).or_insert_with(|| new.clone()), &event.event.event_id);
            }
        }
        Ok(Found { ranks, events, ..found })
    }

    /// `_search_by_recent`
    async fn search_by_recent(
        &self,
        user_id: &str,
        query: &SearchQuery<'_>,
        filter: &Filter,
        batch: Option<&Batch>,
    ) -> Result<Found> {
        let limit = filter.limit();
        let page = i64::try_from(limit * 2).unwrap_or(i64::MAX);
        let mut token = batch.map(|batch| batch.token.clone()).filter(|token| !token.is_empty());
        let (mut found, mut tokens, mut all) = (Found::default(), HashMap::new(), Vec::new());
        for _ in 0..MAX_ROUNDS {
            let before = token.as_deref().map(pagination_token).transpose()?;
            let (hits, count) = self.storage.search_rooms(query, before, page).await?;
            found.count = count;
            for hit in &hits {
                found.ranks.insert(Arc::clone(&hit.event_id), hit.rank);
                tokens.insert(Arc::clone(&hit.event_id), token_of(hit));
            }
            let (events, known) = self.visible_hits(user_id, &hits, filter).await?;
            // What was redacted is no hit to Synapse.
            let last = known.last().and_then(|event| tokens.get(&event.event_id).cloned());
            let is_full = known.len() >= limit * 2;
            all.extend(known);
            found.events.extend(events);
            found.events.truncate(limit);
            if found.events.len() >= limit || !is_full {
                break;
            }
            token = last;
        }
        found.highlights = self.highlights(query.term, &all).await?;
        for event in &found.events {
            let group = found.room_groups.entry(&*event.event.room_id).or_insert_with(|| json!({"results": []}));
            push(group, &event.event.event_id);
        }
        if let Some(last) = found.events.last().filter(|_| found.events.len() >= limit) {
            let token = tokens.get(&last.event.event_id).cloned().unwrap_or_default();
            let encode = |group: &str, key: &str| {
                Batch { group: group.to_owned(), group_key: key.to_owned(), token: token.clone() }.encode()
            };
            for (room_id, group) in &mut found.room_groups {
                group["next_batch"] = encode("room_id", room_id).into();
            }
            let of = batch.filter(|batch| !batch.group.is_empty() && !batch.group_key.is_empty());
            found.next_batch = Some(match of {
                Some(batch) => encode(&batch.group, &batch.group_key),
                None => encode("all", ""),
            });
        }
        Ok(found)
    }

    /// `_find_highlights_in_postgres`: words of the events that the query finds.
    async fn highlights(&self, term: &str, events: &[Arc<Event>]) -> Result<HashSet<String>> {
        let values: Vec<String> = events.iter().filter_map(|event| searched_text(event)).collect();
        let marks: Vec<(String, String)> = values.iter().map(|value| (mark(value, '<'), mark(value, '>'))).collect();
        let options: Vec<String> =
            marks.iter().map(|(start, stop)| format!("StartSel={start},StopSel={stop},MaxFragments=50")).collect();
        let headlines = self.storage.search_headlines(term, &values, &options).await?;
        let found = headlines.iter().zip(&marks).flat_map(|(headline, (start, stop))| marked(headline, start, stop));
        Ok(found.map(str::to_lowercase).collect())
    }

    /// One event of `_calculate_event_contexts`.
    async fn around(&self, user_id: &str, event: &VisibleEvent, context: &EventContext) -> Result<Around> {
        let found = &event.event;
        let before = RoomToken::Topological { depth: found.depth - 1, stream: found.position.stream };
        let after = RoomToken::at(found);
        let side = async |from: &RoomToken, direction, limit| {
            let page = Pagination { from, to: None, direction, limit, filter: None };
            let page = self.storage.paginate_room_events(&found.room_id, &page).await?;
            let ids: Vec<Arc<str>> = page.events.into_iter().map(|event| event.event_id).collect();
            let events = self.storage.get_events_with_prev_content(&ids).await?;
            let events = self.filter_events_for_client(user_id, events, false, &HashSet::new()).await?;
            Result::Ok((events, page.next))
        };
        let (before, start) = side(&before, Direction::Backwards, context.before).await?;
        let (after, end) = side(&after, Direction::Forwards, context.after).await?;
        let profiles = if context.include_profile {
            let all = before.iter().chain([event]).chain(&after);
            let senders = all.map(|event| (Arc::from(MEMBER), Some(Arc::clone(&event.event.sender))));
            let last = &after.last().unwrap_or(event).event.event_id;
            let state = self.storage.get_state_ids_for_event(last, &StateFilter::from_types(senders)).await?;
            let ids: Vec<Arc<str>> = state.values().cloned().collect();
            let members = self.storage.get_events_as_list(&ids, GetEvents::default()).await?;
            Some(members.iter().filter_map(|event| profile(event)).collect())
        } else {
            None
        };
        Ok(Around { before, after, start, end, profiles })
    }

    async fn search_answer(
        &self,
        requester: &Requester,
        request: &SearchRequest,
        found: &Found,
        around: &[Around],
        now_ms: i64,
    ) -> Result<Vec<u8>> {
        let all: Vec<VisibleEvent> = around
            .iter()
            .flat_map(|around| around.before.iter().chain(&around.after))
            .chain(&found.events)
            .cloned()
            .collect();
        let bundles = self.get_bundled_aggregations(&all, &requester.user_id).await?;
        let options = self.serialize_options(requester).await?;
        let now = StreamToken::clone(&*self.live.current_token());
        let mut out = br#"{"search_categories":{"room_events":{"results":["#.to_vec();
        for (index, event) in found.events.iter().enumerate() {
            let rank = found.ranks.get(&event.event.event_id).copied().unwrap_or_default();
            let comma = if index > 0 { "," } else { "" };
            out.extend(format!(r#"{comma}{{"rank":{},"result":"#, json!(rank)).bytes());
            out.extend(self.serialize_event(event.to_serialize(), now_ms, &options, &bundles).await?);
            out.extend_from_slice(br#","context":{"#);
            if let Some(around) = around.get(index) {
                for (name, events) in [("events_before", &around.before), ("events_after", &around.after)] {
                    let events: Vec<_> = events.iter().map(VisibleEvent::to_serialize).collect();
                    out.extend(format!(r#""{name}":"#).bytes());
                    out.extend(self.serialize_events(&events, now_ms, &options, &bundles).await?);
                    out.push(b',');
                }
                let start = self.write_token(&now.clone().with_room(around.start.clone())).await?;
                let end = self.write_token(&now.clone().with_room(around.end.clone())).await?;
                out.extend(format!(r#""start":"{start}","end":"{end}""#).bytes());
                if let Some(profiles) = &around.profiles {
                    out.extend(format!(r#","profile_info":{profiles}"#).bytes());
                }
            }
            out.extend_from_slice(b"}}");
        }
        let highlights: Vec<&String> = found.highlights.iter().collect();
        out.extend(format!(r#"],"count":{},"highlights":{}"#, found.count, json!(highlights)).bytes());
        if request.include_state && !found.events.is_empty() {
            let rooms: BTreeSet<&str> = found.events.iter().map(|event| &*event.event.room_id).collect();
            for (index, room_id) in rooms.into_iter().enumerate() {
                let comma = if index > 0 { "," } else { r#","state":{"# };
                out.extend(format!("{comma}{}:", json!(room_id)).bytes());
                let ids = self.storage.get_current_state_event_ids(room_id, &StateFilter::all()).await?;
                let state = self.storage.get_events_as_list(&ids, GetEvents::default()).await?;
                let state: Vec<_> = state.iter().map(|event| (event, None)).collect();
                out.extend(self.serialize_events(&state, now_ms, &options, &Bundles::new()).await?);
            }
            out.push(b'}');
        }
        let mut groups = Map::new();
        for (name, asked, group) in [
            ("room_id", request.group_by_room, &found.room_groups),
            ("sender", request.group_by_sender, &found.sender_groups),
        ] {
            if asked && !group.is_empty() {
                groups.insert(name.to_owned(), group.clone().into());
            }
        }
        if !groups.is_empty() {
            out.extend(format!(r#","groups":{}"#, Value::from(groups)).bytes());
        }
        if let Some(batch) = &found.next_batch {
            out.extend(format!(r#","next_batch":"{batch}""#).bytes());
        }
        out.extend_from_slice(b"}}}");
        Ok(out)
    }
}

fn push(group: &mut Value, event_id: &str) {
    if let Some(results) = group["results"].as_array_mut() {
        results.push(event_id.into());
    }
}

/// `origin_server_ts,stream_ordering`; what is missing Python calls `None`.
fn token_of(hit: &SearchHit) -> String {
    let text = |number: Option<i64>| number.map_or_else(|| "None".to_owned(), |number| number.to_string());
    format!("{},{}", text(hit.origin_server_ts), text(hit.stream_ordering))
}

fn pagination_token(token: &str) -> Result<(i64, i64)> {
    let number = |text: &str| text.trim().parse::<i64>().ok();
    let parsed = token.split_once(',').and_then(|(ts, stream)| Some((number(ts)?, number(stream)?)));
    parsed.ok_or_else(|| MatrixError::unknown(400, "Invalid pagination token"))
}

/// All of an event that may have been found.
fn searched_text(event: &Event) -> Option<String> {
    let values = ["body", "name", "topic"].into_iter().filter_map(|key| event.content_str(key));
    let values: Vec<String> = values.filter(|value| !value.is_empty()).map(|value| value.replace('\0', " ")).collect();
    (!values.is_empty()).then(|| values.join(" "))
}

/// So many of a character as the text has nowhere in a row.
fn mark(text: &str, with: char) -> String {
    let mut mark = String::from(with);
    while text.contains(&mark) {
        mark.push(with);
    }
    mark
}

/// What stands between two marks, each time, on one line.
fn marked<'a>(text: &'a str, start: &str, stop: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(start) {
        rest = after;
        if let Some((word, after)) = after.split_once(stop).filter(|(word, _)| !word.contains('\n')) {
            found.push(word);
            rest = after;
        }
    }
    found
}

/// A member and what they were called.
fn profile(event: &Event) -> Option<(String, Value)> {
    let content = event.content_value();
    let of = |key: &str| content.get(key).cloned().unwrap_or_default();
    let user_id = event.state_key.as_deref()?.to_owned();
    Some((user_id, json!({"displayname": of("displayname"), "avatar_url": of("avatar_url")})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_between_marks() {
        assert_eq!(mark("a << b", '<'), "<<<");
        assert_eq!(marked("<<a>> b << c\n>> <<d>>", "<<", ">>"), ["a", "d"]);
        assert_eq!(pagination_token("1,-2").unwrap(), (1, -2));
        assert!(pagination_token("1").is_err() && pagination_token("1,None").is_err());
    }
}
