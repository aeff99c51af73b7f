//! What a row of a stream makes stale. Answers to `process_replication_rows` of every store and to
//! `synapse/storage/databases/main/cache.py`.

use std::sync::{Mutex, PoisonError};

use hashbrown::HashSet;
use myelin_model::Row;
use myelin_model::stream::EventRow;

use crate::Storage;

/// What is remembered by room and stale once events of the room were deleted.
const BY_ROOM_OF_EVENTS: [&str; 9] = [
    "_get_max_event_pos",
    "get_latest_event_ids_in_room",
    "get_metadata_for_event",
    "get_relations_for_event",
    "get_room_encryption",
    "get_room_type",
    "get_threads",
    "get_unread_event_push_actions_by_room_for_user",
    "have_seen_event",
];
/// The same by event or by user: all of it, for it is not told which.
const WHOLE_OF_EVENTS: [&str; 17] = [
    "_get_joined_profile_from_event_id",
    "_get_membership_from_event_id",
    "_get_rooms_for_local_user_where_membership_is_inner",
    "_get_state_group_for_event",
    "did_forget",
    "get_applicable_edit",
    "get_event_ordering",
    "get_forgotten_rooms_for_user",
    "get_invited_rooms_for_local_user",
    "get_references_for_event",
    "get_rooms_for_user",
    "get_sliding_sync_rooms_for_user_from_membership_snapshots",
    "get_thread_id",
    "get_thread_id_for_receipts",
    "get_thread_participated",
    "get_thread_summary",
    "is_partial_state_event",
];
/// What is remembered by room and stale once the room was deleted.
const BY_ROOM: [&str; 8] = [
    "_get_linearized_receipts_for_room",
    "_get_partial_state_servers_at_join",
    "get_aliases_for_room",
    "get_current_hosts_in_room_ordered",
    "get_retention_policy_for_room",
    "get_room_version_id",
    "is_partial_state_room",
    "is_room_blocked",
];
/// By user and room. Synapse drops only the caches of one room; here all rooms of a user are one entry.
const WHOLE_OF_ROOMS: [&str; 6] = [
    "_get_forward_extremeties_for_room",
    "get_account_data_for_room",
    "get_account_data_for_room_and_type",
    "get_room_account_data_for_user",
    "get_tags_for_room",
    "get_tags_for_user",
];
/// What is remembered of a room's members.
const BY_ROOM_OF_MEMBERS: [&str; 8] = [
    "is_host_joined",
    "is_host_invited",
    "get_users_in_room",
    "get_current_hosts_in_room",
    "get_users_in_room_with_profiles",
    "get_number_joined_users_in_room",
    "get_member_counts",
    "get_local_users_in_room",
];
/// What is remembered of a user's rooms.
const BY_MEMBER: [&str; 2] = ["get_rooms_for_user", "_get_rooms_for_local_user_where_membership_is_inner"];
/// Unknown names remembered, so that each is warned of once.
const MAX_WARNED: usize = 1_000;

/// Functions of Synapse that are cached there and not here: nothing to do, and nothing to warn of.
const NOT_CACHED_HERE: [&str; 60] = [
    "_get_cached_user_device",
    "_get_e2e_cross_signing_signatures_for_device",
    "_get_e2e_device_keys_for_federation_query_inner",
    "_get_joined_profile_from_event_id",
    "_get_max_event_pos",
    "_get_membership_from_event_id",
    "_get_partial_state_servers_at_join",
    "_get_receipts_for_user_with_orderings",
    "did_forget",
    "does_pair_of_users_share_a_room",
    "get_account_data_for_room",
    "get_account_data_for_room_and_type",
    "get_aliases_for_room",
    "get_cached_devices_for_user",
    "get_current_hosts_in_room",
    "get_current_hosts_in_room_ordered",
    "get_device",
    "get_device_list_last_stream_id_for_remote",
    "get_event_ordering",
    "get_expiration_ts_for_user",
    "get_global_account_data_by_type_for_user",
    "get_if_user_has_pusher",
    "get_invited_rooms_for_local_user",
    "get_last_receipt_event_id_for_user",
    "get_latest_event_ids_in_room",
    "get_local_users_in_room",
    "get_member_counts",
    "get_metadata_for_event",
    "get_monthly_active_count",
    "get_monthly_active_count_by_service",
    "get_number_joined_users_in_room",
    "get_partial_rooms",
    "get_relations_for_event",
    "get_room_encryption",
    "get_room_type",
    "get_room_version_id",
    "get_server_key_json_for_remote",
    "get_sliding_sync_rooms_for_user_from_membership_snapshots",
    "get_subscribers_to_thread",
    "get_subscription_for_thread",
    "get_tags_for_room",
    "get_thread_id",
    "get_thread_id_for_receipts",
    "get_threads",
    "get_user_by_access_token",
    "get_user_by_external_id",
    "get_user_by_id",
    "get_user_deactivated_status",
    "get_user_in_room_with_profile",
    "get_user_locked_status",
    "get_user_suspended_status",
    "have_seen_event",
    "ignored_by",
    "is_feature_enabled",
    "is_guest",
    "is_host_invited",
    "is_partial_state_event",
    "is_user_approved",
    "list_enabled_features",
    "user_last_seen_monthly_active",
];

