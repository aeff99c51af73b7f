//! `/sync`: what is new for a user, now or as soon as there is something. Answers to `synapse/handlers/sync.py`.

mod builder;
pub mod encode;
mod lazy;
mod room_entry;
mod rooms;
mod state;
mod summary;
mod timeline;
mod weight;

use std::sync::Arc;
use std::time::{Duration, Instant};

use myelin_caches::ResponseCache;
use myelin_live::Wakened;
use myelin_model::state_filter::StateKey;
use myelin_model::{Event, Requester, StreamName, StreamToken};

pub use lazy::{DeviceKey, LazyLoadedMembers};
pub use timeline::Timeline;

use crate::filter::FilterCollection;
use crate::sections::Item;
use crate::sections::device_lists::DeviceLists;
use crate::sections::one_time_keys::OneTimeKeys;
use crate::sections::profile_updates::ProfileUpdates;
use crate::sections::unread::RoomNotifCounts;
use crate::visibility::VisibleEvent;
use crate::{Handlers, Result};

/// How long a token from a worker ahead of this one is waited for, as in `Notifier.wait_for_stream_token`.
const CATCH_UP: Duration = Duration::from_secs(10);

/// Syncs that gather everything, for each core: the rest of a flood waits, and what is short goes first.
const WHOLE_SYNCS_PER_CORE: usize = 4;

pub(crate) fn whole_syncs_at_once() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get) * WHOLE_SYNCS_PER_CORE
}

/// Who asks, and for what.
#[derive(Clone, Debug)]
pub struct SyncConfig {
    pub requester: Requester,
    pub filter: Arc<FilterCollection>,
    pub full_state: bool,
    /// The client applies state after the timeline (MSC4222).
    pub use_state_after: bool,
}

#[derive(Clone, Debug)]
pub struct SyncRequest {
    pub config: SyncConfig,
    pub since: Option<StreamToken>,
    pub timeout: Duration,
    /// Equal requests of one device have equal keys.
    pub key: String,
}

/// An answer before it is written down.
#[derive(Debug)]
pub struct SyncResult {
    pub next_batch: StreamToken,
    pub presence: Vec<Item>,
    pub account_data: Vec<Item>,
    pub joined: Vec<JoinedRoom>,
    pub invited: Vec<Arc<Event>>,
    pub knocked: Vec<Arc<Event>>,
    pub archived: Vec<ArchivedRoom>,
    pub to_device: Vec<Item>,
    pub device_lists: DeviceLists,
    pub one_time_keys: OneTimeKeys,
    pub profile_updates: ProfileUpdates,
}

#[derive(Debug)]
pub struct JoinedRoom {
    pub room: ArchivedRoom,
    pub ephemeral: Vec<Item>,
    /// `{}` unless it was recomputed; `null` for a room without events.
    pub summary: serde_json::Value,
    pub unread: RoomNotifCounts,
    /// Those that are not in the timeline.
    pub sticky: Vec<VisibleEvent>,
}

/// What joined and left rooms have in common.
#[derive(Debug)]
pub struct ArchivedRoom {
    pub room_id: Arc<str>,
    pub timeline: Timeline,
    pub state: std::collections::HashMap<StateKey, Arc<Event>>,
    pub account_data: Vec<Item>,
}

impl ArchivedRoom {
    fn is_empty(&self) -> bool {
        self.timeline.events.is_empty() && self.state.is_empty() && self.account_data.is_empty()
    }
}

impl SyncResult {
    fn empty(next_batch: StreamToken, one_time_keys: OneTimeKeys) -> Self {
        Self {
            next_batch,
            presence: Vec::new(),
            account_data: Vec::new(),
            joined: Vec::new(),
            invited: Vec::new(),
            knocked: Vec::new(),
            archived: Vec::new(),
            to_device: Vec::new(),
            device_lists: DeviceLists::default(),
            one_time_keys,
            profile_updates: ProfileUpdates::new(),
        }
    }

    /// Whether a long-poll goes on waiting.
    pub fn is_empty(&self) -> bool {
        self.presence.is_empty()
            && self.account_data.is_empty()
            && self.joined.is_empty()
            && self.invited.is_empty()
            && self.knocked.is_empty()
            && self.archived.is_empty()
            && self.to_device.is_empty()
            && self.device_lists.changed.is_empty()
            && self.device_lists.left.is_empty()
            && self.profile_updates.is_empty()
    }
}

pub type SyncResponses = ResponseCache<Result<Arc<SyncResult>>>;

pub(crate) fn responses(keep_for: Duration) -> SyncResponses {
    SyncResponses::new(keep_for, |result| result.as_ref().map_or(0, |result| result.weight()))
}

impl Handlers {
    /// `wait_for_sync_for_user`. Equal requests share one answer, also shortly after.
    pub async fn sync(self: &Arc<Self>, request: SyncRequest) -> Result<Arc<SyncResult>> {
        let since = request.since.clone();
        // An empty answer must not be repeated to the client that comes back with the same token.
        let worth_keeping = move |result: &Result<Arc<SyncResult>>| {
            result.as_ref().is_ok_and(|result| since.as_ref() != Some(&result.next_batch))
        };
        let (handlers, key) = (Arc::clone(self), request.key.clone());
        let work = async move { handlers.wait_for_sync(request).await.map(Arc::new) };
        self.sync_responses.wrap(key, work, worth_keeping).await
    }

