//! Requests that wait, by user and by room. Answers to `_NotifierUserStream` in `synapse/notifier.py`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use myelin_model::StreamName;
use tokio::sync::watch;

use crate::Wake;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakened {
    Woken,
    TimedOut,
    Stopping,
}

/// One user's open requests: they share the wake-up count and the rooms.
struct User {
    count: watch::Sender<u64>,
    requests: usize,
    rooms: HashSet<Arc<str>>,
}

#[derive(Default)]
struct Registry {
    users: HashMap<Arc<str>, User>,
    /// Only users with open requests.
    rooms: HashMap<Arc<str>, HashSet<Arc<str>>>,
    /// How many users each stream woke.
    woken: HashMap<StreamName, u64>,
}

#[derive(Default)]
pub struct Waiters {
    registry: Mutex<Registry>,
}

impl Waiters {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn listen(
        waiters: &Arc<Self>,
        user_id: Arc<str>,
        room_ids: Vec<Arc<str>>,
        stopping: watch::Receiver<bool>,
    ) -> Listener {
        let mut registry = waiters.registry();
        let Registry { users, rooms, .. } = &mut *registry;
        let user = users.entry(Arc::clone(&user_id)).or_insert_with(|| User {
            count: watch::Sender::new(0),
            requests: 0,
            rooms: HashSet::new(),
        });
        user.requests += 1;
        let count = user.count.subscribe();
        for room_id in room_ids {
            rooms.entry(Arc::clone(&room_id)).or_default().insert(Arc::clone(&user_id));
            user.rooms.insert(room_id);
        }
        drop(registry);
        Listener { waiters: Arc::clone(waiters), user_id, count, stopping }
    }

    pub fn wake(&self, stream: StreamName, wake: &Wake) {
        let mut registry = self.registry();
        for (user_id, room_id) in &wake.joined {
            let Registry { users, rooms, .. } = &mut *registry;
            if let Some(user) = users.get_mut(user_id) {
                user.rooms.insert(Arc::clone(room_id));
                rooms.entry(Arc::clone(room_id)).or_default().insert(Arc::clone(user_id));
            }
        }
        let in_rooms = wake.rooms.iter().filter_map(|room_id| registry.rooms.get(room_id)).flatten();
        let concerned: HashSet<&Arc<str>> = in_rooms.chain(&wake.users).collect();
        let mut woken = 0;
        for user in concerned.into_iter().filter_map(|user_id| registry.users.get(user_id)) {
            user.count.send_modify(|count| *count += 1);
            woken += 1;
        }
        *registry.woken.entry(stream).or_default() += woken;
    }

    pub fn woken(&self) -> HashMap<StreamName, u64> {
        self.registry().woken.clone()
    }

    pub fn wake_all(&self) {
        for user in self.registry().users.values() {
            user.count.send_modify(|count| *count += 1);
        }
    }

    pub fn len(&self) -> usize {
        self.registry().users.values().map(|user| user.requests).sum()
    }

    pub fn users_and_rooms(&self) -> (usize, usize) {
        let registry = self.registry();
        (registry.users.len(), registry.rooms.len())
    }

    fn leave(&self, user_id: &Arc<str>) {
        let mut registry = self.registry();
        let Registry { users, rooms, .. } = &mut *registry;
        let Some(user) = users.get_mut(user_id) else { return };
        user.requests -= 1;
        if user.requests > 0 {
            return;
        }
        for room_id in &user.rooms {
            if let Some(in_room) = rooms.get_mut(room_id) {
                in_room.remove(user_id);
                if in_room.is_empty() {
                    rooms.remove(room_id);
                }
            }
        }
        users.remove(user_id);
    }
}

/// One request's interest, from before its first look at the data until it ends.
pub struct Listener {
    waiters: Arc<Waiters>,
    user_id: Arc<str>,
    count: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
}

impl Listener {
    /// Take this before looking at the data, and give it to `wait`: nothing is missed in between.
    pub fn seen(&self) -> u64 {
        *self.count.borrow()
    }

    /// Waits for a wake-up after `seen`.
    pub async fn wait(&mut self, seen: u64, limit: Duration) -> Wakened {
        if *self.stopping.borrow() {
            return Wakened::Stopping;
        }
        let woken = self.count.wait_for(|count| *count != seen);
        match tokio::time::timeout(limit, woken).await {
            Err(_) => Wakened::TimedOut,
            Ok(_) if *self.stopping.borrow() => Wakened::Stopping,
            Ok(_) => Wakened::Woken,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.waiters.leave(&self.user_id);
    }
}