#[derive(Default)]
pub(crate) struct Warned(Mutex<HashSet<String>>);

impl Warned {
    fn first_time(&self, name: &str) -> bool {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.len() < MAX_WARNED && names.insert(name.to_owned())
    }
}

impl Storage {
    /// Forgets what `row` makes stale. Must be done before the stream's position moves.
    pub fn invalidate_for(&self, row: &Row) {
        match row {
            Row::Cache { function, keys } => self.invalidate_function(function, keys.as_deref()),
            Row::Event(event) | Row::Backfill(event) => self.invalidate_for_event(event),
            Row::State(state) => {
                // Synapse leaves the room's members to the caches stream. Streams are not ordered among each other:
                // whoever sees this stream's position must not find members from before it.
                let members: &[&str] = if state.kind == "m.room.member" { &[&state.state_key] } else { &[] };
                self.invalidate_state(&state.room_id, members);
            }
            Row::StateAll { room_id } => self.invalidate_all_state(room_id),
            Row::Receipt(receipt) => {
                self.forget("_get_linearized_receipts_for_room", &[&receipt.room_id]);
                // Synapse drops what is unread for everybody. Only its user's counts depend on a receipt.
                let keys: [&str; 2] = [&receipt.room_id, &receipt.user_id];
                self.forget("get_unread_event_push_actions_by_room_for_user", &keys);
                let keys: [&str; 2] = [&receipt.user_id, &receipt.receipt_type];
                self.forget("_get_receipts_for_user_with_orderings", &keys);
            }
            Row::AccountData { user_id, room_id, kind } => {
                self.invalidate_for_account_data(user_id, room_id.as_deref(), kind);
            }
            Row::PushRules { user_id } => self.forget("get_push_rules_for_user", &[user_id]),
            Row::DeviceList { user_id, is_signature: false, .. } => {
                for name in [
                    "get_cached_devices_for_user",
                    "_get_cached_user_device",
                    "get_device_list_last_stream_id_for_remote",
                    "_get_e2e_device_keys_for_federation_query_inner",
                ] {
                    self.forget(name, &[user_id]);
                }
            }
            Row::Presence(presence) => self.forget("_get_presence_for_user", &[&presence.user_id]),
            Row::StickyEvent { event_id, .. } => self.forget("_get_event_cache", &[event_id]),
            Row::UnPartialStatedEvent { event_id, .. } => {
                self.forget("is_partial_state_event", &[event_id]);
                self.forget("_get_event_cache", &[event_id]);
                self.forget("_get_state_group_for_event", &[event_id]);
            }
            Row::UnPartialStatedRoom { room_id } => self.forget("is_partial_state_room", &[room_id]),
            Row::ThreadSubscription { user_id, .. } => self.forget("get_subscription_for_thread", &[user_id]),
            Row::DeviceList { is_signature: true, .. }
            | Row::Federation
            | Row::PresenceFederation { .. }
            | Row::ProfileUpdate { .. }
            | Row::Pushers { .. }
            | Row::QuarantinedMedia
            | Row::ToDevice { .. }
            | Row::Typing { .. } => {}
        }
    }

    fn forget(&self, function: &str, keys: &[&str]) {
        // Functions that nobody cached yet have nothing to forget.
        self.registry().invalidate(function, Some(keys));
    }

    fn forget_all(&self, function: &str) {
        self.registry().invalidate(function, None);
    }

    /// `_invalidate_state_caches`, for a room of which it is not told who changed.
    fn invalidate_current_state(&self, room_id: &str) {
        for name in [
            "get_partial_current_state_ids",
            "_get_current_state_event_id",
            "get_room_summary",
            "get_room_type",
            "get_room_encryption",
            "get_retention_policy_for_room",
        ] {
            self.forget(name, &[room_id]);
        }
    }

    fn invalidate_function(&self, function: &str, keys: Option<&[String]>) {
        let keys: Option<Vec<&str>> = keys.map(|keys| keys.iter().map(String::as_str).collect());
        match (function, keys.as_deref()) {
            ("cs_cache_fake", Some([room_id, user_ids @ ..])) => return self.invalidate_state(room_id, user_ids),
            ("ph_cache_fake", Some([room_id, ..])) => return self.invalidate_events_of(room_id),
            ("dr_cache_fake", Some([room_id, ..])) => return self.invalidate_room(room_id),
            _ => {}
        }
        if self.registry().invalidate(function, keys.as_deref()) || NOT_CACHED_HERE.contains(&function) {
            return;
        }
        // A fake name stands for more than one function: if it is not understood, anything may be stale.
        if function.ends_with("_fake") {
            tracing::warn!("the invalidation {function} is not understood: every cache is emptied");
            self.registry().clear();
        } else if !function.contains('.') && self.0.warned.first_time(function) {
            // With a dot it is a cache of a Python module, which cannot be loaded here.
            tracing::warn!("another process invalidated the cache {function}, which is not known here");
        }
    }

