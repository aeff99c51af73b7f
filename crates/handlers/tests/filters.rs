//! Filters that are refused, and with what words: `data/filters.json` was written by the real jsonschema.

use myelin_handlers::filtering::{check_valid_filter, set_timeline_upper_limit};
use serde_json::{Map, Value, json};

#[test]
fn what_jsonschema_says() {
    let cases: Vec<(Map<String, Value>, Option<String>)> =
        serde_json::from_str(include_str!("data/filters.json")).expect("the table");
    assert!(cases.len() > 30);
    for (filter, expected) in cases {
        let found = check_valid_filter(&filter).err().map(|error| error.error);
        assert_eq!(found, expected, "{}", Value::Object(filter));
    }
}

#[test]
fn the_limit_of_the_timeline() {
    let limited = |timeline: Value| {
        let mut filter = Map::from_iter([("room".to_owned(), json!({ "timeline": timeline }))]);
        set_timeline_upper_limit(&mut filter, 100).map(|()| filter["room"]["timeline"].to_string()).ok()
    };
    assert_eq!(limited(json!({ "limit": 5000 })).as_deref(), Some("{\"limit\":100}"));
    assert_eq!(limited(json!({ "limit": 99.5 })).as_deref(), Some("{\"limit\":99.5}"));
    assert_eq!(limited(json!({ "limit": true })).as_deref(), Some("{\"limit\":true}"));
    assert_eq!(limited(json!({ "limit": "5" })), None);
    assert_eq!(limited(json!({ "limit": null })), None);
    assert_eq!(limited(json!([])).as_deref(), Some("[]"));
    assert_eq!(limited(json!(5)), None);
    let mut filter = Map::from_iter([("room".to_owned(), json!({ "timeline": { "limit": 5000 } }))]);
    set_timeline_upper_limit(&mut filter, -1).expect("no limit");
    assert_eq!(filter["room"]["timeline"]["limit"], 5000);
}