    async fn wait_for_sync(&self, request: SyncRequest) -> Result<SyncResult> {
        let SyncRequest { config, since, mut timeout, .. } = request;
        let Some(since) = since else { return self.whole_sync(&config, None).await };
        let started = Instant::now();
        let since = self.bound_future_token(since).await?;
        if !self.live.wait_for_token(&since, CATCH_UP).await {
            tracing::warn!("this worker did not catch up with a sync token in time: the answer is empty");
            return self.nothing_new(&config, since).await;
        }
        let waited = started.elapsed();
        if waited > Duration::from_secs(1) {
            timeout = timeout.saturating_sub(waited);
        }
        self.delete_acknowledged_messages(&config.requester, &since).await?;
        if config.full_state {
            return self.whole_sync(&config, Some(&since)).await;
        }
        if timeout.is_zero() {
            return self.generate_sync_result(&config, Some(&since)).await;
        }
        self.long_poll(&config, &since, timeout).await
    }

    /// An initial sync, or one with the full state, when its turn has come.
    async fn whole_sync(&self, config: &SyncConfig, since: Option<&StreamToken>) -> Result<SyncResult> {
        let _turn = self.whole_syncs.acquire().await;
        self.generate_sync_result(config, since).await
    }

    async fn long_poll(&self, config: &SyncConfig, since: &StreamToken, timeout: Duration) -> Result<SyncResult> {
        let user_id = &config.requester.user_id;
        let deadline = tokio::time::Instant::now() + timeout;
        let rooms = self.storage.get_rooms_for_user(user_id).await?;
        let mut listener = self.live.listen(user_id, rooms.iter().cloned().collect());
        let mut last = None;
        loop {
            let seen = listener.seen();
            let stopping = self.live.is_stopping();
            if !stopping && *self.live.current_token() != *since {
                let result = self.generate_sync_result(config, Some(since)).await?;
                if !result.is_empty() {
                    return Ok(result);
                }
                last = Some(result);
            }
            match listener.wait(seen, deadline.saturating_duration_since(tokio::time::Instant::now())).await {
                Wakened::Woken => {}
                // The client comes back to another worker with what it has.
                Wakened::Stopping => return self.nothing_new(config, since.clone()).await,
                Wakened::TimedOut => {
                    return match last {
                        Some(result) => Ok(result),
                        None => self.generate_sync_result(config, Some(since)).await,
                    };
                }
            }
        }
    }

    async fn nothing_new(&self, config: &SyncConfig, since: StreamToken) -> Result<SyncResult> {
        let one_time_keys = self.one_time_keys(config).await?;
        Ok(SyncResult::empty(since, one_time_keys))
    }

    async fn one_time_keys(&self, config: &SyncConfig) -> Result<OneTimeKeys> {
        match &config.requester.device_id {
            Some(device_id) => self.one_time_keys_for_sync(&config.requester.user_id, device_id).await,
            None => Ok(OneTimeKeys::default()),
        }
    }

    /// `bound_future_token`: nobody waits for a position that was never given out. Only a token that is
    /// ahead of this worker costs a look at the database.
    pub async fn bound_future_token(&self, mut token: StreamToken) -> Result<StreamToken> {
        let now = self.live.current_token();
        if token.at_most(&now) {
            return Ok(token);
        }
        let mut room = token.room.position();
        if !room.at_most(&now.room.position())
            && let Some(max) = self.storage.last_allocated(StreamName::Events).await?
            && max < room.max()
        {
            room.bound(max);
            token.room = myelin_model::RoomToken::Live(room);
        }
        for (stream, field, current) in [
            (StreamName::Receipts, &mut token.receipt, &now.receipt),
            (StreamName::DeviceLists, &mut token.device_list, &now.device_list),
            (StreamName::StickyEvents, &mut token.sticky_events, &now.sticky_events),
            (StreamName::QuarantinedMedia, &mut token.quarantined_media, &now.quarantined_media),
        ] {
            if !field.at_most(current)
                && let Some(max) = self.storage.last_allocated(stream).await?
                && max < field.max()
            {
                field.bound(max);
            }
        }
        for (stream, field, current) in [
            (StreamName::Presence, &mut token.presence, now.presence),
            (StreamName::AccountData, &mut token.account_data, now.account_data),
            (StreamName::PushRules, &mut token.push_rules, now.push_rules),
            (StreamName::ToDevice, &mut token.to_device, now.to_device),
            (StreamName::UnPartialStatedRoom, &mut token.un_partial_stated_rooms, now.un_partial_stated_rooms),
            (StreamName::ThreadSubscriptions, &mut token.thread_subscriptions, now.thread_subscriptions),
            (StreamName::ProfileUpdates, &mut token.profile_updates, now.profile_updates),
        ] {
            if *field > current
                && let Some(max) = self.storage.last_allocated(stream).await?
            {
                *field = max.min(*field);
            }
        }
        // Groups are gone; their number says nothing any more.
        token.groups = token.groups.min(now.groups);
        Ok(token)
    }
}