    /// `_invalidate_state_caches`: the room's current state changed, and the memberships of these users with it.
    fn invalidate_state(&self, room_id: &str, user_ids: &[&str]) {
        if !user_ids.is_empty() {
            self.forget_each(&BY_ROOM_OF_MEMBERS, &[room_id]);
            self.forget_all("does_pair_of_users_share_a_room");
        }
        for user_id in user_ids {
            self.forget("get_user_in_room_with_profile", &[room_id, user_id]);
            self.forget_each(&BY_MEMBER, &[user_id]);
        }
        self.invalidate_current_state(room_id);
    }

    /// `_invalidate_state_caches_all`: the same without knowing whose memberships changed.
    fn invalidate_all_state(&self, room_id: &str) {
        self.forget_each(&BY_ROOM_OF_MEMBERS, &[room_id]);
        self.forget("get_user_in_room_with_profile", &[room_id]);
        for name in BY_MEMBER {
            self.forget_all(name);
        }
        self.forget_all("does_pair_of_users_share_a_room");
        self.invalidate_current_state(room_id);
    }

    /// `_invalidate_caches_for_room_events`: events of the room were deleted, it is not told which.
    fn invalidate_events_of(&self, room_id: &str) {
        self.forget("_invalidate_local_get_event_cache_room_id", &[room_id]);
        self.forget_each(&BY_ROOM_OF_EVENTS, &[room_id]);
        for name in WHOLE_OF_EVENTS {
            self.forget_all(name);
        }
    }

    /// `_invalidate_caches_for_room`: the room was deleted.
    fn invalidate_room(&self, room_id: &str) {
        self.invalidate_events_of(room_id);
        self.forget_each(&BY_ROOM, &[room_id]);
        for name in WHOLE_OF_ROOMS {
            self.forget_all(name);
        }
        self.invalidate_all_state(room_id);
    }

    fn forget_each(&self, functions: &[&str], keys: &[&str]) {
        for function in functions {
            self.forget(function, keys);
        }
    }

    fn invalidate_for_event(&self, event: &EventRow) {
        let room_id: &str = &event.room_id;
        self.forget_room_reads(&event.room_id);
        self.forget("_get_event_cache", &[&event.event_id]);
        self.forget("_get_membership_from_event_id", &[&event.event_id]);
        self.forget("have_seen_event", &[room_id, &event.event_id]);
        self.forget("get_latest_event_ids_in_room", &[room_id]);
        self.forget("get_unread_event_push_actions_by_room_for_user", &[room_id]);
        if let Some(redacts) = &event.redacts {
            self.forget("_get_event_cache", &[redacts]);
            self.forget("get_relations_for_event", &[room_id, redacts]);
            for name in ["get_applicable_edit", "get_thread_id", "get_thread_id_for_receipts"] {
                self.forget(name, &[redacts]);
            }
        }
        if let Some(parent) = &event.relates_to {
            self.forget("get_relations_for_event", &[room_id, parent]);
            for name in
                ["get_references_for_event", "get_applicable_edit", "get_thread_summary", "get_thread_participated"]
            {
                self.forget(name, &[parent]);
            }
            self.forget("get_threads", &[room_id]);
        }
        if let ("m.room.member", Some(user_id)) = (&*event.kind, &event.state_key) {
            for name in [
                "get_invited_rooms_for_local_user",
                "get_rooms_for_user",
                "_get_rooms_for_local_user_where_membership_is_inner",
                "get_forgotten_rooms_for_user",
            ] {
                self.forget(name, &[user_id]);
            }
            self.forget("did_forget", &[user_id, room_id]);
        }
    }

    fn invalidate_for_account_data(&self, user_id: &str, room_id: Option<&str>, kind: &str) {
        self.forget("get_global_account_data_for_user", &[user_id]);
        self.forget("get_room_account_data_for_user", &[user_id]);
        match room_id {
            None => self.forget("get_global_account_data_by_type_for_user", &[user_id, kind]),
            Some(room_id) => {
                self.forget("get_account_data_for_room", &[user_id, room_id]);
                self.forget("get_account_data_for_room_and_type", &[user_id, room_id, kind]);
            }
        }
        if kind == "m.ignored_user_list" {
            // Synapse leaves these to the caches stream, which may come later.
            self.forget("ignored_users", &[user_id]);
            self.forget_all("ignored_by");
        }
        if kind == "m.tag" {
            self.forget("get_tags_for_user", &[user_id]);
            self.forget("get_tags_for_room", &[user_id]);
        }
    }
}
