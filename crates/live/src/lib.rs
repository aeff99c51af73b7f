//! The present: where each stream stands, who waits for what, who types and who is online.
//! Answers to `synapse/notifier.py` and the in-memory parts of `typing.py` and `presence.py`.
//!
//! Architecture invariant: one `Writer`, owned by the follower, moves the present; everybody else has a
//! `Reader`. There is no IO here.

mod changes;
mod position;
mod typing;
mod waiters;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use myelin_model::presence::PresenceState;
use myelin_model::{InitialPositions, MultiWriterPosition, RoomToken, StreamName, StreamToken};
use tokio::sync::watch;

pub use changes::Changes;
pub use typing::RoomTyping;
pub use waiters::{Listener, Wakened};

use position::Position;
use typing::Typing;
use waiters::Waiters;

/// What changed when, by stream; see `Reader::changes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Changed {
    /// Rooms by events, users by memberships, and so on: the caches of `synapse/util/caches/stream_change_cache.py`.
    RoomEvents,
    RoomState,
    UserMembership,
    RoomReceipts,
    UserAccountData,
    UserPushRules,
    UserToDevice,
    UserDeviceList,
    RoomDeviceList,
    UserSignature,
    UserPresence,
}

struct State {
    positions: HashMap<StreamName, Position>,
    changes: HashMap<Changed, Changes>,
    typing: Typing,
    /// Everybody who is not offline.
    presence: HashMap<Arc<str>, PresenceState>,
}

struct Shared {
    state: Mutex<State>,
    waiters: Arc<Waiters>,
    token: watch::Sender<Arc<StreamToken>>,
    stopping: watch::Sender<bool>,
}

/// Whom one change concerns.
#[derive(Clone, Debug, Default)]
pub struct Wake {
    pub users: Vec<Arc<str>>,
    pub rooms: Vec<Arc<str>>,
    /// Users whose open requests concern a room from now on: they joined it.
    pub joined: Vec<(Arc<str>, Arc<str>)>,
}

/// Moves the present. Not `Clone`: there is one, and the follower owns it.
pub struct Writer {
    shared: Arc<Shared>,
}

/// Looks at the present.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

pub fn new(initial: InitialPositions) -> (Writer, Reader) {
    let positions: HashMap<StreamName, Position> =
        initial.streams.into_iter().map(|(stream, position)| (stream, Position::new(position))).collect();
    let state = State { changes: HashMap::new(), typing: Typing::default(), presence: HashMap::new(), positions };
    let token = watch::Sender::new(Arc::new(state.token()));
    let shared =
        Shared { state: Mutex::new(state), waiters: Arc::default(), token, stopping: watch::Sender::new(false) };
    let shared = Arc::new(shared);
    (Writer { shared: Arc::clone(&shared) }, Reader { shared })
}

impl State {
    fn position(&self, stream: StreamName) -> MultiWriterPosition {
        self.positions.get(&stream).map_or_else(|| 0.into(), Position::multi_writer)
    }

    fn persisted_upto(&self, stream: StreamName) -> i64 {
        self.positions.get(&stream).map_or(0, Position::persisted_upto)
    }

