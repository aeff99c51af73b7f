//! What a user may see. Answers to `synapse/visibility.py`.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use myelin_model::state_filter::{MEMBER, StateFilter, StateKey, StateMap};
use myelin_model::{Event, MatrixError};
use myelin_storage::GetEvents;

use crate::event_json::ToSerialize;
use crate::{Handlers, Result, now_ms};

pub const HISTORY_VISIBILITY: &str = "m.room.history_visibility";
const JOIN_RULES: &str = "m.room.join_rules";
const CALL_INVITE: &str = "m.call.invite";

/// An event that the user may see; pruned when its sender asked for erasure.
#[derive(Clone, Debug)]
pub struct VisibleEvent {
    pub event: Arc<Event>,
    /// The user's own membership after the event (MSC4115).
    pub membership: Arc<str>,
}

impl VisibleEvent {
    pub fn to_serialize(&self) -> ToSerialize<'_> {
        (&self.event, Some(&self.membership))
    }
}

/// From the least to the most restrictive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HistoryVisibility {
    WorldReadable,
    Shared,
    Invited,
    Joined,
}

impl HistoryVisibility {
    /// A missing or unknown value means `shared`.
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            Some("world_readable") => Self::WorldReadable,
            Some("invited") => Self::Invited,
            Some("joined") => Self::Joined,
            _ => Self::Shared,
        }
    }

    pub fn of(event: Option<&Arc<Event>>) -> Self {
        Self::parse(event.and_then(|event| event.content_field("history_visibility")))
    }
}

/// From the most to the least joined; unknown values count as having left.
const MEMBERSHIPS: [&str; 5] = ["join", "invite", "knock", "leave", "ban"];

fn known_membership(text: Option<&str>) -> usize {
    const LEAVE: usize = 3;
    MEMBERSHIPS.iter().position(|known| text == Some(known)).unwrap_or(LEAVE)
}

/// The state that decides about one event.
struct Context<'a> {
    user_id: &'a str,
    keys: &'a Keys,
    is_peeking: bool,
    state: &'a StateMap,
    loaded: &'a HashMap<Arc<str>, Arc<Event>>,
}

/// Under which keys that state is found.
struct Keys {
    visibility: StateKey,
    join_rules: StateKey,
    member: StateKey,
}

impl Keys {
    fn of(user_id: &str) -> Self {
        let key = |kind: &str, state_key: &str| (Arc::from(kind), Arc::from(state_key));
        Self { visibility: key(HISTORY_VISIBILITY, ""), join_rules: key(JOIN_RULES, ""), member: key(MEMBER, user_id) }
    }
}

impl Context<'_> {
    fn event(&self, key: &StateKey) -> Option<&Arc<Event>> {
        self.loaded.get(self.state.get(key)?)
    }

    fn member(&self) -> Option<&Arc<Event>> {
        self.event(&self.keys.member)
    }

    fn join_rules(&self) -> Option<&Arc<Event>> {
        self.event(&self.keys.join_rules)
    }
}

struct Allowed {
    allowed: bool,
    joined: bool,
}

impl Handlers {
    /// `filter_and_transform_events_for_client`, for events that are sent to the client. `is_peeking`: the user
    /// is not in the room and was not since the events. `always_include`: visible whatever the history visibility.
    pub async fn filter_events_for_client(
        &self,
        user_id: &str,
        events: Vec<Arc<Event>>,
        is_peeking: bool,
        always_include: &HashSet<Arc<str>>,
    ) -> Result<Vec<VisibleEvent>> {
        let events = self.without_soft_failed(user_id, events).await?;
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let (states, loaded) = self.deciding_state(user_id, &events).await?;
        let ignored = self.storage.ignored_users(user_id).await?;
        let erased = self.storage.are_users_erased(events.iter().map(|event| Arc::clone(&event.sender))).await?;
        let oldest = self.oldest_shown(&events).await?;
        let (nothing, keys) = (StateMap::new(), Keys::of(user_id));
        let mut visible = Vec::with_capacity(events.len());
        for event in events {
            if never_sent(&event) || (!event.is_state() && ignored.contains(&event.sender)) {
                continue;
            }
            if !event.is_state() && oldest.get(&event.room_id).is_some_and(|oldest| event.origin_server_ts < *oldest) {
                continue;
            }
            let state = states.get(&event.event_id);
            if state.is_none() && !event.is_outlier() {
                return Err(MatrixError::internal(format!("no state at event {}", event.event_id)));
            }
            let context =
                Context { user_id, keys: &keys, is_peeking, state: state.map_or(&nothing, |s| &**s), loaded: &loaded };
            let event = if always_include.contains(&event.event_id) {
                event
            } else {
                match shown(&context, event, &erased) {
                    Some(event) => event,
                    None => continue,
                }
            };
            if is_public_call(&context, &event) {
                continue;
            }
            let membership = membership_after(&context, &event);
            visible.push(VisibleEvent { event, membership });
        }
        Ok(visible)
    }

    /// Soft-failed events are for server admins who asked for them.
    async fn without_soft_failed(&self, user_id: &str, events: Vec<Arc<Event>>) -> Result<Vec<Arc<Event>>> {
        if !events.iter().any(|event| event.internal.soft_failed) {
            return Ok(events);
        }
        let config = self.storage.get_admin_client_config_for_user(user_id).await?;
        let keep = |event: &Arc<Event>| {
            !event.internal.soft_failed
                || config.return_soft_failed_events
                || (config.return_policy_server_spammy_events && event.internal.policy_server_spammy)
        };
        Ok(events.into_iter().filter(keep).collect())
    }

