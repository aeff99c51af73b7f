//! The table of what is measured: one row for each native route and size of account or room.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use serde_json::json;

use super::dataset::{self, LIGHTS, light, token, user};
use super::federation;
use super::load::{Ask, Asks};
use super::stack::Stack;

/// Element's settings: members as they are needed, and more of the timeline than the default of 10.
const LAZY: &str =
    "%7B%22room%22:%7B%22timeline%22:%7B%22limit%22:20%7D,%22state%22:%7B%22lazy_load_members%22:true%7D%7D%7D";

/// Synapse keeps an answer to /sync for two minutes, by user, timeout, since and filter. A client that goes on never asks
/// the same again, so each request here is another: by its timeout, which nothing waits for, or by its `since`.
const SYNC: &str = "/_matrix/client/v3/sync?set_presence=offline";

pub struct Row {
    pub name: &'static str,
    /// How many times less CPU than Python's we want to need.
    pub goal: u32,
    /// Requests at a time.
    pub concurrency: &'static [usize],
    /// Requests that are not counted, to fill caches: a worker runs for weeks.
    pub warm_up: usize,
    pub asks: Asks,
}

pub const ALL: &[usize] = &[1, 8, 32];
pub const NOT_MANY: &[usize] = &[1, 8];
pub const FEW: &[usize] = &[1, 4];

pub fn all(stack: &Stack) -> Result<Vec<Row>> {
    let mut rows = vec![
        row("versions", 20, ALL, 8, |_| Ask { path: "/_matrix/client/versions".to_owned(), ..Ask::default() }),
        row("whoami", 20, ALL, 8, |n| by_light(n, "/_matrix/client/v3/account/whoami".to_owned())),
        row("joined_rooms_5", 20, ALL, 8, |n| by_light(n, "/_matrix/client/v3/joined_rooms".to_owned())),
        row("joined_rooms_300", 20, ALL, 1, |_| by("heavy", "/_matrix/client/v3/joined_rooms".to_owned())),
    ];
    rows.extend(sync_rows(stack)?);
    rows.extend(room_rows(stack));
    rows.extend(federation::rows(stack)?);
    rows.extend(history_rows(stack));
    rows.extend(people_rows(stack));
    Ok(rows)
}

fn sync_rows(stack: &Stack) -> Result<Vec<Row>> {
    let data = &stack.dataset;
    let now = stack.now("heavy")?;
    let (now_too, before_messages, before_rooms) =
        (now.clone(), data.before_messages.clone(), data.before_rooms.clone());
    Ok(vec![
        row("sync_nothing_5", 50, ALL, 16, move |n| by_light(n, since(&now, n))),
        row("sync_nothing_300", 50, ALL, 2, move |n| by("heavy", since(&now_too, n))),
        row("sync_50_messages", 30, ALL, 16, move |n| by(&in_both(n), since(&before_messages, n))),
        row("sync_50_rooms", 30, NOT_MANY, 2, move |n| by("heavy", since(&before_rooms, n))),
        row("sync_initial_5", 15, ALL, 16, |n| by_light(n, format!("{SYNC}&timeout={n}"))),
        row("sync_initial_5_lazy", 15, ALL, 16, |n| by_light(n, format!("{SYNC}&timeout={n}&filter={LAZY}"))),
        row("sync_initial_300", 15, FEW, 1, |n| by("heavy", format!("{SYNC}&timeout={n}"))),
        row("sync_initial_300_lazy", 15, FEW, 1, |n| by("heavy", format!("{SYNC}&timeout={n}&filter={LAZY}"))),
    ])
}

fn room_rows(stack: &Stack) -> Vec<Row> {
    let data = &stack.dataset;
    let mut rows = Vec::new();
    for (small, big, path) in [
        ("members_small", "members_2000", "members"),
        ("joined_members_small", "joined_members_2000", "joined_members"),
        ("state_small", "state_2000", "state"),
    ] {
        let rooms: Vec<String> = data.small_rooms.iter().take(8).map(|room| in_room(room, path)).collect();
        rows.push(row(small, 30, ALL, 16, move |n| by("heavy", pick(&rooms, n).clone())));
        let room = in_room(&data.room_of_2000, path);
        rows.push(row(big, 30, NOT_MANY, 2, move |_| by("heavy", room.clone())));
    }
    let events: Vec<_> = data.events.iter().map(|(room, event)| in_room(room, &format!("event/{event}"))).collect();
    // A step that has no factor in common with the number of events: neighbours in a room are not asked for in turn.
    rows.push(row("event", 15, ALL, 500, move |n| by("heavy", pick(&events, n * 7919).clone())));
    rows
}

