//! What Python answers by chance, found out from the two answers themselves and taken out of both before they are
//! compared. Answers to `LazyLoadedMembersCache` and `calculate_user_changes` in `synapse/handlers/sync.py`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::allowed::{Allowed, Rule};

/// A question, as far as it says what its answer may leave open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Name of the row.
    pub row: &'a str,
    /// Who asks.
    pub user_id: Option<&'a str>,
    /// When `since` was the present, in milliseconds since 1970; `None` if that is not known.
    pub since: Option<i64>,
    /// When things were done at once, from and to, in the same unit.
    pub forked: &'a [(i64, i64)],
}

const STATES: [&str; 2] = ["state", "org.matrix.msc4222.state_after"];

pub fn take_out(asked: Asked<'_>, allowed: &Allowed, python: &mut Value, myelin: &mut Value) {
    let mut undecided = BTreeSet::new();
    let remembered = [Rule::Remembered, Rule::Heroes].into_iter().find_map(|rule| allowed.rule(rule, asked.row));
    if let Some(entry) = remembered {
        entry.mark_used();
        let heroes_only = entry.rule == Rule::Heroes;
        let pointers: BTreeSet<String> = room_pointers(python).into_iter().chain(room_pointers(myelin)).collect();
        for pointer in pointers {
            let (left, mut nothing) = (pointer.starts_with("/rooms/leave/"), json!({}));
            match (python.pointer_mut(&pointer), myelin.pointer_mut(&pointer)) {
                (Some(python), Some(myelin)) => {
                    undecided.extend(take_remembered(asked, heroes_only, left, python, myelin));
                }
                (Some(room), None) | (None, Some(room)) => {
                    let found = take_remembered(asked, heroes_only, left, room, &mut nothing);
                    if !found.is_empty() && is_empty(room) {
                        remove(python, &pointer);
                        remove(myelin, &pointer);
                    }
                    undecided.extend(found);
                }
                (None, None) => {}
            }
        }
    }
    if let Some(entry) = allowed.rule(Rule::Newcomers, asked.row) {
        entry.mark_used();
        undecided.extend(come_and_go(python));
        undecided.extend(come_and_go(myelin));
        undecided.extend(of_two_events(python, myelin));
        take_users(python, &undecided);
        take_users(myelin, &undecided);
    }
}

fn room_pointers(sync: &Value) -> Vec<String> {
    let of = |kind: &str| -> Vec<String> {
        let rooms = sync.pointer(&format!("/rooms/{kind}")).and_then(Value::as_object);
        rooms.into_iter().flatten().map(|(room_id, _)| format!("/rooms/{kind}/{room_id}")).collect()
    };
    ["join", "leave"].into_iter().flat_map(of).collect()
}

/// Nothing of what makes Synapse mention a room.
fn is_empty(room: &Value) -> bool {
    let sections = ["timeline", "state", "org.matrix.msc4222.state_after", "ephemeral", "account_data"];
    sections.iter().all(|section| list(room, &format!("/{section}/events")).next().is_none())
}

/// And what holds nothing else.
fn remove(sync: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    let Some(object) = sync.pointer_mut(parent).and_then(Value::as_object_mut) else { return };
    object.remove(key);
    if object.is_empty() {
        remove(sync, parent);
    }
}