    /// By room, before which time nothing is shown but state: `get_retention_policy_for_room`.
    async fn oldest_shown(&self, events: &[Arc<Event>]) -> Result<HashMap<Arc<str>, i64>> {
        let Some(retention) = &self.config.server.retention else { return Ok(HashMap::new()) };
        let rooms: HashSet<Arc<str>> = events.iter().map(|event| Arc::clone(&event.room_id)).collect();
        let lifetimes = self.storage.get_max_lifetimes(rooms).await?;
        let now = now_ms();
        let oldest = |(room_id, lifetime): (Arc<str>, Option<i64>)| {
            Some((room_id, now.saturating_sub(lifetime.or(retention.default_max_lifetime)?)))
        };
        Ok(lifetimes.into_iter().filter_map(oldest).collect())
    }

    /// The state after each event as far as visibility depends on it, with its events.
    async fn deciding_state(
        &self,
        user_id: &str,
        events: &[Arc<Event>],
    ) -> Result<(HashMap<Arc<str>, Arc<StateMap>>, HashMap<Arc<str>, Arc<Event>>)> {
        let mut wanted: Vec<(Arc<str>, Option<Arc<str>>)> =
            vec![(Arc::from(HISTORY_VISIBILITY), Some(Arc::from(""))), (Arc::from(MEMBER), Some(Arc::from(user_id)))];
        if events.iter().any(|event| is_call_invite(event)) {
            wanted.push((Arc::from(JOIN_RULES), Some(Arc::from(""))));
        }
        let inside = events.iter().filter(|event| !event.is_outlier());
        let ids: Vec<Arc<str>> = inside.map(|event| Arc::clone(&event.event_id)).collect();
        let states = self.storage.get_state_ids_for_events(&ids, &StateFilter::from_types(wanted)).await?;
        let state_ids: HashSet<Arc<str>> = states.values().flat_map(|state| state.values().cloned()).collect();
        let state_ids: Vec<Arc<str>> = state_ids.into_iter().collect();
        let loaded = self.storage.get_events(&state_ids, GetEvents::default()).await?;
        Ok((states, loaded))
    }
}

/// Dummy events join forks of the graph, aliases are no longer sent.
fn never_sent(event: &Event) -> bool {
    matches!(&*event.kind, "org.matrix.dummy_event" | "m.room.aliases")
}

fn is_call_invite(event: &Event) -> bool {
    &*event.kind == CALL_INVITE && !event.is_state()
}

/// A call invite in a public room would ring a lot of people.
fn is_public_call(context: &Context<'_>, event: &Event) -> bool {
    let join_rule = || context.join_rules().and_then(|event| event.content_str("join_rule"));
    is_call_invite(event) && join_rule().as_deref() == Some("public")
}

fn is_own_member_event(context: &Context<'_>, event: &Event) -> bool {
    &*event.kind == MEMBER && event.state_key.as_deref() == Some(context.user_id)
}

/// The event as the user may see it.
fn shown(context: &Context<'_>, event: Arc<Event>, erased: &HashSet<Arc<str>>) -> Option<Arc<Event>> {
    if event.is_outlier() {
        // An invite or its rejection that came over federation.
        return is_own_member_event(context, &event).then_some(event);
    }
    let visibility = HistoryVisibility::of(context.event(&context.keys.visibility));
    let sender_erased = erased.contains(&event.sender);
    if !sender_erased && history_allows(&event, visibility, context.is_peeking) {
        return Some(event);
    }
    let result = membership_allows(context, &event, visibility);
    if !result.allowed {
        return None;
    }
    if sender_erased && !result.joined { Some(Arc::new(event.prune(None))) } else { Some(event) }
}

fn history_allows(event: &Event, visibility: HistoryVisibility, is_peeking: bool) -> bool {
    let mut visibility = visibility;
    if &*event.kind == HISTORY_VISIBILITY {
        // The change itself is as visible as the laxer of what was before and after it.
        let before = event.prev_content_str("history_visibility");
        visibility = visibility.min(HistoryVisibility::parse(before.as_deref()));
    }
    match visibility {
        HistoryVisibility::WorldReadable => true,
        HistoryVisibility::Shared => !is_peeking,
        HistoryVisibility::Invited | HistoryVisibility::Joined => false,
    }
}

fn membership_allows(context: &Context<'_>, event: &Event, visibility: HistoryVisibility) -> Allowed {
    let membership = if is_own_member_event(context, event) {
        let now = known_membership(event.membership());
        let before = known_membership(event.prev_content_str("membership").as_deref());
        // Leaving, and refusing an invite, is always shown.
        if MEMBERSHIPS[now] == "leave" && matches!(MEMBERSHIPS[before], "join" | "invite") {
            return Allowed { allowed: true, joined: false };
        }
        Some(MEMBERSHIPS[now.min(before)])
    } else {
        context.member().and_then(|event| event.membership())
    };
    if membership == Some("join") {
        return Allowed { allowed: true, joined: true };
    }
    let allowed = match visibility {
        HistoryVisibility::Joined => false,
        HistoryVisibility::Invited => membership == Some("invite"),
        HistoryVisibility::Shared => !context.is_peeking,
        HistoryVisibility::WorldReadable => true,
    };
    Allowed { allowed, joined: false }
}

fn membership_after(context: &Context<'_>, event: &Event) -> Arc<str> {
    let membership = if is_own_member_event(context, event) {
        event.membership_text()
    } else {
        context.member().and_then(|event| event.membership_text())
    };
    membership.cloned().unwrap_or_else(|| Arc::from("leave"))
}
