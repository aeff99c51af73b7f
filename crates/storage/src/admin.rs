//! What administrators are told of an account or a room, each as one JSON text from one statement. Answers to
//! `get_user` in `synapse/handlers/admin.py` and to `get_room_with_stats`, `count_devices_by_users` and
//! `is_locally_forgotten_room` in the stores.

use crate::{Storage, StorageError};

impl Storage {
    /// `AdminHandler.get_user`: a JSON object; nothing if there is no such account. `approved`: it is shown (MSC3866).
    pub async fn get_user_for_admin(&self, user_id: &str, approved: bool) -> Result<Option<String>, StorageError> {
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT (jsonb_build_object(
                 'name', u.name, 'admin', u.admin <> 0, 'deactivated', u.deactivated <> 0,
                 'locked', COALESCE(u.locked, FALSE), 'shadow_banned', COALESCE(u.shadow_banned, FALSE),
                 'creation_ts', u.creation_ts, 'appservice_id', u.appservice_id,
                 'consent_server_notice_sent', u.consent_server_notice_sent, 'consent_version', u.consent_version,
                 'consent_ts', u.consent_ts, 'user_type', u.user_type, 'is_guest', u.is_guest <> 0,
                 'suspended', COALESCE(u.suspended, FALSE), 'displayname', p.displayname, 'avatar_url', p.avatar_url,
                 'threepids', COALESCE((SELECT jsonb_agg(jsonb_build_object('medium', t.medium, 'address', t.address,
                     'validated_at', t.validated_at, 'added_at', t.added_at))
                     FROM user_threepids AS t WHERE t.user_id = u.name), '[]'),
                 'external_ids', COALESCE((SELECT jsonb_agg(jsonb_build_object('auth_provider', e.auth_provider,
                     'external_id', e.external_id)) FROM user_external_ids AS e WHERE e.user_id = u.name), '[]'),
                 'erased', EXISTS (SELECT FROM erased_users AS x WHERE x.user_id = u.name),
                 'last_seen_ts', (SELECT max(i.last_seen) FROM user_ips AS i WHERE i.user_id = u.name))
                 || CASE WHEN $2::boolean THEN jsonb_build_object('approved', COALESCE(u.approved, TRUE))
                     ELSE '{}' END)::text
             FROM users AS u LEFT JOIN profiles AS p ON p.full_user_id = u.name WHERE u.name = $1",
        )
        .bind(user_id)
        .bind(approved)
        .fetch_optional(self.pool())
        .await?;
        Ok(row.map(|(json,)| json))
    }

    /// `RoomRestServlet`: a JSON object without what depends on the room's tombstone; nothing for an unknown room.
    pub async fn get_room_for_admin(&self, room_id: &str) -> Result<Option<String>, StorageError> {
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT jsonb_build_object(
                 'room_id', r.room_id, 'name', s.name, 'canonical_alias', s.canonical_alias,
                 'joined_members', c.joined_members, 'joined_local_members', c.local_users_in_room,
                 'version', r.room_version, 'creator', r.creator, 'encryption', s.encryption,
                 'federatable', COALESCE(s.is_federatable, FALSE), 'public', COALESCE(r.is_public, FALSE),
                 'join_rules', s.join_rules, 'guest_access', s.guest_access,
                 'history_visibility', s.history_visibility, 'state_events', c.current_state_events,
                 'avatar', s.avatar, 'topic', s.topic, 'room_type', s.room_type,
                 'joined_local_devices', (SELECT count(*) FROM current_state_events AS m
                     JOIN devices AS d ON d.user_id = m.state_key AND d.hidden = FALSE
                     WHERE m.room_id = r.room_id AND m.type = 'm.room.member' AND m.membership = 'join'),
                 'forgotten', NOT EXISTS (SELECT FROM local_current_membership AS l
                     JOIN room_memberships AS m USING (room_id, event_id)
                     WHERE l.room_id = r.room_id AND m.forgotten = 0))::text
             FROM rooms AS r LEFT JOIN room_stats_state AS s USING (room_id)
             LEFT JOIN room_stats_current AS c USING (room_id) WHERE r.room_id = $1",
        )
        .bind(room_id)
        .fetch_optional(self.pool())
        .await?;
        Ok(row.map(|(json,)| json))
    }
}
