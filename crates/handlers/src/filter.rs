//! A client's filter. Answers to `FilterCollection` and `Filter` in `synapse/api/filtering.py`.

use std::cell::LazyCell;
use std::sync::Arc;

use hashbrown::HashSet;
use myelin_config::Server;
use myelin_model::Event;
use myelin_storage::pagination::EventFilter;
use serde_json::{Map, Value};

use crate::sections::Item;
use crate::{Handlers, Result};

const DEFAULT_LIMIT: usize = 10;

/// The filter of a whole /sync.
#[derive(Clone, Debug)]
pub struct FilterCollection {
    /// `rooms` and `not_rooms` of the filter's `room`.
    room: Filter,
    timeline: Filter,
    state: Filter,
    ephemeral: Filter,
    room_account_data: Filter,
    presence: Filter,
    account_data: Filter,
    pub include_leave: bool,
    /// Each `event_fields` entry, split into its path.
    pub event_fields: Vec<Vec<String>>,
    /// Of others, to be told of their changes (MSC4429).
    pub profile_fields: Vec<String>,
    /// `event_format: federation`
    pub federation_format: bool,
}

/// The filter of one section.
#[derive(Clone, Debug)]
pub struct Filter {
    limit: usize,
    lazy_load_members: bool,
    include_redundant_members: bool,
    unread_thread_notifications: bool,
    types: Choice,
    rooms: Choice,
    senders: Choice,
    labels: Choice,
    contains_url: Option<bool>,
    related_by_senders: Vec<String>,
    related_by_rel_types: Vec<String>,
}

/// What is allowed (anything, without a list) and what is not.
#[derive(Clone, Debug, Default)]
struct Choice {
    only: Option<Vec<String>>,
    not: Vec<String>,
}

impl Choice {
    fn read(json: &Map<String, Value>, only: &str, not: &str) -> Self {
        Self { only: texts(json.get(only)), not: texts(json.get(not)).unwrap_or_default() }
    }

    fn allows(&self, matches: impl Fn(&str) -> bool) -> bool {
        !self.not.iter().any(|value| matches(value))
            && self.only.as_ref().is_none_or(|only| only.iter().any(|value| matches(value)))
    }

    fn blocks_all(&self) -> bool {
        self.only.as_ref().is_some_and(Vec::is_empty) || self.not.iter().any(|value| value == "*")
    }
}

fn texts(value: Option<&Value>) -> Option<Vec<String>> {
    let list = value?.as_array()?;
    Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// What a filter looks at.
struct Subject<'a, F> {
    kind: &'a str,
    room_id: Option<&'a str>,
    sender: Option<&'a str>,
    content: LazyCell<Map<String, Value>, F>,
}

impl Filter {
    /// The filter of `/messages` and `/context`, which stands alone.
    pub fn new(json: &Map<String, Value>, msc3773: bool) -> Self {
        Self::read(Some(&Value::Object(json.clone())), msc3773)
    }

    pub fn lazy_load_members(&self) -> bool {
        self.lazy_load_members
    }

    /// Events of an answer.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The rooms that it names, if it names any.
    pub(crate) fn rooms(&self) -> &[String] {
        self.rooms.only.as_deref().unwrap_or_default()
    }

    /// `with_room_ids`
    pub(crate) fn add_rooms(&mut self, room_ids: Vec<String>) {
        if let Some(only) = &mut self.rooms.only {
            only.extend(room_ids);
        }
    }

    /// `filter_rooms`
    pub(crate) fn wants_room(&self, room_id: &str) -> bool {
        self.rooms.allows(|known| known == room_id)
    }

    /// `filter_to_clause`: what of it the database can tell.
    pub fn to_event_filter(&self) -> EventFilter {
        let only = |choice: &Choice| choice.only.clone().unwrap_or_default();
        EventFilter {
            types: only(&self.types),
            not_types: self.types.not.clone(),
            senders: only(&self.senders),
            not_senders: self.senders.not.clone(),
            rooms: only(&self.rooms),
            not_rooms: self.rooms.not.clone(),
            contains_url: self.contains_url == Some(true),
            labels: only(&self.labels),
            related_by_senders: self.related_by_senders.clone(),
            related_by_rel_types: self.related_by_rel_types.clone(),
        }
    }