/// Members of one room that only one of the two sent. Sent again or not may be the membership of whom the timeline
/// or the room's name needs, and the asker's own, if it is older than `since`: news are always sent. But not of a room
/// whose timeline the filter leaves out: the state is taken to have been sent before the filter takes its members away,
/// and if another room does not say otherwise meanwhile, those who stand for the name are not sent either. Of a room
/// that was left the name's members are not told: any may be.
fn take_remembered(
    asked: Asked<'_>,
    heroes_only: bool,
    left: bool,
    python: &mut Value,
    myelin: &mut Value,
) -> BTreeSet<String> {
    let of_both = |pointer: &str| -> Vec<Value> {
        [&*python, &*myelin].into_iter().flat_map(|room| list(room, pointer)).cloned().collect()
    };
    let (heroes, timelines) = (of_both("/summary/m.heroes"), of_both("/timeline/events"));
    let is_hero = |user: &str| heroes.iter().any(|hero| hero == user);
    let is_sender = |user: &str| timelines.iter().any(|event| event["sender"] == user);
    let is_needed =
        |user: &str| left || is_hero(user) || (!heroes_only && (is_sender(user) || asked.user_id == Some(user)));
    let is_filtered_out = timelines.is_empty();
    let mut found = BTreeSet::new();
    for state in STATES {
        let pointer = format!("/{state}/events");
        let ids = |room: &Value| -> BTreeMap<String, Option<i64>> {
            let members = list(room, &pointer).filter_map(|event| Some((member(event)?, event)));
            members.map(|(user, event)| (user.to_owned(), event["origin_server_ts"].as_i64())).collect()
        };
        let (a, b) = (ids(python), ids(myelin));
        let is_old = |at: Option<i64>| asked.since.is_none_or(|since| at.is_some_and(|at| at <= since));
        let one_sided = |(user, at): &(&String, &Option<i64>)| {
            a.contains_key(*user) != b.contains_key(*user)
                && is_needed(user)
                && (is_old(**at) || (is_filtered_out && is_hero(user)))
        };
        let here: BTreeSet<String> = a.iter().chain(&b).filter(one_sided).map(|(user, _)| user.clone()).collect();
        for room in [&mut *python, &mut *myelin] {
            let events = room.pointer_mut(&pointer).and_then(Value::as_array_mut);
            if let Some(events) = events {
                events.retain(|event| member(event).is_none_or(|user| !here.contains(user)));
            }
        }
        found.extend(here);
    }
    // A member in the state of a room with a gap calls for a summary.
    let silent = |room: &Value| room["summary"].as_object().is_none_or(serde_json::Map::is_empty);
    if !found.is_empty() && silent(python) != silent(myelin) {
        python["summary"] = json!({});
        myelin["summary"] = json!({});
    }
    found
}

/// Who comes in one joined room of a sync and goes in another.
fn come_and_go(sync: &Value) -> BTreeSet<String> {
    let mut moves: BTreeMap<&str, BTreeSet<(bool, &str)>> = BTreeMap::new();
    let rooms = sync.pointer("/rooms/join").and_then(Value::as_object);
    for (room_id, room) in rooms.into_iter().flatten() {
        for pointer in ["/state/events", "/org.matrix.msc4222.state_after/events", "/timeline/events"] {
            for event in list(room, pointer) {
                if let Some(user) = member(event) {
                    let membership = event["content"]["membership"].as_str();
                    let comes = membership.map(|membership| matches!(membership, "join" | "invite" | "knock"));
                    // Either, where `event_fields` left it out. Not only the last counts: an invitation that was taken
                    // back makes somebody who left another room one who did not leave.
                    let comes = [comes.unwrap_or(true), comes.unwrap_or(false)];
                    moves.entry(user).or_default().extend(comes.map(|comes| (comes, room_id.as_str())));
                }
            }
        }
    }
    let differ = |moves: &BTreeSet<(bool, &str)>| {
        moves.iter().any(|(comes, room)| *comes && moves.iter().any(|(also, other)| !also && other != room))
    };
    moves.into_iter().filter(|(_, moves)| differ(moves)).map(|(user, _)| user.to_owned()).collect()
}

/// Whose membership in the state of a room is not the same event: Python sends either of two, see `Rule::State`.
fn of_two_events(python: &Value, myelin: &Value) -> BTreeSet<String> {
    let of = |sync: &Value, pointer: &str| -> BTreeMap<String, Value> {
        let members = list(sync, pointer).filter_map(|event| Some((member(event)?, &event["event_id"])));
        members.map(|(user, event_id)| (user.to_owned(), event_id.clone())).collect()
    };
    let mut found = BTreeSet::new();
    for pointer in room_pointers(python) {
        let pointer = format!("{pointer}/state/events");
        let (mut a, b) = (of(python, &pointer), of(myelin, &pointer));
        a.retain(|user, event_id| b.get(user).is_some_and(|other| other != event_id));
        found.extend(a.into_keys());
    }
    found
}

