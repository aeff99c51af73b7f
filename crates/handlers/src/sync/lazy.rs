//! Which member events a device was already sent. Answers to `LazyLoadedMembersCache` in `synapse/handlers/sync.py`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use myelin_model::MultiWriterPosition;

/// Members remembered per device; more would make long syncs repeat less but cost memory.
const MEMBERS_PER_DEVICE: usize = 100;
/// A device that has not synced for this long is forgotten.
const EXPIRY: Duration = Duration::from_mins(30);
/// Devices remembered in all.
const DEVICES: usize = 100_000;

/// user id -> (event id, room position of the `next_batch` that carried it, recency).
#[derive(Default)]
struct Sent {
    members: HashMap<Arc<str>, (Arc<str>, MultiWriterPosition, u64)>,
    clock: u64,
    used: Option<Instant>,
}

/// One per process; keyed by (user, device).
#[derive(Default)]
pub struct LazyLoadedMembers {
    devices: Mutex<HashMap<DeviceKey, Sent>>,
}

pub type DeviceKey = (Arc<str>, Option<Arc<str>>);

impl LazyLoadedMembers {
    /// Forgets what the client did not receive: everything after `since`, all of it without one.
    pub fn start_request(&self, device: &DeviceKey, since: Option<&MultiWriterPosition>) {
        self.with(device, |sent| match since {
            None => sent.members.clear(),
            Some(since) => sent.members.retain(|_, (_, position, _)| position.at_most(since)),
        });
    }

    pub fn was_sent(&self, device: &DeviceKey, user_id: &str, event_id: &str) -> bool {
        self.with(device, |sent| {
            sent.clock += 1;
            let clock = sent.clock;
            match sent.members.get_mut(user_id) {
                Some((known, _, recency)) if &**known == event_id => {
                    *recency = clock;
                    true
                }
                _ => false,
            }
        })
    }

    pub fn mark_sent(&self, device: &DeviceKey, user_id: &Arc<str>, event_id: &Arc<str>, at: &MultiWriterPosition) {
        self.with(device, |sent| {
            sent.clock += 1;
            let entry = (Arc::clone(event_id), at.clone(), sent.clock);
            sent.members.insert(Arc::clone(user_id), entry);
            if sent.members.len() > MEMBERS_PER_DEVICE {
                let oldest =
                    sent.members.iter().min_by_key(|(_, (_, _, recency))| *recency).map(|(id, _)| Arc::clone(id));
                if let Some(oldest) = oldest {
                    sent.members.remove(&oldest);
                }
            }
        });
    }

    fn with<T>(&self, device: &DeviceKey, act: impl FnOnce(&mut Sent) -> T) -> T {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let fresh = |sent: &Sent| sent.used.is_some_and(|used| now.duration_since(used) < EXPIRY);
        if devices.len() >= DEVICES && !devices.contains_key(device) {
            devices.retain(|_, sent| fresh(sent));
            if devices.len() >= DEVICES {
                devices.clear();
            }
        }
        let sent = devices.entry(device.clone()).or_default();
        if !fresh(sent) {
            sent.members.clear();
        }
        sent.used = Some(now);
        act(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Arc<str> {
        Arc::from(text)
    }

    #[test]
    fn what_came_after_since_is_forgotten() {
        let (cache, device) = (LazyLoadedMembers::default(), (id("@a:t"), Some(id("D"))));
        cache.start_request(&device, Some(&5.into()));
        cache.mark_sent(&device, &id("@b:t"), &id("$1"), &7.into());
        assert!(cache.was_sent(&device, "@b:t", "$1") && !cache.was_sent(&device, "@b:t", "$2"));
        cache.start_request(&device, Some(&7.into()));
        assert!(cache.was_sent(&device, "@b:t", "$1"));
        cache.start_request(&device, Some(&6.into()));
        assert!(!cache.was_sent(&device, "@b:t", "$1"));
    }

    #[test]
    fn the_least_recently_used_go_first() {
        let (cache, device) = (LazyLoadedMembers::default(), (id("@a:t"), None));
        for n in 0..=MEMBERS_PER_DEVICE {
            cache.was_sent(&device, "@0:t", "$0");
            cache.mark_sent(&device, &id(&format!("@{n}:t")), &id(&format!("${n}")), &1.into());
        }
        assert!(cache.was_sent(&device, "@0:t", "$0") && !cache.was_sent(&device, "@1:t", "$1"));
    }
}
