//! What a client wants to search. Answers to the first half of `SearchHandler.search` in `synapse/handlers/search.py`.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use myelin_config::truthy;
use myelin_model::MatrixError;
use serde_json::{Map, Value};

use crate::Result;
use crate::filter::Filter;
use crate::filtering::has_types_of_event_filter;
use crate::python_text::{repr, repr_text};

/// More is not held in memory here.
const MAX_LIMIT: usize = 10_000;
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// `POST /search`
#[derive(Clone, Debug)]
pub struct SearchRequest {
    pub term: String,
    pub keys: Vec<String>,
    pub filter: Filter,
    pub order: Order,
    pub include_state: bool,
    /// Groups to tell: by room, and by sender.
    pub group_by_room: bool,
    pub group_by_sender: bool,
    pub context: Option<EventContext>,
    pub batch: Option<Batch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Rank,
    Recent,
}

/// Events around each one that is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventContext {
    pub before: usize,
    pub after: usize,
    /// Names and avatars of their senders.
    pub include_profile: bool,
}

/// Where the page before this one ended, and of which group it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub group: String,
    pub group_key: String,
    pub token: String,
}

impl Batch {
    /// Three lines in base64.
    fn parse(text: &str) -> Option<Self> {
        let text = String::from_utf8(BASE64.decode(text).ok()?).ok().filter(|text| text.is_ascii())?;
        let mut lines = text.split('\n').map(str::to_owned);
        let batch = Self { group: lines.next()?, group_key: lines.next()?, token: lines.next()? };
        lines.next().is_none().then_some(batch)
    }

    pub fn encode(&self) -> String {
        BASE64.encode(format!("{}\n{}\n{}", self.group, self.group_key, self.token))
    }
}

impl SearchRequest {
    /// Nothing for what Synapse stumbles over: it means nothing that is known here.
    pub fn parse(content: &Map<String, Value>, batch: Option<&str>, msc3773: bool) -> Result<Option<Self>> {
        let batch = match batch.filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => Some(Batch::parse(text).ok_or_else(|| MatrixError::unknown(400, "Invalid batch"))?),
        };
        let missing = || MatrixError::unknown(400, "Invalid search query");
        let Value::Object(categories) = content.get("search_categories").ok_or_else(missing)? else { return Ok(None) };
        let Value::Object(category) = categories.get("room_events").ok_or_else(missing)? else { return Ok(None) };
        let Value::String(term) = category.get("search_term").ok_or_else(missing)? else { return Ok(None) };
        let Some(keys) = keys(category.get("keys")) else { return Ok(None) };
        let Some(filter) = filter(category.get("filter"), msc3773) else { return Ok(None) };
        let Some(groups) = groups(category)? else { return Ok(None) };
        let Ok(context) = context(category.get("event_context")) else { return Ok(None) };
        let order = match category.get("order_by") {
            None => Order::Rank,
            Some(Value::String(order)) if order == "rank" => Order::Rank,
            Some(Value::String(order)) if order == "recent" => Order::Recent,
            Some(other) => return Err(MatrixError::unknown(400, format!("Invalid order by: {}", repr(other)))),
        };
        let odd: Vec<&String> = groups.iter().filter(|key| !matches!(key.as_str(), "room_id" | "sender")).collect();
        match odd[..] {
            [] => {}
            [one] => {
                let error = format!("Invalid group by keys: {{{}}}", repr_text(one));
                return Err(MatrixError::unknown(400, error));
            }
            // In the order of a set.
            _ => return Ok(None),
        }
        // Nothing newest of nothing: an exception in Synapse. And Postgres' texts hold no NUL.
        if (order == Order::Recent && filter.limit() == 0) || term.contains('\0') {
            return Ok(None);
        }
        let has_group = |name: &str| groups.iter().any(|key| key == name);
        Ok(Some(Self {
            term: term.clone(),
            keys,
            order,
            include_state: category.get("include_state").is_some_and(truthy),
            group_by_room: has_group("room_id"),
            group_by_sender: has_group("sender"),
            filter,
            context,
            batch,
        }))
    }
}

