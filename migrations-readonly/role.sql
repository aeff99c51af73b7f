-- Generated from tables.toml; do not edit.
-- Run as the owner of Synapse's database: psql -d synapse -v role=myelin -f role.sql
-- With `databases` split, run it in each: tables of the other database are skipped.
\if :{?role}
\else
\set role myelin
\endif
SELECT format('CREATE ROLE %I LOGIN', :'role')
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
GRANT USAGE ON SCHEMA public TO :"role";
SELECT format('GRANT SELECT (device_id, id, puppets_user_id, token, used, user_id, valid_until_ms) ON access_tokens TO %I', :'role') WHERE to_regclass('access_tokens') IS NOT NULL \gexec
SELECT format('GRANT UPDATE (used) ON access_tokens TO %I', :'role') WHERE to_regclass('access_tokens') IS NOT NULL \gexec
SELECT format('GRANT SELECT (account_data_type, content, stream_id, user_id) ON account_data TO %I', :'role') WHERE to_regclass('account_data') IS NOT NULL \gexec
SELECT format('GRANT SELECT (expiration_ts_ms, user_id) ON account_validity TO %I', :'role') WHERE to_regclass('account_validity') IS NOT NULL \gexec
SELECT format('GRANT SELECT (file, version) ON applied_schema_deltas TO %I', :'role') WHERE to_regclass('applied_schema_deltas') IS NOT NULL \gexec
SELECT format('GRANT SELECT (appservice_id, network_id, room_id) ON appservice_room_list TO %I', :'role') WHERE to_regclass('appservice_room_list') IS NOT NULL \gexec
SELECT format('GRANT SELECT (room_id) ON blocked_rooms TO %I', :'role') WHERE to_regclass('blocked_rooms') IS NOT NULL \gexec
SELECT format('GRANT SELECT (cache_func, instance_name, invalidation_ts, keys, stream_id) ON cache_invalidation_stream_by_instance TO %I', :'role') WHERE to_regclass('cache_invalidation_stream_by_instance') IS NOT NULL \gexec
SELECT format('GRANT INSERT (cache_func, instance_name, invalidation_ts, keys, stream_id) ON cache_invalidation_stream_by_instance TO %I', :'role') WHERE to_regclass('cache_invalidation_stream_by_instance') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, instance_name, prev_event_id, room_id, state_key, stream_id, type) ON current_state_delta_stream TO %I', :'role') WHERE to_regclass('current_state_delta_stream') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, event_stream_ordering, membership, room_id, state_key, type) ON current_state_events TO %I', :'role') WHERE to_regclass('current_state_events') IS NOT NULL \gexec
SELECT format('GRANT SELECT (content, delay, delay_id, event_type, is_processed, room_id, send_ts, state_key, user_localpart) ON delayed_events TO %I', :'role') WHERE to_regclass('delayed_events') IS NOT NULL \gexec
SELECT format('GRANT SELECT (stream_id) ON deleted_pushers TO %I', :'role') WHERE to_regclass('deleted_pushers') IS NOT NULL \gexec
SELECT format('GRANT SELECT (destination, failure_ts, retry_interval, retry_last_ts) ON destinations TO %I', :'role') WHERE to_regclass('destinations') IS NOT NULL \gexec
SELECT format('GRANT INSERT (destination, failure_ts, retry_interval, retry_last_ts) ON destinations TO %I', :'role') WHERE to_regclass('destinations') IS NOT NULL \gexec
SELECT format('GRANT UPDATE (failure_ts, retry_interval, retry_last_ts) ON destinations TO %I', :'role') WHERE to_regclass('destinations') IS NOT NULL \gexec
SELECT format('GRANT SELECT (stream_id) ON device_federation_outbox TO %I', :'role') WHERE to_regclass('device_federation_outbox') IS NOT NULL \gexec
SELECT format('GRANT SELECT (device_id, message_json, stream_id, user_id) ON device_inbox TO %I', :'role') WHERE to_regclass('device_inbox') IS NOT NULL \gexec
SELECT format('GRANT DELETE ON device_inbox TO %I', :'role') WHERE to_regclass('device_inbox') IS NOT NULL \gexec
SELECT format('GRANT SELECT (stream_id) ON device_lists_changes_converted_stream_position TO %I', :'role') WHERE to_regclass('device_lists_changes_converted_stream_position') IS NOT NULL \gexec
SELECT format('GRANT SELECT (instance_name, room_id, stream_id, user_id) ON device_lists_changes_in_room TO %I', :'role') WHERE to_regclass('device_lists_changes_in_room') IS NOT NULL \gexec
SELECT format('GRANT SELECT (stream_id) ON device_lists_changes_in_room_max_pruned_stream_id TO %I', :'role') WHERE to_regclass('device_lists_changes_in_room_max_pruned_stream_id') IS NOT NULL \gexec
SELECT format('GRANT SELECT (stream_id) ON device_lists_outbound_pokes TO %I', :'role') WHERE to_regclass('device_lists_outbound_pokes') IS NOT NULL \gexec
SELECT format('GRANT SELECT (content, device_id, user_id) ON device_lists_remote_cache TO %I', :'role') WHERE to_regclass('device_lists_remote_cache') IS NOT NULL \gexec
SELECT format('GRANT SELECT (stream_id, user_id) ON device_lists_remote_extremeties TO %I', :'role') WHERE to_regclass('device_lists_remote_extremeties') IS NOT NULL \gexec
SELECT format('GRANT SELECT (stream_id) ON device_lists_remote_pending TO %I', :'role') WHERE to_regclass('device_lists_remote_pending') IS NOT NULL \gexec
SELECT format('GRANT SELECT (user_id) ON device_lists_remote_resync TO %I', :'role') WHERE to_regclass('device_lists_remote_resync') IS NOT NULL \gexec
SELECT format('GRANT SELECT (instance_name, stream_id, user_id) ON device_lists_stream TO %I', :'role') WHERE to_regclass('device_lists_stream') IS NOT NULL \gexec
SELECT format('GRANT SELECT (device_id, display_name, hidden, ip, last_seen, user_id) ON devices TO %I', :'role') WHERE to_regclass('devices') IS NOT NULL \gexec
SELECT format('GRANT INSERT (device_id, display_name, hidden, user_id) ON devices TO %I', :'role') WHERE to_regclass('devices') IS NOT NULL \gexec
SELECT format('GRANT UPDATE (display_name) ON devices TO %I', :'role') WHERE to_regclass('devices') IS NOT NULL \gexec
SELECT format('GRANT SELECT (keydata, keytype, stream_id, updatable_without_uia_before_ms, user_id) ON e2e_cross_signing_keys TO %I', :'role') WHERE to_regclass('e2e_cross_signing_keys') IS NOT NULL \gexec
SELECT format('GRANT INSERT (instance_name, keydata, keytype, stream_id, user_id) ON e2e_cross_signing_keys TO %I', :'role') WHERE to_regclass('e2e_cross_signing_keys') IS NOT NULL \gexec
SELECT format('GRANT SELECT (key_id, signature, target_device_id, target_user_id, user_id) ON e2e_cross_signing_signatures TO %I', :'role') WHERE to_regclass('e2e_cross_signing_signatures') IS NOT NULL \gexec
SELECT format('GRANT INSERT (key_id, signature, target_device_id, target_user_id, user_id) ON e2e_cross_signing_signatures TO %I', :'role') WHERE to_regclass('e2e_cross_signing_signatures') IS NOT NULL \gexec
SELECT format('GRANT UPDATE (signature) ON e2e_cross_signing_signatures TO %I', :'role') WHERE to_regclass('e2e_cross_signing_signatures') IS NOT NULL \gexec
SELECT format('GRANT SELECT (device_id, key_json, ts_added_ms, user_id) ON e2e_device_keys_json TO %I', :'role') WHERE to_regclass('e2e_device_keys_json') IS NOT NULL \gexec
SELECT format('GRANT INSERT (device_id, key_json, ts_added_ms, user_id) ON e2e_device_keys_json TO %I', :'role') WHERE to_regclass('e2e_device_keys_json') IS NOT NULL \gexec
SELECT format('GRANT UPDATE (key_json, ts_added_ms) ON e2e_device_keys_json TO %I', :'role') WHERE to_regclass('e2e_device_keys_json') IS NOT NULL \gexec
SELECT format('GRANT SELECT (algorithm, device_id, key_id, key_json, used, user_id) ON e2e_fallback_keys_json TO %I', :'role') WHERE to_regclass('e2e_fallback_keys_json') IS NOT NULL \gexec
SELECT format('GRANT INSERT (algorithm, device_id, key_id, key_json, used, user_id) ON e2e_fallback_keys_json TO %I', :'role') WHERE to_regclass('e2e_fallback_keys_json') IS NOT NULL \gexec
SELECT format('GRANT UPDATE (key_id, key_json, used) ON e2e_fallback_keys_json TO %I', :'role') WHERE to_regclass('e2e_fallback_keys_json') IS NOT NULL \gexec
SELECT format('GRANT SELECT (algorithm, device_id, key_id, key_json, ts_added_ms, user_id) ON e2e_one_time_keys_json TO %I', :'role') WHERE to_regclass('e2e_one_time_keys_json') IS NOT NULL \gexec
SELECT format('GRANT INSERT (algorithm, device_id, key_id, key_json, ts_added_ms, user_id) ON e2e_one_time_keys_json TO %I', :'role') WHERE to_regclass('e2e_one_time_keys_json') IS NOT NULL \gexec
SELECT format('GRANT UPDATE (ts_added_ms) ON e2e_one_time_keys_json TO %I', :'role') WHERE to_regclass('e2e_one_time_keys_json') IS NOT NULL \gexec
SELECT format('GRANT DELETE ON e2e_one_time_keys_json TO %I', :'role') WHERE to_regclass('e2e_one_time_keys_json') IS NOT NULL \gexec
SELECT format('GRANT SELECT (first_message_index, forwarded_count, is_verified, room_id, session_data, session_id, user_id, version) ON e2e_room_keys TO %I', :'role') WHERE to_regclass('e2e_room_keys') IS NOT NULL \gexec
SELECT format('GRANT INSERT (first_message_index, forwarded_count, is_verified, room_id, session_data, session_id, user_id, version) ON e2e_room_keys TO %I', :'role') WHERE to_regclass('e2e_room_keys') IS NOT NULL \gexec
SELECT format('GRANT UPDATE (first_message_index, forwarded_count, is_verified, session_data) ON e2e_room_keys TO %I', :'role') WHERE to_regclass('e2e_room_keys') IS NOT NULL \gexec
SELECT format('GRANT DELETE ON e2e_room_keys TO %I', :'role') WHERE to_regclass('e2e_room_keys') IS NOT NULL \gexec
SELECT format('GRANT SELECT (algorithm, auth_data, deleted, etag, user_id, version) ON e2e_room_keys_versions TO %I', :'role') WHERE to_regclass('e2e_room_keys_versions') IS NOT NULL \gexec
SELECT format('GRANT INSERT (algorithm, auth_data, user_id, version) ON e2e_room_keys_versions TO %I', :'role') WHERE to_regclass('e2e_room_keys_versions') IS NOT NULL \gexec
SELECT format('GRANT UPDATE (auth_data, deleted, etag) ON e2e_room_keys_versions TO %I', :'role') WHERE to_regclass('e2e_room_keys_versions') IS NOT NULL \gexec
SELECT format('GRANT SELECT (user_id) ON erased_users TO %I', :'role') WHERE to_regclass('erased_users') IS NOT NULL \gexec
SELECT format('GRANT SELECT (auth_id, event_id) ON event_auth TO %I', :'role') WHERE to_regclass('event_auth') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, room_id) ON event_backward_extremities TO %I', :'role') WHERE to_regclass('event_backward_extremities') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, is_state, prev_event_id) ON event_edges TO %I', :'role') WHERE to_regclass('event_edges') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, last_attempt_ts, num_attempts, room_id) ON event_failed_pull_attempts TO %I', :'role') WHERE to_regclass('event_failed_pull_attempts') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, room_id) ON event_forward_extremities TO %I', :'role') WHERE to_regclass('event_forward_extremities') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, format_version, internal_metadata, json, room_id) ON event_json TO %I', :'role') WHERE to_regclass('event_json') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, label) ON event_labels TO %I', :'role') WHERE to_regclass('event_labels') IS NOT NULL \gexec
SELECT format('GRANT SELECT (actions, event_id, highlight, notif, profile_tag, room_id, stream_ordering, thread_id, topological_ordering, unread, user_id) ON event_push_actions TO %I', :'role') WHERE to_regclass('event_push_actions') IS NOT NULL \gexec
SELECT format('GRANT SELECT (last_receipt_stream_ordering, notif_count, room_id, stream_ordering, thread_id, unread_count, user_id) ON event_push_summary TO %I', :'role') WHERE to_regclass('event_push_summary') IS NOT NULL \gexec
SELECT format('GRANT SELECT (stream_ordering) ON event_push_summary_stream_ordering TO %I', :'role') WHERE to_regclass('event_push_summary_stream_ordering') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, relates_to_id, relation_type) ON event_relations TO %I', :'role') WHERE to_regclass('event_relations') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, key, origin_server_ts, room_id, stream_ordering, vector) ON event_search TO %I', :'role') WHERE to_regclass('event_search') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, state_group) ON event_to_state_groups TO %I', :'role') WHERE to_regclass('event_to_state_groups') IS NOT NULL \gexec
SELECT format('GRANT SELECT (contains_url, depth, event_id, instance_name, origin_server_ts, outlier, received_ts, room_id, sender, state_key, stream_ordering, topological_ordering, type) ON events TO %I', :'role') WHERE to_regclass('events') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, event_stream_ordering, instance_name) ON ex_outlier_stream TO %I', :'role') WHERE to_regclass('ex_outlier_stream') IS NOT NULL \gexec
SELECT format('GRANT SELECT (ignored_user_id, ignorer_user_id) ON ignored_users TO %I', :'role') WHERE to_regclass('ignored_users') IS NOT NULL \gexec
SELECT format('GRANT SELECT (instance_id, instance_name) ON instance_map TO %I', :'role') WHERE to_regclass('instance_map') IS NOT NULL \gexec
SELECT format('GRANT INSERT (instance_name) ON instance_map TO %I', :'role') WHERE to_regclass('instance_map') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, membership, room_id, user_id) ON local_current_membership TO %I', :'role') WHERE to_regclass('local_current_membership') IS NOT NULL \gexec
SELECT format('GRANT SELECT (timestamp, user_id) ON monthly_active_users TO %I', :'role') WHERE to_regclass('monthly_active_users') IS NOT NULL \gexec
SELECT format('GRANT SELECT (token, ts_valid_until_ms, user_id) ON open_id_tokens TO %I', :'role') WHERE to_regclass('open_id_tokens') IS NOT NULL \gexec
SELECT format('GRANT SELECT (room_id) ON partial_state_rooms TO %I', :'role') WHERE to_regclass('partial_state_rooms') IS NOT NULL \gexec
SELECT format('GRANT SELECT (enabled, feature, user_id) ON per_user_experimental_features TO %I', :'role') WHERE to_regclass('per_user_experimental_features') IS NOT NULL \gexec
SELECT format('GRANT SELECT (currently_active, last_active_ts, last_federation_update_ts, last_user_sync_ts, state, status_msg, stream_id, user_id) ON presence_stream TO %I', :'role') WHERE to_regclass('presence_stream') IS NOT NULL \gexec
SELECT format('GRANT SELECT (action, affected_fields, stream_id, user_id) ON profile_updates TO %I', :'role') WHERE to_regclass('profile_updates') IS NOT NULL \gexec
SELECT format('GRANT SELECT (stream_id, user_id) ON profile_updates_per_user TO %I', :'role') WHERE to_regclass('profile_updates_per_user') IS NOT NULL \gexec
SELECT format('GRANT SELECT (avatar_url, displayname, fields, full_user_id) ON profiles TO %I', :'role') WHERE to_regclass('profiles') IS NOT NULL \gexec
SELECT format('GRANT SELECT (actions, conditions, priority, priority_class, rule_id, user_name) ON push_rules TO %I', :'role') WHERE to_regclass('push_rules') IS NOT NULL \gexec
SELECT format('GRANT SELECT (enabled, rule_id, user_name) ON push_rules_enable TO %I', :'role') WHERE to_regclass('push_rules_enable') IS NOT NULL \gexec
SELECT format('GRANT SELECT (stream_id, user_id) ON push_rules_stream TO %I', :'role') WHERE to_regclass('push_rules_stream') IS NOT NULL \gexec
SELECT format('GRANT SELECT (id) ON pushers TO %I', :'role') WHERE to_regclass('pushers') IS NOT NULL \gexec
SELECT format('GRANT SELECT (stream_id) ON quarantined_media_changes TO %I', :'role') WHERE to_regclass('quarantined_media_changes') IS NOT NULL \gexec
SELECT format('GRANT SELECT (messages_per_second, user_id) ON ratelimit_override TO %I', :'role') WHERE to_regclass('ratelimit_override') IS NOT NULL \gexec
SELECT format('GRANT SELECT (data, event_id, event_stream_ordering, instance_name, receipt_type, room_id, stream_id, thread_id, user_id) ON receipts_linearized TO %I', :'role') WHERE to_regclass('receipts_linearized') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, recheck, redacts) ON redactions TO %I', :'role') WHERE to_regclass('redactions') IS NOT NULL \gexec
SELECT format('GRANT SELECT (completed, expiry_time, pending, token, uses_allowed) ON registration_tokens TO %I', :'role') WHERE to_regclass('registration_tokens') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, reason) ON rejections TO %I', :'role') WHERE to_regclass('rejections') IS NOT NULL \gexec
SELECT format('GRANT SELECT (account_data_type, content, room_id, stream_id, user_id) ON room_account_data TO %I', :'role') WHERE to_regclass('room_account_data') IS NOT NULL \gexec
SELECT format('GRANT SELECT (room_alias, server) ON room_alias_servers TO %I', :'role') WHERE to_regclass('room_alias_servers') IS NOT NULL \gexec
SELECT format('GRANT SELECT (room_alias, room_id) ON room_aliases TO %I', :'role') WHERE to_regclass('room_aliases') IS NOT NULL \gexec
SELECT format('GRANT SELECT (redact_end_ordering, redacting_event_id, room_id, user_id) ON room_ban_redactions TO %I', :'role') WHERE to_regclass('room_ban_redactions') IS NOT NULL \gexec
SELECT format('GRANT SELECT (avatar_url, display_name, event_id, forgotten, membership, room_id, user_id) ON room_memberships TO %I', :'role') WHERE to_regclass('room_memberships') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, max_lifetime, room_id) ON room_retention TO %I', :'role') WHERE to_regclass('room_retention') IS NOT NULL \gexec
SELECT format('GRANT SELECT (current_state_events, joined_members, local_users_in_room, room_id) ON room_stats_current TO %I', :'role') WHERE to_regclass('room_stats_current') IS NOT NULL \gexec
SELECT format('GRANT SELECT (avatar, canonical_alias, encryption, guest_access, history_visibility, is_federatable, join_rules, name, room_id, room_type, topic) ON room_stats_state TO %I', :'role') WHERE to_regclass('room_stats_state') IS NOT NULL \gexec
SELECT format('GRANT SELECT (content, room_id, tag, user_id) ON room_tags TO %I', :'role') WHERE to_regclass('room_tags') IS NOT NULL \gexec
SELECT format('GRANT SELECT (room_id, stream_id, user_id) ON room_tags_revisions TO %I', :'role') WHERE to_regclass('room_tags_revisions') IS NOT NULL \gexec
SELECT format('GRANT SELECT (creator, is_public, room_id, room_version) ON rooms TO %I', :'role') WHERE to_regclass('rooms') IS NOT NULL \gexec
SELECT format('GRANT SELECT (compat_version) ON schema_compat_version TO %I', :'role') WHERE to_regclass('schema_compat_version') IS NOT NULL \gexec
SELECT format('GRANT SELECT (version) ON schema_version TO %I', :'role') WHERE to_regclass('schema_version') IS NOT NULL \gexec
SELECT format('GRANT SELECT (from_server, key_id, key_json, server_name, ts_added_ms, ts_valid_until_ms) ON server_keys_json TO %I', :'role') WHERE to_regclass('server_keys_json') IS NOT NULL \gexec
SELECT format('GRANT INSERT (from_server, key_id, key_json, server_name, ts_added_ms, ts_valid_until_ms) ON server_keys_json TO %I', :'role') WHERE to_regclass('server_keys_json') IS NOT NULL \gexec
SELECT format('GRANT UPDATE (key_json, ts_added_ms, ts_valid_until_ms) ON server_keys_json TO %I', :'role') WHERE to_regclass('server_keys_json') IS NOT NULL \gexec
SELECT format('GRANT SELECT (from_server, key_id, server_name, ts_added_ms, ts_valid_until_ms, verify_key) ON server_signature_keys TO %I', :'role') WHERE to_regclass('server_signature_keys') IS NOT NULL \gexec
SELECT format('GRANT INSERT (from_server, key_id, server_name, ts_added_ms, ts_valid_until_ms, verify_key) ON server_signature_keys TO %I', :'role') WHERE to_regclass('server_signature_keys') IS NOT NULL \gexec
SELECT format('GRANT UPDATE (from_server, ts_added_ms, ts_valid_until_ms, verify_key) ON server_signature_keys TO %I', :'role') WHERE to_regclass('server_signature_keys') IS NOT NULL \gexec
SELECT format('GRANT SELECT (expiry_time_ms, session_id, session_type, value) ON sessions TO %I', :'role') WHERE to_regclass('sessions') IS NOT NULL \gexec
SELECT format('GRANT INSERT (expiry_time_ms, session_id, session_type, value) ON sessions TO %I', :'role') WHERE to_regclass('sessions') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, state_key) ON state_events TO %I', :'role') WHERE to_regclass('state_events') IS NOT NULL \gexec
SELECT format('GRANT SELECT (prev_state_group, state_group) ON state_group_edges TO %I', :'role') WHERE to_regclass('state_group_edges') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, state_group, state_key, type) ON state_groups_state TO %I', :'role') WHERE to_regclass('state_groups_state') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, expires_at, instance_name, room_id, stream_id) ON sticky_events TO %I', :'role') WHERE to_regclass('sticky_events') IS NOT NULL \gexec
SELECT format('GRANT SELECT (instance_name, stream_id, stream_name) ON stream_positions TO %I', :'role') WHERE to_regclass('stream_positions') IS NOT NULL \gexec
SELECT format('GRANT SELECT (automatic, event_id, room_id, stream_id, subscribed, user_id) ON thread_subscriptions TO %I', :'role') WHERE to_regclass('thread_subscriptions') IS NOT NULL \gexec
SELECT format('GRANT SELECT (room_id, stream_ordering, thread_id, topological_ordering) ON threads TO %I', :'role') WHERE to_regclass('threads') IS NOT NULL \gexec
SELECT format('GRANT SELECT (instance_name, room_id, stream_ordering) ON timeline_gaps TO %I', :'role') WHERE to_regclass('timeline_gaps') IS NOT NULL \gexec
SELECT format('GRANT SELECT (event_id, instance_name, rejection_status_changed, stream_id) ON un_partial_stated_event_stream TO %I', :'role') WHERE to_regclass('un_partial_stated_event_stream') IS NOT NULL \gexec
SELECT format('GRANT SELECT (instance_name, room_id, stream_id) ON un_partial_stated_room_stream TO %I', :'role') WHERE to_regclass('un_partial_stated_room_stream') IS NOT NULL \gexec
SELECT format('GRANT SELECT (avatar_url, display_name, user_id) ON user_directory TO %I', :'role') WHERE to_regclass('user_directory') IS NOT NULL \gexec
SELECT format('GRANT SELECT (user_id, vector) ON user_directory_search TO %I', :'role') WHERE to_regclass('user_directory_search') IS NOT NULL \gexec
SELECT format('GRANT SELECT (auth_provider, external_id, user_id) ON user_external_ids TO %I', :'role') WHERE to_regclass('user_external_ids') IS NOT NULL \gexec
SELECT format('GRANT SELECT (filter_id, filter_json, full_user_id) ON user_filters TO %I', :'role') WHERE to_regclass('user_filters') IS NOT NULL \gexec
SELECT format('GRANT INSERT (filter_id, filter_json, full_user_id, user_id) ON user_filters TO %I', :'role') WHERE to_regclass('user_filters') IS NOT NULL \gexec
SELECT format('GRANT SELECT (last_seen, user_id) ON user_ips TO %I', :'role') WHERE to_regclass('user_ips') IS NOT NULL \gexec
SELECT format('GRANT SELECT (from_user_id, instance_name, stream_id, user_ids) ON user_signature_stream TO %I', :'role') WHERE to_regclass('user_signature_stream') IS NOT NULL \gexec
SELECT format('GRANT SELECT (added_at, address, medium, user_id, validated_at) ON user_threepids TO %I', :'role') WHERE to_regclass('user_threepids') IS NOT NULL \gexec
SELECT format('GRANT SELECT (admin, appservice_id, approved, consent_server_notice_sent, consent_ts, consent_version, creation_ts, deactivated, is_guest, locked, name, shadow_banned, suspended, user_type) ON users TO %I', :'role') WHERE to_regclass('users') IS NOT NULL \gexec
SELECT format('GRANT SELECT (user_id) ON users_in_public_rooms TO %I', :'role') WHERE to_regclass('users_in_public_rooms') IS NOT NULL \gexec
SELECT format('GRANT SELECT (presence_stream_id, user_id) ON users_to_send_full_presence_to TO %I', :'role') WHERE to_regclass('users_to_send_full_presence_to') IS NOT NULL \gexec
SELECT format('GRANT SELECT (other_user_id, user_id) ON users_who_share_private_rooms TO %I', :'role') WHERE to_regclass('users_who_share_private_rooms') IS NOT NULL \gexec
SELECT format('GRANT SELECT (instance_name, last_renewed_ts, lock_key, lock_name, token) ON worker_locks TO %I', :'role') WHERE to_regclass('worker_locks') IS NOT NULL \gexec
SELECT format('GRANT INSERT (instance_name, last_renewed_ts, lock_key, lock_name, token) ON worker_locks TO %I', :'role') WHERE to_regclass('worker_locks') IS NOT NULL \gexec
SELECT format('GRANT UPDATE (instance_name, last_renewed_ts, token) ON worker_locks TO %I', :'role') WHERE to_regclass('worker_locks') IS NOT NULL \gexec
SELECT format('GRANT DELETE ON worker_locks TO %I', :'role') WHERE to_regclass('worker_locks') IS NOT NULL \gexec
SELECT format('GRANT SELECT (lock_key, lock_name, write_lock) ON worker_read_write_locks TO %I', :'role') WHERE to_regclass('worker_read_write_locks') IS NOT NULL \gexec
SELECT format('GRANT SELECT ON SEQUENCE account_data_sequence TO %I', :'role') WHERE to_regclass('account_data_sequence') IS NOT NULL \gexec
SELECT format('GRANT SELECT, USAGE ON SEQUENCE cache_invalidation_stream_seq TO %I', :'role') WHERE to_regclass('cache_invalidation_stream_seq') IS NOT NULL \gexec
SELECT format('GRANT SELECT ON SEQUENCE device_inbox_sequence TO %I', :'role') WHERE to_regclass('device_inbox_sequence') IS NOT NULL \gexec
SELECT format('GRANT SELECT ON SEQUENCE device_lists_sequence TO %I', :'role') WHERE to_regclass('device_lists_sequence') IS NOT NULL \gexec
SELECT format('GRANT USAGE ON SEQUENCE e2e_cross_signing_keys_sequence TO %I', :'role') WHERE to_regclass('e2e_cross_signing_keys_sequence') IS NOT NULL \gexec
SELECT format('GRANT SELECT ON SEQUENCE events_backfill_stream_seq TO %I', :'role') WHERE to_regclass('events_backfill_stream_seq') IS NOT NULL \gexec
SELECT format('GRANT SELECT ON SEQUENCE events_stream_seq TO %I', :'role') WHERE to_regclass('events_stream_seq') IS NOT NULL \gexec
SELECT format('GRANT USAGE ON SEQUENCE instance_map_instance_id_seq TO %I', :'role') WHERE to_regclass('instance_map_instance_id_seq') IS NOT NULL \gexec
SELECT format('GRANT SELECT ON SEQUENCE presence_stream_sequence TO %I', :'role') WHERE to_regclass('presence_stream_sequence') IS NOT NULL \gexec
SELECT format('GRANT SELECT ON SEQUENCE profile_updates_sequence TO %I', :'role') WHERE to_regclass('profile_updates_sequence') IS NOT NULL \gexec
SELECT format('GRANT SELECT ON SEQUENCE push_rules_stream_sequence TO %I', :'role') WHERE to_regclass('push_rules_stream_sequence') IS NOT NULL \gexec
SELECT format('GRANT SELECT ON SEQUENCE pushers_sequence TO %I', :'role') WHERE to_regclass('pushers_sequence') IS NOT NULL \gexec
SELECT format('GRANT SELECT ON SEQUENCE quarantined_media_id_seq TO %I', :'role') WHERE to_regclass('quarantined_media_id_seq') IS NOT NULL \gexec
SELECT format('GRANT SELECT ON SEQUENCE receipts_sequence TO %I', :'role') WHERE to_regclass('receipts_sequence') IS NOT NULL \gexec
SELECT format('GRANT SELECT ON SEQUENCE sticky_events_sequence TO %I', :'role') WHERE to_regclass('sticky_events_sequence') IS NOT NULL \gexec
SELECT format('GRANT SELECT ON SEQUENCE thread_subscriptions_sequence TO %I', :'role') WHERE to_regclass('thread_subscriptions_sequence') IS NOT NULL \gexec
SELECT format('GRANT SELECT ON SEQUENCE un_partial_stated_event_stream_sequence TO %I', :'role') WHERE to_regclass('un_partial_stated_event_stream_sequence') IS NOT NULL \gexec
SELECT format('GRANT SELECT ON SEQUENCE un_partial_stated_room_stream_sequence TO %I', :'role') WHERE to_regclass('un_partial_stated_room_stream_sequence') IS NOT NULL \gexec