/// Of device lists and presence.
fn take_users(sync: &mut Value, users: &BTreeSet<String>) {
    let is_of = |user: Option<&str>| user.is_some_and(|user| users.contains(user));
    let empties = |parent: &mut Value, key: &str, gone: &dyn Fn(&Value) -> bool| {
        let Some(parent) = parent.as_object_mut() else { return };
        if let Some(list) = parent.get_mut(key).and_then(Value::as_array_mut) {
            list.retain(|item| !gone(item));
            if list.is_empty() {
                parent.remove(key);
            }
        }
    };
    for key in ["changed", "left"] {
        empties(&mut sync["device_lists"], key, &|user| is_of(user.as_str()));
    }
    empties(&mut sync["presence"], "events", &|event| is_of(event["sender"].as_str()));
    for section in ["device_lists", "presence"] {
        if sync[section].as_object().is_none_or(serde_json::Map::is_empty) {
            sync.as_object_mut().into_iter().for_each(|sync| drop(sync.remove(section)));
        }
    }
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// Whose membership the event is.
fn member(event: &Value) -> Option<&str> {
    if event["type"] == "m.room.member" { event["state_key"].as_str() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "[[difference]]\nrule = 'remembered'\nrows = 'lazy'\npath = '/'\nreason = 'r'\n\
                         [[difference]]\nrule = 'newcomers'\npath = '/'\nreason = 'r'\n";

    fn event(user: &str, membership: &str) -> Value {
        json!({"type": "m.room.member", "state_key": user, "origin_server_ts": 5, "content": {"membership": membership}})
    }

    fn equal(asked: Asked<'_>, python: &Value, myelin: &Value) -> bool {
        let (mut python, mut myelin) = (python.clone(), myelin.clone());
        take_out(asked, &Allowed::parse(RULES).unwrap(), &mut python, &mut myelin);
        python == myelin
    }

    #[test]
    fn only_needed_and_old_members_may_be_remembered() {
        let sync = |members: &[Value], changed: &Value| {
            let room = json!({"state": {"events": members}, "timeline": {"events": [{"sender": "@a"}]}});
            let mut sync = json!({"rooms": {"join": {"!r": room}}});
            if !changed.is_null() {
                sync["device_lists"] = json!({ "changed": changed });
            }
            sync
        };
        let lazy = Asked { row: "lazy", user_id: Some("@me"), since: Some(6), ..Asked::default() };
        let with = |user: &str| sync(&[event(user, "join")], &json!([user]));
        let without = sync(&[], &Value::Null);
        assert!(equal(lazy, &with("@a"), &without) && equal(lazy, &without, &with("@me")));
        assert!(!equal(lazy, &with("@b"), &without));
        assert!(!equal(Asked { row: "plain", ..lazy }, &with("@a"), &without));
        assert!(!equal(Asked { since: Some(4), ..lazy }, &with("@a"), &without));
    }

    #[test]
    fn heroes_of_a_room_without_a_timeline_may_be_remembered() {
        let sync = |members: &[Value], timeline: &Value| {
            let room = json!({"state": {"events": members}, "timeline": {"events": timeline},
                "summary": {"m.heroes": ["@a"]}});
            json!({"rooms": {"join": {"!r": room}}})
        };
        let early = Asked { row: "lazy", user_id: Some("@me"), since: Some(4), ..Asked::default() };
        let a = [event("@a", "join")];
        assert!(equal(early, &sync(&a, &json!([])), &sync(&[], &json!([]))));
        assert!(!equal(early, &sync(&[event("@b", "join")], &json!([])), &sync(&[], &json!([]))));
        let message = json!([{"sender": "@b"}]);
        assert!(!equal(early, &sync(&a, &message), &sync(&[], &message)));
    }

    #[test]
    fn the_order_of_rooms_matters_to_those_who_come_and_go() {
        let sync = |a: Value, b: Value, new: &[&str]| {
            let rooms = json!({"!a": {"state": {"events": [a]}}, "!b": {"timeline": {"events": [b]}}});
            json!({"rooms": {"join": rooms}, "device_lists": {"changed": new}})
        };
        let plain = Asked { row: "plain", ..Asked::default() };
        let gone = |new: &[&str]| sync(event("@a", "join"), event("@a", "ban"), new);
        assert!(equal(plain, &gone(&["@a"]), &gone(&[])));
        assert!(!equal(plain, &gone(&["@b"]), &gone(&[])));
        let other = |new: &[&str]| sync(event("@a", "join"), event("@b", "ban"), new);
        assert!(!equal(plain, &other(&["@a"]), &other(&[])));
        let both = |new: &[&str]| sync(event("@a", "join"), event("@a", "invite"), new);
        assert!(!equal(plain, &both(&["@a"]), &both(&[])));
        let taken_back = |left: &[&str]| {
            let left_here = json!({"state": {"events": [event("@a", "leave")]}});
            let taken_back = json!({"timeline": {"events": [event("@a", "invite"), event("@a", "leave")]}});
            json!({"rooms": {"join": {"!a": left_here, "!b": taken_back}}, "device_lists": {"left": left}})
        };
        assert!(equal(plain, &taken_back(&["@a"]), &taken_back(&[])));
    }
}