fn keys(value: Option<&Value>) -> Option<Vec<String>> {
    let Some(value) = value else {
        return Some(["content.body", "content.name", "content.topic"].map(str::to_owned).to_vec());
    };
    let keys: Option<Vec<_>> = value.as_array()?.iter().map(|key| key.as_str().map(str::to_owned)).collect();
    keys.filter(|keys| !keys.is_empty() && !keys.iter().any(|key| key.contains('\0')))
}

fn filter(value: Option<&Value>, msc3773: bool) -> Option<Filter> {
    let empty = Map::new();
    let json = match value {
        None => &empty,
        Some(value) => value.as_object()?,
    };
    let limit_is_known = json.get("limit").is_none_or(Value::is_u64);
    let filter = Filter::new(json, msc3773);
    (has_types_of_event_filter(json) && limit_is_known && filter.limit() <= MAX_LIMIT).then_some(filter)
}

fn groups(category: &Map<String, Value>) -> Result<Option<Vec<String>>> {
    let group_by = match category.get("groupings") {
        None => return Ok(Some(Vec::new())),
        Some(Value::Object(groupings)) => groupings.get("group_by"),
        Some(_) => return Ok(None),
    };
    let mut found = Vec::new();
    match group_by {
        None => {}
        Some(Value::Array(groups)) => {
            for group in groups {
                let Value::Object(group) = group else { return Ok(None) };
                match group.get("key") {
                    None => return Err(MatrixError::unknown(400, "Invalid search query")),
                    Some(Value::String(key)) => found.push(key.clone()),
                    Some(_) => return Ok(None),
                }
            }
        }
        Some(_) => return Ok(None),
    }
    found.dedup();
    Ok(Some(found))
}

/// What Synapse stumbles over.
struct Odd;

fn context(value: Option<&Value>) -> std::result::Result<Option<EventContext>, Odd> {
    let context = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_object().ok_or(Odd)?,
    };
    let limit = |key: &str| match context.get(key) {
        None => Ok(5),
        Some(limit) => {
            let limit = limit.as_u64().and_then(|limit| usize::try_from(limit).ok());
            limit.filter(|limit| *limit <= MAX_LIMIT).ok_or(Odd)
        }
    };
    let include_profile = context.get("include_profile").is_some_and(truthy);
    Ok(Some(EventContext { before: limit("before_limit")?, after: limit("after_limit")?, include_profile }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn batches_are_three_lines() {
        let batch = Batch { group: "all".to_owned(), group_key: String::new(), token: "1,2".to_owned() };
        assert_eq!(Batch::parse(&batch.encode()), Some(batch));
        for bad in ["x", "eA", "YQpi", "YQpiCmMKZA"] {
            assert_eq!(Batch::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_synapse_stumbles_over_is_not_taken() {
        let parse = |events: Value| {
            let content = json!({"search_categories": {"room_events": events}});
            SearchRequest::parse(content.as_object().unwrap(), None, false)
        };
        assert_eq!(parse(json!({"search_term": "x"})).unwrap().unwrap().order, Order::Rank);
        for odd in [
            json!([]),
            json!({"search_term": 1}),
            json!({"search_term": "x", "keys": []}),
            json!({"search_term": "x", "filter": null}),
            json!({"search_term": "x", "filter": {"limit": -1}}),
            json!({"search_term": "x", "groupings": []}),
            json!({"search_term": "x", "event_context": 1}),
            json!({"search_term": "x", "order_by": "recent", "filter": {"limit": 0}}),
        ] {
            assert!(parse(odd.clone()).unwrap().is_none(), "{odd}");
        }
        for bad in [
            json!({}),
            json!({"search_term": "x", "order_by": 1}),
            json!({"search_term": "x", "groupings": {"group_by": [{}]}}),
        ] {
            assert_eq!(parse(bad.clone()).unwrap_err().status, 400, "{bad}");
        }
    }
}
