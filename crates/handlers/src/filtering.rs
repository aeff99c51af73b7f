//! Filters that clients send and store: what is valid, and what jsonschema says of the rest.
//! Answers to `check_valid_filter` in `synapse/api/filtering.py` and `synapse/rest/client/filter.py`.

use std::sync::Arc;

use myelin_model::{MatrixError, Requester, identifiers};
use serde_json::{Map, Value};

use crate::python_text::{pretty, repr};
use crate::{Handlers, Result};

/// What a part of a filter must be.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Object(&'static str, &'static [(&'static str, Kind)]),
    Number,
    Boolean,
    Strings,
    UserIds,
    RoomIds,
    EventFormat,
}

const FILTER: &[(&str, Kind)] = &[
    ("limit", Kind::Number),
    ("senders", Kind::UserIds),
    ("not_senders", Kind::UserIds),
    ("types", Kind::Strings),
    ("not_types", Kind::Strings),
    ("org.matrix.msc3874.rel_types", Kind::Strings),
    ("org.matrix.msc3874.not_rel_types", Kind::Strings),
];
const ROOM_EVENT_FILTER: &[(&str, Kind)] = &[
    ("limit", Kind::Number),
    ("senders", Kind::UserIds),
    ("not_senders", Kind::UserIds),
    ("types", Kind::Strings),
    ("not_types", Kind::Strings),
    ("rooms", Kind::RoomIds),
    ("not_rooms", Kind::RoomIds),
    ("contains_url", Kind::Boolean),
    ("lazy_load_members", Kind::Boolean),
    ("include_redundant_members", Kind::Boolean),
    ("unread_thread_notifications", Kind::Boolean),
    ("org.matrix.msc3773.unread_thread_notifications", Kind::Boolean),
    ("org.matrix.labels", Kind::Strings),
    ("org.matrix.not_labels", Kind::Strings),
    ("related_by_senders", Kind::Strings),
    ("related_by_rel_types", Kind::Strings),
];
const ROOM_FILTER: &[(&str, Kind)] = &[
    ("not_rooms", Kind::RoomIds),
    ("rooms", Kind::RoomIds),
    ("ephemeral", Kind::Object("room_event_filter", ROOM_EVENT_FILTER)),
    ("include_leave", Kind::Boolean),
    ("state", Kind::Object("room_event_filter", ROOM_EVENT_FILTER)),
    ("timeline", Kind::Object("room_event_filter", ROOM_EVENT_FILTER)),
    ("account_data", Kind::Object("room_event_filter", ROOM_EVENT_FILTER)),
];
const PROFILE_FIELDS: &str = "profile_fields_filter";
const USER_FILTER: &[(&str, Kind)] = &[
    ("presence", Kind::Object("filter", FILTER)),
    ("account_data", Kind::Object("filter", FILTER)),
    ("room", Kind::Object("room_filter", ROOM_FILTER)),
    ("event_format", Kind::EventFormat),
    ("event_fields", Kind::Strings),
    ("org.matrix.msc4429.profile_fields", Kind::Object(PROFILE_FIELDS, &[("ids", Kind::Strings)])),
];

const FORMATS: [&str; 2] = ["client", "federation"];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(&'static str),
    Index(usize),
}

/// One thing that is wrong.
struct Fault<'a> {
    path: Vec<Step>,
    instance: &'a Value,
    message: String,
    keyword: &'static str,
    schema: String,
    /// The schema's path below `properties`; `true` for the items of a list.
    in_items: bool,
}

/// Finds everything that is wrong, in the order of jsonschema.
#[derive(Default)]
struct Check<'a> {
    path: Vec<Step>,
    faults: Vec<Fault<'a>>,
}

