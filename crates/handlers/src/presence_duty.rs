//! What a process that serves /sync tells the writer of presence. Answers to `WorkerPresenceHandler` in
//! `synapse/handlers/presence.py`.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use myelin_config::{Config, Presence};
use myelin_model::Requester;
use myelin_replication::{Client, Command, Commands};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::ratelimiting::Ratelimiter;
use crate::{Result, elapsed_ms, now_ms};

/// A device that stopped syncing is told of only if it does not come back meanwhile: `UPDATE_SYNCING_USERS`.
const GRACE: Duration = Duration::from_secs(10);
/// A sync does not wait longer for the writer of presence.
const WAIT: Duration = Duration::from_secs(2);
/// Afterwards it is taken as not told.
const TELL_WITHIN: Duration = Duration::from_secs(10);
/// Requests to the writer under way. Beyond, a sync goes untold, and the device's next one tries again.
const TELLING: usize = 256;
/// The last word must not hold up the end of the process.
const FAREWELL_WITHIN: Duration = Duration::from_secs(5);
/// Devices of which is remembered what was told; beyond, old ones are forgotten.
const REMEMBERED: usize = 100_000;

type Device = (Arc<str>, Option<Arc<str>>);

/// One per process.
pub struct PresenceDuty {
    commands: Commands,
    http: Client,
    writer: String,
    /// Stands for this process; a new one with every start.
    instance_id: String,
    settings: Presence,
    /// Counts also what does not affect presence.
    limiter: Ratelimiter,
    state: Mutex<State>,
    telling: Arc<Semaphore>,
    /// The writer was not told the last time: warned of once.
    failing: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Requests under way.
    syncing: HashMap<Device, u32>,
    /// When they ended, as all times here by `elapsed_ms`.
    going_offline: HashMap<Device, i64>,
    /// What the writer was told last, and when.
    told: HashMap<Device, (String, i64)>,
    /// CLEAR_USER_SYNC is the last word of this process.
    ended: bool,
}

/// Keeps a device syncing until it is dropped.
pub struct Syncing {
    duty: Arc<PresenceDuty>,
    device: Device,
    /// The writer of presence has just been told, and said that it knows.
    pub told: bool,
}