    /// "Now": each field from where protocol facts say it is taken.
    fn token(&self) -> StreamToken {
        StreamToken {
            room: RoomToken::Live(self.position(StreamName::Events)),
            presence: self.persisted_upto(StreamName::Presence),
            typing: self.persisted_upto(StreamName::Typing),
            receipt: self.position(StreamName::Receipts),
            account_data: self.persisted_upto(StreamName::AccountData),
            push_rules: self.persisted_upto(StreamName::PushRules),
            to_device: self.persisted_upto(StreamName::ToDevice),
            device_list: self.position(StreamName::DeviceLists),
            groups: 0,
            un_partial_stated_rooms: self.persisted_upto(StreamName::UnPartialStatedRoom),
            thread_subscriptions: self.persisted_upto(StreamName::ThreadSubscriptions),
            sticky_events: self.position(StreamName::StickyEvents),
            quarantined_media: self.position(StreamName::QuarantinedMedia),
            profile_updates: self.persisted_upto(StreamName::ProfileUpdates),
            newer: None,
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Remembers that `entity` changed at `position`.
    pub fn changed(&self, what: Changed, entity: &Arc<str>, position: i64) {
        self.with_changes(what, |changes| changes.note(entity, position));
    }

    /// Everything may have changed up to `position`.
    pub fn all_changed(&self, what: Changed, position: i64) {
        self.with_changes(what, |changes| changes.forget(position));
    }

    fn with_changes(&self, what: Changed, act: impl FnOnce(&mut Changes)) {
        let mut state = self.shared.state();
        let start = state.start_of(what);
        act(state.changes.entry(what).or_insert_with(|| Changes::new(start)));
    }

    pub fn set_typing(&self, room_id: &Arc<str>, serial: i64, user_ids: Vec<Arc<str>>) {
        self.shared.state().typing.set(room_id, serial, user_ids);
    }

    /// The writer of typing started anew: whoever typed does not any more, and serials begin at `serial`.
    pub fn reset_typing(&self, instance: &str, serial: i64) {
        self.shared.state().typing = Typing::default();
        self.reset_position(StreamName::Typing, instance, serial);
    }

    pub fn set_presence(&self, presence: PresenceState) {
        let mut state = self.shared.state();
        if presence.state == "offline" {
            state.presence.remove(&presence.user_id);
        } else {
            state.presence.insert(Arc::clone(&presence.user_id), presence);
        }
    }

    /// Moves a writer's position to that of a row of its: the token covers what it wrote up to there.
    pub fn advance(&self, stream: StreamName, instance: &str, id: i64) {
        self.move_position(stream, |position| position.advance(instance, id));
    }

    /// The same without a row: the writer wrote nothing since the row before.
    pub fn announce(&self, stream: StreamName, instance: &str, id: i64) {
        self.move_position(stream, |position| position.announce(instance, id));
    }

    fn move_position(&self, stream: StreamName, by: impl FnOnce(&mut Position)) {
        let mut state = self.shared.state();
        by(state.positions.entry(stream).or_default());
        let token = Arc::new(state.token());
        drop(state);
        self.shared.token.send_replace(token);
    }

    /// A stream that lives in its writer's memory begins anew.
    pub fn reset_position(&self, stream: StreamName, instance: &str, id: i64) {
        self.shared.state().positions.remove(&stream);
        self.announce(stream, instance, id);
    }

    /// To be called once the position covers what happened: who is woken must find it.
    pub fn wake(&self, stream: StreamName, wake: &Wake) {
        self.shared.waiters.wake(stream, wake);
    }

    pub fn wake_all(&self) {
        self.shared.waiters.wake_all();
    }

    /// Ends every wait: the process is stopping.
    pub fn stop(&self) {
        self.shared.stopping.send_replace(true);
        self.wake_all();
    }

    pub fn reader(&self) -> Reader {
        Reader { shared: Arc::clone(&self.shared) }
    }
}

impl State {
    /// Before this position nothing is known: where the stream stood when we started.
    fn start_of(&self, what: Changed) -> i64 {
        let stream = match what {
            Changed::RoomEvents | Changed::RoomState | Changed::UserMembership => StreamName::Events,
            Changed::RoomReceipts => StreamName::Receipts,
            Changed::UserAccountData => StreamName::AccountData,
            Changed::UserPushRules => StreamName::PushRules,
            Changed::UserToDevice => StreamName::ToDevice,
            Changed::UserDeviceList | Changed::RoomDeviceList | Changed::UserSignature => StreamName::DeviceLists,
            Changed::UserPresence => StreamName::Presence,
        };
        self.positions.get(&stream).map_or(0, Position::start)
    }
}

impl Reader {
    /// "Now". Everything at or before it is committed, and the caches know of it.
    pub fn current_token(&self) -> Arc<StreamToken> {
        Arc::clone(&self.shared.token.borrow())
    }

    /// Where a writer of a stream stands.
    pub fn position(&self, stream: StreamName, instance: &str) -> i64 {
        self.shared.state().positions.get(&stream).map_or(0, |position| position.of(instance))
    }

    /// Whether `token` was reached within `limit`.
    pub async fn wait_for_token(&self, token: &StreamToken, limit: Duration) -> bool {
        let mut now = self.shared.token.subscribe();
        let reached = now.wait_for(|now| token.at_most(now));
        tokio::time::timeout(limit, reached).await.is_ok_and(|reached| reached.is_ok())
    }

    /// Whether `instance` stands at `position` of a stream within `limit`; all of it is known here then.
    pub async fn wait_for_position(&self, stream: StreamName, instance: &str, position: i64, limit: Duration) -> bool {
        // The token is sent anew whenever any position has moved.
        let mut moved = self.shared.token.subscribe();
        let reached = moved.wait_for(|_| self.position(stream, instance) >= position);
        tokio::time::timeout(limit, reached).await.is_ok_and(|reached| reached.is_ok())
    }

    /// Whether `entity` may have changed after `since`: "no" is certain, "yes" may be caution.
    pub fn may_have_changed(&self, what: Changed, entity: &str, since: i64) -> bool {
        let state = self.shared.state();
        state
            .changes
            .get(&what)
            .map_or_else(|| since < state.start_of(what), |changes| changes.may_have_changed(entity, since))
    }

    /// Of `entities`, those that may have changed after `since`.
    pub fn may_have_changed_of<'a>(
        &self,
        what: Changed,
        entities: impl IntoIterator<Item = &'a Arc<str>>,
        since: i64,
    ) -> Vec<Arc<str>> {
        let state = self.shared.state();
        let start = state.start_of(what);
        let changes = state.changes.get(&what);
        let may = |entity: &str| changes.map_or(since < start, |changes| changes.may_have_changed(entity, since));
        entities.into_iter().filter(|entity| may(entity)).cloned().collect()
    }

    /// Everything that changed after `since`; `None`: too long ago to know.
    pub fn changed_since(&self, what: Changed, since: i64) -> Option<Vec<Arc<str>>> {
        let state = self.shared.state();
        match state.changes.get(&what) {
            Some(changes) => changes.changed_since(since),
            None => (since >= state.start_of(what)).then(Vec::new),
        }
    }

    /// Who types in a room, if anything is known of it.
    pub fn typing(&self, room_id: &str) -> Option<RoomTyping> {
        self.shared.state().typing.of(room_id).cloned()
    }

    /// Of `room_ids`, those in which typing changed after `since` and not after `upto`, and who types there.
    pub fn typing_changed<'a>(
        &self,
        room_ids: impl IntoIterator<Item = &'a Arc<str>>,
        since: i64,
        upto: i64,
    ) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        self.shared.state().typing.changed(room_ids, since, upto)
    }

    pub fn presence(&self, user_id: &str) -> Option<PresenceState> {
        self.shared.state().presence.get(user_id).cloned()
    }

    /// Registers a request's interest. It must be dropped when the request ends.
    pub fn listen(&self, user_id: &Arc<str>, room_ids: Vec<Arc<str>>) -> Listener {
        Waiters::listen(&self.shared.waiters, Arc::clone(user_id), room_ids, self.shared.stopping.subscribe())
    }

    pub fn is_stopping(&self) -> bool {
        *self.shared.stopping.borrow()
    }

    /// Up to where everything of each stream has arrived here, for the metric.
    pub fn positions(&self) -> Vec<(StreamName, i64)> {
        let state = self.shared.state();
        state.positions.iter().map(|(stream, position)| (*stream, position.persisted_upto())).collect()
    }

    /// Whether any request waits now.
    pub fn anybody_waits(&self) -> bool {
        self.shared.waiters.users_and_rooms().0 > 0
    }

    /// Users and rooms with requests that wait now, for the metric.
    pub fn waiting(&self) -> (usize, usize) {
        self.shared.waiters.users_and_rooms()
    }

    /// How many users each stream woke so far, for the metric.
    pub fn woken(&self) -> HashMap<StreamName, u64> {
        self.shared.waiters.woken()
    }

    /// Requests that wait now, for the metric.
    pub fn listeners(&self) -> usize {
        self.shared.waiters.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn id(text: &str) -> Arc<str> {
        Arc::from(text)
    }

    fn start() -> (Writer, Reader) {
        let position = |writers: &[&str]| myelin_model::InitialPosition {
            persisted_upto: 5,
            writers: writers.iter().map(|name| (id(name), 5)).collect(),
            known: Vec::new(),
        };
        let streams = BTreeMap::from([
            (StreamName::Events, position(&["w1", "w2"])),
            (StreamName::Receipts, position(&["master"])),
        ]);
        new(InitialPositions { streams })
    }

    #[test]
    fn the_token_follows_each_writer() {
        let (writer, reader) = start();
        writer.advance(StreamName::Events, "w1", 7);
        let RoomToken::Live(room) = reader.current_token().room.clone() else { panic!("not a live token") };
        assert_eq!((room.base, room.of("w1"), room.of("w2")), (5, 7, 5));
        writer.advance(StreamName::Events, "w2", 8);
        assert_eq!(reader.current_token().room.position().base, 8);
    }

    #[test]
    fn changes_are_forgotten_only_towards_caution() {
        let (writer, reader) = start();
        assert!(!reader.may_have_changed(Changed::RoomEvents, "!a", 5));
        assert!(reader.may_have_changed(Changed::RoomEvents, "!a", 4));
        writer.changed(Changed::RoomEvents, &id("!a"), 7);
        assert!(reader.may_have_changed(Changed::RoomEvents, "!a", 6));
        assert!(!reader.may_have_changed(Changed::RoomEvents, "!a", 7));
        assert!(!reader.may_have_changed(Changed::RoomEvents, "!b", 5));
    }

    #[tokio::test]
    async fn who_is_woken_finds_what_happened() {
        let (writer, reader) = start();
        let mut listener = reader.listen(&id("@a:t"), vec![id("!r")]);
        let seen = listener.seen();
        writer.advance(StreamName::Events, "w1", 6);
        assert_eq!(listener.seen(), seen);
        writer.wake(StreamName::Events, &Wake { rooms: vec![id("!r")], ..Wake::default() });
        assert_eq!(listener.wait(seen, Duration::from_secs(5)).await, Wakened::Woken);
        assert!(reader.current_token().room.position().covers("w1", 6));
        writer.wake(StreamName::Receipts, &Wake { users: vec![id("@b:t")], ..Wake::default() });
        assert_eq!(reader.woken(), HashMap::from([(StreamName::Events, 1), (StreamName::Receipts, 0)]));
    }

    #[tokio::test]
    async fn a_join_brings_the_room_to_open_requests() {
        let (writer, reader) = start();
        let mut listener = reader.listen(&id("@a:t"), Vec::new());
        writer.wake(StreamName::Events, &Wake { joined: vec![(id("@a:t"), id("!new"))], ..Wake::default() });
        let seen = listener.seen();
        writer.wake(StreamName::Events, &Wake { rooms: vec![id("!new")], ..Wake::default() });
        assert_eq!(listener.wait(seen, Duration::from_secs(5)).await, Wakened::Woken);
        assert!(reader.anybody_waits());
        drop(listener);
        assert_eq!((reader.listeners(), reader.anybody_waits()), (0, false));
    }

    #[tokio::test]
    async fn stopping_ends_every_wait() {
        let (writer, reader) = start();
        let mut listener = reader.listen(&id("@a:t"), Vec::new());
        let seen = listener.seen();
        writer.stop();
        assert_eq!(listener.wait(seen, Duration::from_secs(5)).await, Wakened::Stopping);
    }

    #[test]
    fn typing_begins_anew() {
        let (writer, reader) = start();
        writer.advance(StreamName::Typing, "master", 3);
        writer.set_typing(&id("!r"), 3, vec![id("@a:t")]);
        writer.reset_typing("master", 0);
        assert_eq!((reader.typing("!r"), reader.current_token().typing), (None, 0));
        // Serials are skipped when a room changes twice before it is told of.
        writer.advance(StreamName::Typing, "master", 4);
        assert_eq!(reader.current_token().typing, 4);
    }
}