impl<'a> Check<'a> {
    fn properties(&mut self, map: &'a Map<String, Value>, known: &'static [(&'static str, Kind)]) {
        for (name, kind) in known {
            if let Some(value) = map.get(*name) {
                self.path.push(Step::Key(name));
                self.value(value, *kind);
                self.path.pop();
            }
        }
    }

    fn value(&mut self, value: &'a Value, kind: Kind) {
        match (kind, value) {
            (Kind::Object(_, known), Value::Object(map)) => self.properties(map, known),
            (Kind::Object(name, known), _) => self.wrong_type(value, "object", object_schema(name, known)),
            (Kind::Number, Value::Number(_)) | (Kind::Boolean, Value::Bool(_)) => {}
            (Kind::Number, _) => self.wrong_type(value, "number", one_line(kind)),
            (Kind::Boolean, _) => self.wrong_type(value, "boolean", one_line(kind)),
            (Kind::Strings | Kind::UserIds | Kind::RoomIds, Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.path.push(Step::Index(index));
                    self.item(item, kind);
                    self.path.pop();
                }
            }
            (Kind::Strings | Kind::UserIds | Kind::RoomIds, _) => self.wrong_type(value, "array", list_schema(kind)),
            (Kind::EventFormat, _) => self.event_format(value),
        }
    }

    fn item(&mut self, item: &'a Value, kind: Kind) {
        let (format, is_valid): (_, fn(&str) -> bool) = match kind {
            Kind::UserIds => ("matrix_user_id", identifiers::is_valid_user_id),
            Kind::RoomIds => ("matrix_room_id", identifiers::is_valid_room_id),
            _ => ("", |_| true),
        };
        let schema = item_schema(kind);
        match item {
            Value::String(text) if is_valid(text) => {}
            Value::String(_) => self.fault(item, format!("{} is not a '{format}'", repr(item)), "format", schema, true),
            _ => self.fault(item, format!("{} is not of type 'string'", repr(item)), "type", schema, true),
        }
    }

    fn event_format(&mut self, value: &'a Value) {
        match value {
            Value::String(text) if FORMATS.contains(&text.as_str()) => {}
            Value::String(_) => {
                let message = format!("{} is not one of ['client', 'federation']", repr(value));
                self.fault(value, message, "enum", one_line(Kind::EventFormat), false);
            }
            _ => self.wrong_type(value, "string", one_line(Kind::EventFormat)),
        }
    }

    fn wrong_type(&mut self, value: &'a Value, wanted: &str, schema: String) {
        let message = format!("{} is not of type '{wanted}'", repr(value));
        self.fault(value, message, "type", schema, false);
    }

    fn fault(&mut self, instance: &'a Value, message: String, keyword: &'static str, schema: String, in_items: bool) {
        self.faults.push(Fault { path: self.path.clone(), instance, message, keyword, schema, in_items });
    }

    /// `best_match`: the shallowest, and of these the one whose path is the last in order.
    fn best(self) -> Option<Fault<'a>> {
        let better = |best: Fault<'a>, other: Fault<'a>| {
            let key = |fault: &Fault<'_>| (std::cmp::Reverse(fault.path.len()), fault.path.clone());
            if key(&other) > key(&best) { other } else { best }
        };
        self.faults.into_iter().reduce(better)
    }
}

impl Fault<'_> {
    /// `str(ValidationError)`
    fn text(&self) -> String {
        let (mut schema_path, mut path) = ("schema".to_owned(), "instance".to_owned());
        for step in &self.path {
            match step {
                Step::Key(name) => {
                    schema_path.extend(["['properties']['", name, "']"]);
                    path.extend(["['", name, "']"]);
                }
                Step::Index(index) => path.extend(["[", &index.to_string(), "]"]),
            }
        }
        if self.in_items {
            schema_path.push_str("['items']");
        }
        let indented = |text: &str| text.replace('\n', "\n    ");
        format!(
            "{}\n\nFailed validating '{}' in {schema_path}:\n    {}\n\nOn {path}:\n    {}",
            self.message,
            self.keyword,
            indented(&self.schema),
            indented(&pretty(self.instance)),
        )
    }
}

fn one_line(kind: Kind) -> String {
    match kind {
        Kind::Number => "{'type': 'number'}".to_owned(),
        Kind::Boolean => "{'type': 'boolean'}".to_owned(),
        Kind::Strings => list_schema(kind),
        Kind::UserIds => "{'$ref': '#/definitions/user_id_array'}".to_owned(),
        Kind::RoomIds => "{'$ref': '#/definitions/room_id_array'}".to_owned(),
        Kind::EventFormat => "{'type': 'string', 'enum': ['client', 'federation']}".to_owned(),
        Kind::Object(name, _) => format!("{{'$ref': '#/definitions/{name}'}}"),
    }
}

fn item_schema(kind: Kind) -> String {
    match kind {
        Kind::UserIds => "{'type': 'string', 'format': 'matrix_user_id'}".to_owned(),
        Kind::RoomIds => "{'type': 'string', 'format': 'matrix_room_id'}".to_owned(),
        _ => "{'type': 'string'}".to_owned(),
    }
}

/// Formatted at the left margin.
fn list_schema(kind: Kind) -> String {
    let line = format!("{{'type': 'array', 'items': {}}}", item_schema(kind));
    if line.len() <= 72 { line } else { line.replacen(", 'items'", ",\n 'items'", 1) }
}