impl PresenceDuty {
    pub fn new(config: &Config, http: Client, commands: Commands) -> Self {
        let letters = (0..5).map(|_| char::from(rand::random_range(b'a'..=b'z')));
        Self {
            commands,
            http,
            writer: config.worker.stream_writers.presence.clone(),
            instance_id: letters.collect(),
            settings: config.server.presence.clone(),
            limiter: Ratelimiter::new(config.server.presence.per_user_rate),
            state: Mutex::default(),
            telling: Arc::new(Semaphore::new(TELLING)),
            failing: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `user_syncing`; nothing if the request does not affect presence. `set_presence` is a presence state;
    /// `unlimited` is asked only when the limit is reached.
    pub async fn user_syncing(
        self: &Arc<Self>,
        requester: &Requester,
        set_presence: &str,
        unlimited: impl Future<Output = Result<bool>>,
    ) -> Result<Option<Syncing>> {
        let device: Device = (Arc::clone(&requester.user_id), requester.device_id.clone());
        let now = elapsed_ms();
        // The limit counts also what is not affected.
        let allowed = self.limiter.can_do_action(&device.0, now).is_ok();
        if set_presence == "offline" || !self.settings.tracked || !(allowed || unlimited.await?) {
            return Ok(None);
        }
        let news = self.state().is_news(&device, set_presence, now, self.relay_interval_ms());
        let told = news && self.tell(&device, set_presence, now).await;
        let mut state = self.state();
        if state.ended {
            return Ok(None);
        }
        let requests = state.syncing.entry(device.clone()).or_default();
        *requests += 1;
        // One that came back in time was never said to have gone. Said under the lock (it does not wait), so that
        // what is said of a device comes in the order in which it happened.
        if *requests == 1 && state.going_offline.remove(&device).is_none() {
            self.commands.send(&self.user_sync(&device, true, now_ms()));
        }
        drop(state);
        Ok(Some(Syncing { duty: Arc::clone(self), device, told }))
    }

    /// The writer's timers need a word before they run out.
    fn relay_interval_ms(&self) -> i64 {
        self.settings.sync_online_timeout.min(self.settings.last_active_granularity) * 5 / 6
    }

    /// What the user sets is no sync: the next one is told of again.
    pub fn forget_told(&self, requester: &Requester) {
        self.state().told.remove(&(Arc::clone(&requester.user_id), requester.device_id.clone()));
    }

    /// Whether the writer must be told that the user does something, which is then remembered as done. Who was
    /// lately said to be online cannot have gone idle since.
    pub fn must_bump(&self, requester: &Requester) -> bool {
        let device: Device = (Arc::clone(&requester.user_id), requester.device_id.clone());
        self.settings.tracked && self.state().is_news(&device, "online", elapsed_ms(), self.relay_interval_ms())
    }

    /// Whether the writer knows. The sync waits a little, and is answered also when this fails. Goes on when the
    /// client goes away.
    async fn tell(self: &Arc<Self>, device: &Device, presence: &str, now: i64) -> bool {
        let Ok(permit) = Arc::clone(&self.telling).try_acquire_owned() else {
            self.not_told(device, now, "too many requests to it are under way");
            return false;
        };
        let body = json!({
            "device_id": device.1.as_deref(),
            "state": { "presence": presence },
            "force_notify": false,
            "is_sync": true,
        });
        let (duty, device) = (Arc::clone(self), device.clone());
        let telling = tokio::spawn(async move {
            let told = duty.http.presence_set_state(&duty.writer, &device.0, &body);
            let told = tokio::time::timeout(TELL_WITHIN, told).await;
            match &told {
                Ok(Ok(())) => {
                    if duty.failing.swap(false, Ordering::Relaxed) {
                        tracing::info!("the writer of presence is told of syncs again");
                    }
                }
                Ok(Err(error)) => duty.not_told(&device, now, error),
                Err(_) => duty.not_told(&device, now, "no answer in time"),
            }
            drop(permit);
            matches!(told, Ok(Ok(())))
        });
        // Neither a late answer nor a failure concerns the sync.
        matches!(tokio::time::timeout(WAIT, telling).await, Ok(Ok(true)))
    }

    /// The next sync of the device tries again.
    fn not_told(&self, device: &Device, when: i64, why: impl std::fmt::Display) {
        let mut state = self.state();
        if state.told.get(device).is_some_and(|(_, at)| *at == when) {
            state.told.remove(device);
        }
        drop(state);
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!("the writer of presence was not told of a sync: {why}");
        }
    }

    fn user_sync(&self, device: &Device, syncing: bool, last_sync_ms: i64) -> Command {
        Command::UserSync {
            instance_id: self.instance_id.clone(),
            user_id: device.0.to_string(),
            device_id: device.1.as_deref().map(str::to_owned),
            syncing,
            last_sync_ms,
        }
    }

    /// Tells of devices that have gone, and after a reconnection of those that are there. Until `stop`; then the
    /// writer forgets this process.
    pub async fn run(&self, stop: CancellationToken) {
        if !self.settings.tracked {
            return;
        }
        let mut connections = self.commands.connections();
        let mut tick = tokio::time::interval(GRACE / 2);
        let tell = async {
            loop {
                tokio::select! {
                    _ = tick.tick() => self.tell_of_the_gone(elapsed_ms()).await,
                    Ok(()) = connections.changed() => {
                        let count = *connections.borrow_and_update();
                        self.tell_of_the_present(count > 1).await;
                    }
                }
            }
        };
        tokio::select! {
            () = tell => {}
            () = stop.cancelled() => {}
        }
        self.farewell().await;
    }

    /// Synapse's own CLEAR_USER_SYNC is queued while its connection closes, and is lost; this one is waited for.
    async fn farewell(&self) {
        let command = self.clear();
        self.state().ended = true;
        let sent = tokio::time::timeout(FAREWELL_WITHIN, self.commands.send_now(&command)).await;
        if !matches!(sent, Ok(true)) {
            tracing::warn!("CLEAR_USER_SYNC was not sent: users stay online for some minutes");
        }
    }

    fn clear(&self) -> Command {
        Command::ClearUserSync { instance_id: self.instance_id.clone() }
    }

    /// `send_stop_syncing`.
    async fn tell_of_the_gone(&self, now: i64) {
        let before = now - i64::try_from(GRACE.as_millis()).unwrap_or(i64::MAX);
        let gone = |ended: i64| ended < before;
        let devices: Vec<Device> =
            self.state().going_offline.iter().filter(|(_, ended)| gone(**ended)).map(|(d, _)| d.clone()).collect();
        for device in devices {
            // Room in the queue first, then the truth of that moment.
            let Some(room) = self.commands.reserve().await else { return };
            let mut state = self.state();
            if let Some(ended) = state.going_offline.get(&device).copied().filter(|ended| gone(*ended)) {
                state.going_offline.remove(&device);
                // The writer may let the user go offline; who comes back is to be told of again.
                state.told.remove(&device);
                room.send(&self.user_sync(&device, false, now_ms() - (elapsed_ms() - ended)));
            }
        }
    }

    /// While the connection was down, what was said was lost. Said anew from the beginning, so that no end is
    /// missing: Synapse only repeats who is there, and who left meanwhile stays online.
    async fn tell_of_the_present(&self, anew: bool) {
        let devices: Vec<Device> = {
            let Some(room) = self.commands.reserve().await else { return };
            let mut state = self.state();
            if anew {
                state.going_offline.clear();
                room.send(&self.clear());
            }
            state.syncing.keys().cloned().collect()
        };
        for device in devices {
            let Some(room) = self.commands.reserve().await else { return };
            let state = self.state();
            if state.syncing.contains_key(&device) {
                room.send(&self.user_sync(&device, true, now_ms()));
            }
        }
    }
}

impl State {
    /// Whether the writer should be told, which is then remembered as done.
    fn is_news(&mut self, device: &Device, presence: &str, now: i64, interval: i64) -> bool {
        if self.told.get(device).is_some_and(|(known, at)| known == presence && now - at < interval) {
            return false;
        }
        if self.told.len() >= REMEMBERED {
            self.told.retain(|_, (_, at)| now - *at < interval);
        }
        if self.told.len() >= REMEMBERED {
            self.told.clear();
        }
        self.told.insert(device.clone(), (presence.to_owned(), now));
        true
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        let mut state = self.duty.state();
        let Some(requests) = state.syncing.get_mut(&self.device) else { return };
        *requests -= 1;
        if *requests == 0 {
            state.syncing.remove(&self.device);
            state.going_offline.insert(self.device.clone(), elapsed_ms());
        }
    }
}

#[cfg(test)]
mod tests;