    fn read(json: Option<&Value>, msc3773: bool) -> Self {
        let empty = Map::new();
        let json = json.and_then(Value::as_object).unwrap_or(&empty);
        let flag = |key: &str| json.get(key).and_then(Value::as_bool).unwrap_or(false);
        Self {
            limit: limit(json.get("limit")),
            lazy_load_members: flag("lazy_load_members"),
            include_redundant_members: flag("include_redundant_members"),
            unread_thread_notifications: flag("unread_thread_notifications")
                || msc3773 && flag("org.matrix.msc3773.unread_thread_notifications"),
            types: Choice::read(json, "types", "not_types"),
            rooms: Choice::read(json, "rooms", "not_rooms"),
            senders: Choice::read(json, "senders", "not_senders"),
            labels: Choice::read(json, "org.matrix.labels", "org.matrix.not_labels"),
            contains_url: json.get("contains_url").and_then(Value::as_bool),
            related_by_senders: texts(json.get("related_by_senders")).unwrap_or_default(),
            related_by_rel_types: texts(json.get("related_by_rel_types")).unwrap_or_default(),
        }
    }

    fn check<F: FnOnce() -> Map<String, Value>>(&self, subject: &Subject<'_, F>) -> bool {
        let labelled = |label: &str| {
            let labels = subject.content.get("org.matrix.labels").and_then(Value::as_array);
            labels.is_some_and(|labels| labels.iter().any(|value| value == label))
        };
        let has_url = || subject.content.get("url").is_some_and(Value::is_string);
        self.rooms.allows(|room_id| subject.room_id == Some(room_id))
            && self.senders.allows(|sender| match subject.sender {
                Some(known) => known == sender,
                // Whom it is about, when nobody sent it.
                None => subject.content.get("user_id").is_some_and(|user_id| user_id == sender),
            })
            && self.types.allows(|kind| matches_wildcard(subject.kind, kind))
            && self.labels.allows(labelled)
            && self.contains_url.is_none_or(|wanted| wanted == has_url())
    }

    fn wants_event(&self, event: &Event) -> bool {
        // Synapse: the create event of version 12 carries no room id, so that any `rooms` list drops it.
        let names_no_room = event.room_version.room_id_from_create && &*event.kind == "m.room.create";
        self.check(&Subject {
            kind: &event.kind,
            room_id: (!names_no_room).then_some(&*event.room_id),
            sender: Some(&event.sender),
            content: LazyCell::new(|| event.content_value()),
        })
    }

    /// Synapse: account data carries no room id here, so that any `rooms` list drops it.
    fn wants_item(&self, item: &Item) -> bool {
        self.wants_item_of(None, item)
    }

    fn wants_item_of(&self, room_id: Option<&str>, item: &Item) -> bool {
        self.check(&Subject {
            kind: &item.kind,
            room_id,
            sender: item.sender.as_deref(),
            content: LazyCell::new(|| match serde_json::from_str(&item.json) {
                Ok(Value::Object(mut object)) => match object.remove("content") {
                    Some(Value::Object(content)) => content,
                    _ => Map::new(),
                },
                _ => Map::new(),
            }),
        })
    }

    fn blocks_all(&self) -> bool {
        self.types.blocks_all() || self.senders.blocks_all()
    }

    fn blocks_all_in_rooms(&self) -> bool {
        self.blocks_all() || self.rooms.blocks_all()
    }
}