/// What was said in rooms.
fn history_rows(stack: &Stack) -> Vec<Row> {
    let data = &stack.dataset;
    let messages = in_room(&data.room_of_1000, "messages?dir=b&limit=50");
    let contexts: Vec<_> =
        data.events.iter().map(|(room, event)| in_room(room, &format!("context/{event}?limit=10"))).collect();
    // Of those events that are the root of a thread.
    let roots = data.events.chunks(dataset::MESSAGES).filter_map(|room| room.get(dataset::THREAD_ROOT));
    let relations: Vec<_> =
        roots.map(|(room, event)| format!("/_matrix/client/v1/rooms/{room}/relations/{event}")).collect();
    let search = json!({"search_categories": {"room_events": {
        "search_term": "sentence", "order_by": "recent", "filter": {"rooms": [data.room_of_1000], "limit": 10},
        "event_context": {"before_limit": 1, "after_limit": 1, "include_profile": true},
    }}});
    let search = Bytes::from(search.to_string());
    vec![
        row("messages_50", 15, ALL, 16, move |n| by(&in_both(n), messages.clone())),
        row("context_10", 15, ALL, 300, move |n| by("heavy", pick(&contexts, n * 7919).clone())),
        row("relations", 15, ALL, 300, move |n| by("heavy", pick(&relations, n * 7).clone())),
        row("search", 15, NOT_MANY, 8, move |n| Ask {
            body: Some(search.clone()),
            ..by(&in_both(n), "/_matrix/client/v3/search".to_owned())
        }),
    ]
}

/// Of people and of lists of rooms.
fn people_rows(stack: &Stack) -> Vec<Row> {
    let users: serde_json::Map<_, _> = (0..dataset::WITH_KEYS).map(|n| (dataset::id(&user(n)), json!([]))).collect();
    let keys = Bytes::from(json!({ "device_keys": users }).to_string());
    let hierarchy = format!("/_matrix/client/v1/rooms/{}/hierarchy?limit=50", stack.dataset.space);
    vec![
        row("keys_query_100", 15, ALL, 8, move |n| Ask {
            body: Some(keys.clone()),
            ..by_light(n, "/_matrix/client/v3/keys/query".to_owned())
        }),
        row("profile", 15, ALL, dataset::USERS, |n| {
            let of = usize::try_from(n).unwrap_or_default() % dataset::USERS;
            by_light(n, format!("/_matrix/client/v3/profile/{}", dataset::id(&user(of))))
        }),
        row("push_rules", 15, ALL, 16, |n| by_light(n, "/_matrix/client/v3/pushrules/".to_owned())),
        row("hierarchy_50", 15, NOT_MANY, 2, move |_| by("heavy", hierarchy.clone())),
    ]
}

pub fn row(
    name: &'static str,
    goal: u32,
    concurrency: &'static [usize],
    warm_up: usize,
    asks: impl Fn(u64) -> Ask + Send + Sync + 'static,
) -> Row {
    Row { name, goal, concurrency, warm_up, asks: Arc::new(asks) }
}

fn by(user: &str, path: String) -> Ask {
    Ask { path, authorization: Some(format!("Bearer {}", token(user))), body: None }
}

/// As each of the accounts with few rooms in turn.
fn by_light(n: u64, path: String) -> Ask {
    let number = usize::try_from(n).unwrap_or_default() % LIGHTS;
    by(&light(number), path)
}

/// One of those who are in the two big rooms only.
fn in_both(n: u64) -> String {
    user(500 + usize::try_from(n % 8).unwrap_or_default())
}

pub fn pick<T>(list: &[T], n: u64) -> &T {
    &list[usize::try_from(n).unwrap_or_default() % list.len()]
}

fn in_room(room: &str, path: &str) -> String {
    format!("/_matrix/client/v3/rooms/{room}/{path}")
}

/// /sync from `token`, each time with another value in a field of it that has no meaning any more.
fn since(token: &str, n: u64) -> String {
    const GROUPS: usize = 8;
    let n = format!("-{n}");
    let fields: Vec<&str> =
        token.split('_').enumerate().map(|(i, field)| if i == GROUPS { &n } else { field }).collect();
    format!("{SYNC}&timeout=0&since={}", fields.join("_"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_since_differs_in_one_field() {
        let path = super::since("s1_2_3_4_5_6_7_8_0_10_11", 12);
        assert!(path.ends_with("&since=s1_2_3_4_5_6_7_8_-12_10_11"), "{path}");
    }
}