/// An object's schema as pprint breaks it.
fn object_schema(name: &str, known: &[(&str, Kind)]) -> String {
    if name == PROFILE_FIELDS {
        return "{'type': 'object',\n 'properties': {'ids': {'type': 'array', 'items': {'type': 'string'}}},\n \
                'additionalProperties': True}"
            .to_owned();
    }
    // Where the names of the properties start.
    let column = 16;
    let property = |(index, (name, kind)): (usize, &(&str, Kind))| {
        let at = column + name.len() + 4;
        let behind = if index + 1 == known.len() { 3 } else { 1 };
        let mut line = one_line(*kind);
        if at + line.len() + behind > 72 {
            line = line.replacen(", 'items'", &format!(",\n{}'items'", " ".repeat(at + 1)), 1);
        }
        format!("'{name}': {line}")
    };
    let separator = format!(",\n{}", " ".repeat(column));
    let properties: Vec<String> = known.iter().enumerate().map(property).collect();
    let properties = properties.join(&separator);
    format!("{{'additionalProperties': True,\n 'type': 'object',\n 'properties': {{{properties}}}}}")
}

/// `check_valid_filter`
pub fn check_valid_filter(filter: &Map<String, Value>) -> Result<()> {
    let mut check = Check::default();
    check.properties(filter, USER_FILTER);
    match check.best() {
        Some(fault) => Err(MatrixError::unknown(400, fault.text())),
        None => Ok(()),
    }
}

/// Whether the filter of `/messages` or `/context`, which Synapse does not check, has the types that it should have:
/// what Python makes of others cannot be told.
pub fn has_types_of_event_filter(filter: &Map<String, Value>) -> bool {
    let mut check = Check::default();
    check.properties(filter, ROOM_EVENT_FILTER);
    check.faults.iter().all(|fault| fault.keyword != "type")
}

/// `set_timeline_upper_limit`, which comes before the check: what has no place for a limit is an uncaught
/// exception in Synapse.
pub fn set_timeline_upper_limit(filter: &mut Map<String, Value>, upper: i64) -> Result<()> {
    if upper < 0 {
        return Ok(());
    }
    let bad = |what: &str| Err(MatrixError::internal(format!("filter: {what}")));
    let timeline = match filter.get_mut("room") {
        None => return Ok(()),
        Some(Value::Object(room)) => room.get_mut("timeline"),
        Some(_) => return bad("room is not an object"),
    };
    match timeline {
        None => Ok(()),
        Some(Value::Object(timeline)) => match timeline.get_mut("limit") {
            None | Some(Value::Bool(_)) => Ok(()),
            #[expect(clippy::cast_precision_loss, reason = "limits are small")]
            Some(Value::Number(limit)) => {
                if limit.as_f64().is_none_or(|limit| limit > upper as f64) {
                    *limit = upper.into();
                }
                Ok(())
            }
            Some(_) => bad("the timeline's limit is not a number"),
        },
        Some(Value::String(text)) if !text.contains("limit") => Ok(()),
        Some(Value::Array(items)) if !items.iter().any(|item| item == "limit") => Ok(()),
        Some(_) => bad("timeline is not an object"),
    }
}

impl Handlers {
    /// `GET /user/{user_id}/filter/{filter_id}`: the JSON text.
    pub async fn get_filter(&self, user_id: &str, filter_id: i64) -> Result<Arc<str>> {
        let found = self.storage.get_user_filter(user_id, filter_id).await?;
        found.ok_or_else(|| MatrixError::not_found("No such filter"))
    }

    /// `POST /user/{user_id}/filter`: its number.
    pub async fn add_filter(&self, user_id: &str, mut filter: Map<String, Value>) -> Result<i64> {
        set_timeline_upper_limit(&mut filter, self.config.server.filter_timeline_limit)?;
        check_valid_filter(&filter)?;
        let canonical = Value::Object(filter).to_string();
        let filter_id = self.storage.add_user_filter(user_id, &canonical).await?;
        filter_id.ok_or_else(|| MatrixError::unknown(500, "Couldn't generate a filter ID."))
    }

    /// Filters are their owner's alone; `verb` is `get` or `create`.
    pub fn check_filter_owner(&self, requester: &Requester, user_id: &str, verb: &str) -> Result<()> {
        if &*requester.user_id != user_id {
            return Err(MatrixError::forbidden(format!("Cannot {verb} filters for other users")));
        }
        if !self.is_mine(user_id) {
            return Err(MatrixError::forbidden(format!("Can only {verb} filters for local users")));
        }
        Ok(())
    }
}