fn limit(value: Option<&Value>) -> usize {
    let Some(value) = value else { return DEFAULT_LIMIT };
    match value.as_u64() {
        Some(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
        // Fractions are cut off; nothing is fewer than none.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at 0")]
        None => value.as_f64().map_or(DEFAULT_LIMIT, |limit| limit as usize),
    }
}

fn matches_wildcard(actual: &str, wanted: &str) -> bool {
    wanted.strip_suffix('*').map_or(actual == wanted, |prefix| actual.starts_with(prefix))
}

/// A path's steps; a backslash protects a dot or a backslash. Answers to `_split_field`.
fn split_field(field: &str) -> Vec<String> {
    let mut steps = vec![String::new()];
    let mut escaped = false;
    for c in field.chars() {
        let last = steps.len() - 1;
        match c {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '.' if !escaped => steps.push(String::new()),
            '.' | '\\' => steps[last].push(c),
            _ => {
                // A backslash before anything else is itself.
                if escaped {
                    steps[last].push('\\');
                }
                steps[last].push(c);
            }
        }
        escaped = false;
    }
    if escaped && let Some(last) = steps.last_mut() {
        last.push('\\');
    }
    steps
}

impl FilterCollection {
    /// Of a filter that `check_valid_filter` let pass.
    pub fn new(json: &Value, server: &Server) -> Self {
        let mut filter = Self::read(json, server.experimental.msc3773);
        if server.include_profile_updates_in_sync {
            let fields = json.get("org.matrix.msc4429.profile_fields").and_then(|fields| fields.get("ids"));
            filter.profile_fields = texts(fields).unwrap_or_default();
        }
        filter
    }

    fn read(json: &Value, msc3773: bool) -> Self {
        let room = json.get("room");
        let read = |json| Filter::read(json, msc3773);
        let in_room = |key: &str| read(room.and_then(|room| room.get(key)));
        let whole_room = read(room);
        Self {
            room: Filter { rooms: whole_room.rooms, ..read(None) },
            timeline: in_room("timeline"),
            state: in_room("state"),
            ephemeral: in_room("ephemeral"),
            room_account_data: in_room("account_data"),
            presence: read(json.get("presence")),
            account_data: read(json.get("account_data")),
            include_leave: room.and_then(|room| room.get("include_leave")).and_then(Value::as_bool).unwrap_or(false),
            event_fields: texts(json.get("event_fields")).unwrap_or_default().iter().map(|f| split_field(f)).collect(),
            profile_fields: Vec::new(),
            federation_format: json.get("event_format").is_some_and(|format| format == "federation"),
        }
    }

    pub fn timeline_limit(&self) -> usize {
        self.timeline.limit
    }

    pub fn lazy_load_members(&self) -> bool {
        self.state.lazy_load_members
    }

    pub fn include_redundant_members(&self) -> bool {
        self.state.include_redundant_members
    }

    pub fn unread_thread_notifications(&self) -> bool {
        self.timeline.unread_thread_notifications
    }

    pub fn blocks_all_rooms(&self) -> bool {
        self.room.rooms.blocks_all()
    }

    pub fn blocks_all_presence(&self) -> bool {
        self.presence.blocks_all()
    }

    pub fn blocks_all_global_account_data(&self) -> bool {
        self.account_data.blocks_all()
    }

    pub fn blocks_all_room_ephemeral(&self) -> bool {
        self.ephemeral.blocks_all_in_rooms()
    }

    pub fn blocks_all_room_account_data(&self) -> bool {
        self.room_account_data.blocks_all_in_rooms()
    }

    pub fn blocks_all_room_timeline(&self) -> bool {
        self.timeline.blocks_all_in_rooms()
    }

    /// By sender and type only.
    pub fn filter_presence(&self, items: &mut Vec<Item>) {
        let filter = &self.presence;
        items.retain(|item| {
            filter.senders.allows(|sender| item.sender.as_deref() == Some(sender))
                && filter.types.allows(|kind| kind == &*item.kind)
        });
    }

    pub fn filter_global_account_data(&self, items: &mut Vec<Item>) {
        items.retain(|item| self.account_data.wants_item(item));
    }

    pub fn filter_room_account_data(&self, items: &mut Vec<Item>) {
        items.retain(|item| self.room.wants_item(item) && self.room_account_data.wants_item(item));
    }

    /// Unlike account data, these know their room.
    pub fn filter_room_ephemeral(&self, room_id: &str, items: &mut Vec<Item>) {
        let room_id = Some(room_id);
        items.retain(|item| self.room.wants_item_of(room_id, item) && self.ephemeral.wants_item_of(room_id, item));
    }
}

impl Handlers {
    pub async fn filter_room_timeline(
        &self,
        filter: &FilterCollection,
        events: Vec<Arc<Event>>,
    ) -> Result<Vec<Arc<Event>>> {
        self.filter_in_room(&filter.room, &filter.timeline, events).await
    }

    pub async fn filter_room_state(
        &self,
        filter: &FilterCollection,
        events: Vec<Arc<Event>>,
    ) -> Result<Vec<Arc<Event>>> {
        self.filter_in_room(&filter.room, &filter.state, events).await
    }

    async fn filter_in_room(
        &self,
        room: &Filter,
        section: &Filter,
        mut events: Vec<Arc<Event>>,
    ) -> Result<Vec<Arc<Event>>> {
        events.retain(|event| room.wants_event(event));
        self.filter_events(section, events).await
    }

    /// `Filter.filter`
    pub async fn filter_events(&self, filter: &Filter, mut events: Vec<Arc<Event>>) -> Result<Vec<Arc<Event>>> {
        events.retain(|event| filter.wants_event(event));
        let (senders, rel_types) = (&filter.related_by_senders, &filter.related_by_rel_types);
        if !(events.is_empty() || senders.is_empty() && rel_types.is_empty()) {
            let ids: Vec<Arc<str>> = events.iter().map(|event| Arc::clone(&event.event_id)).collect();
            let related: HashSet<Arc<str>> = self.storage.events_have_relations(&ids, senders, rel_types).await?;
            events.retain(|event| related.contains(&event.event_id));
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn item(kind: &str) -> Item {
        Item {
            kind: kind.into(),
            sender: None,
            json: json!({"type": kind, "content": {"user_id": "@a:t"}}).to_string(),
        }
    }

    fn kept(filter: &Value) -> Vec<String> {
        let mut items = vec![item("m.tag"), item("m.x"), item("org.y")];
        FilterCollection::read(filter, false).filter_room_account_data(&mut items);
        items.into_iter().map(|item| item.kind.to_string()).collect()
    }

    #[test]
    fn types_have_wildcards_and_exceptions() {
        let room = |account_data: Value| json!({"room": {"account_data": account_data}});
        assert_eq!(kept(&json!({})), ["m.tag", "m.x", "org.y"]);
        assert_eq!(kept(&room(json!({"types": ["m.*"], "not_types": ["m.x"]}))), ["m.tag"]);
        assert!(kept(&room(json!({"types": []}))).is_empty());
        assert_eq!(kept(&room(json!({"senders": ["@a:t"]}))).len(), 3);
        assert!(kept(&room(json!({"not_senders": ["@a:t"]}))).is_empty());
        assert!(kept(&json!({"room": {"rooms": ["!r"]}})).is_empty());
    }

    #[test]
    fn limits_are_counts() {
        for (given, expected) in [(json!(3), 3), (json!(2.9), 2), (json!(-1), 0), (json!(null), 10)] {
            let filter = FilterCollection::read(&json!({"room": {"timeline": {"limit": given}}}), false);
            assert_eq!(filter.timeline_limit(), expected, "{given}");
        }
        assert_eq!(FilterCollection::read(&json!({}), false).timeline_limit(), 10);
    }

    #[test]
    fn fields_are_paths() {
        assert_eq!(split_field("content.body"), ["content", "body"]);
        assert_eq!(split_field("content.m\\.relates_to"), ["content", "m.relates_to"]);
        assert_eq!(split_field("a\\\\.b"), ["a\\", "b"]);
        assert_eq!(split_field("a\\n"), ["a\\n"]);
    }
}
