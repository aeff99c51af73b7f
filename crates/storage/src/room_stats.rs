//! What rooms look like from outside. Answers to `get_room_with_stats`, `get_largest_public_rooms` and
//! `count_public_rooms` in `synapse/storage/databases/main/room.py`, and to `sessions.py`.

use std::sync::Arc;

use hashbrown::HashMap;
use myelin_model::state_filter::StateMap;
use sqlx::Postgres;
use sqlx::postgres::PgArguments;

use crate::{Storage, StorageError};

type Row = (
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i32>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
);
type Query<'a, T> = sqlx::query::QueryAs<'a, Postgres, T, PgArguments>;

/// `RoomStats`: as the statistics know the room, a moment late.
#[derive(Clone, Debug)]
pub struct RoomStats {
    pub room_id: String,
    pub room_version: Option<String>,
    pub name: Option<String>,
    pub topic: Option<String>,
    pub canonical_alias: Option<String>,
    pub joined_members: Option<i32>,
    pub avatar: Option<String>,
    pub join_rules: Option<String>,
    pub history_visibility: Option<String>,
    pub guest_access: Option<String>,
    pub room_type: Option<String>,
    pub encryption: Option<String>,
}

impl From<Row> for RoomStats {
    fn from(row: Row) -> Self {
        let (room_id, room_version, name, topic, canonical_alias, joined_members, avatar, ..) = row;
        let (_, _, _, _, _, _, _, join_rules, history_visibility, guest_access, room_type, encryption) = row;
        Self {
            room_id,
            room_version,
            name,
            topic,
            canonical_alias,
            joined_members,
            avatar,
            join_rules,
            history_visibility,
            guest_access,
            room_type,
            encryption,
        }
    }
}

/// Which list of rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// The server's own.
    Main,
    All,
    /// (application service, network)
    Of(String, String),
}

/// Rooms of a list that match a filter.
#[derive(Clone, Copy, Debug)]
pub struct PublicRooms<'a> {
    pub network: &'a Network,
    /// A pattern of LIKE, in lower case.
    pub pattern: Option<&'a str>,
    /// No list is no filter; `None` stands for rooms without a type.
    pub room_types: Option<&'a [Option<String>]>,
}

impl<'a> PublicRooms<'a> {
    /// The first six parameters of the statements below.
    fn bind<T>(&self, query: Query<'a, T>) -> Query<'a, T> {
        let (kind, service, network) = match self.network {
            Network::Main => ("main", None, None),
            Network::All => ("all", None, None),
            Network::Of(service, network) => ("network", Some(service.as_str()), Some(network.as_str())),
        };
        let types: Option<Vec<&str>> = self.room_types.map(|types| types.iter().flatten().map(|t| &**t).collect());
        let untyped = self.room_types.is_some_and(|types| types.contains(&None));
        query.bind(kind).bind(service).bind(network).bind(self.pattern).bind(types).bind(untyped)
    }
}

/// A page of `get_largest_public_rooms`.
#[derive(Clone, Copy, Debug)]
pub struct PublicRoomsPage<'a> {
    pub list: PublicRooms<'a>,
    /// (joined members, room id)
    pub bounds: Option<(i64, &'a str)>,
    pub forwards: bool,
    pub limit: i64,
    /// No rooms that other servers may not join.
    pub federatable_only: bool,
}

impl Storage {
    /// `get_room_with_stats`, of many rooms.
    pub async fn get_rooms_with_stats(
        &self,
        room_ids: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, RoomStats>, StorageError> {
        let room_ids: Vec<&str> = room_ids.iter().map(|id| &**id).collect();
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT room_id, r.room_version, s.name, s.topic, s.canonical_alias, c.joined_members, s.avatar,
                 s.join_rules, s.history_visibility, s.guest_access, s.room_type, s.encryption
             FROM rooms AS r LEFT JOIN room_stats_state AS s USING (room_id)
             LEFT JOIN room_stats_current AS c USING (room_id)
             WHERE room_id = ANY($1)",
        )
        .bind(room_ids)
        .fetch_all(self.pool())
        .await?;
        let stats = rows.into_iter().map(RoomStats::from);
        Ok(stats.map(|stats| (Arc::from(stats.room_id.as_str()), stats)).collect())
    }

    /// Of the current state of many rooms: `keys`, and all of the type `kind`.
    pub async fn get_current_state_ids_of_rooms(
        &self,
        room_ids: &[Arc<str>],
        keys: &[(&str, &str)],
        kind: &str,
    ) -> Result<HashMap<Arc<str>, StateMap>, StorageError> {
        let room_ids: Vec<&str> = room_ids.iter().map(|id| &**id).collect();
        let (kinds, state_keys): (Vec<&str>, Vec<&str>) = keys.iter().copied().unzip();
        let rows: Vec<(String, String, String, String)> = sqlx::query_as(
            "SELECT c.room_id, c.type, c.state_key, c.event_id FROM current_state_events AS c
             JOIN unnest($2::text[], $3::text[]) AS w(type, state_key) USING (type, state_key)
             WHERE c.room_id = ANY($1)
             UNION ALL
             SELECT room_id, type, state_key, event_id FROM current_state_events
             WHERE room_id = ANY($1) AND type = $4",
        )
        .bind(room_ids)
        .bind(kinds)
        .bind(state_keys)
        .bind(kind)
        .fetch_all(self.pool())
        .await?;
        let mut rooms: HashMap<Arc<str>, StateMap> = HashMap::new();
        for (room_id, kind, state_key, event_id) in rows {
            rooms.entry(room_id.into()).or_default().insert((kind.into(), state_key.into()), event_id.into());
        }
        Ok(rooms)
    }

    /// `get_largest_public_rooms`: the largest first, whatever the direction.
    pub async fn get_largest_public_rooms(&self, page: &PublicRoomsPage<'_>) -> Result<Vec<RoomStats>, StorageError> {
        let (members, room_id) = page.bounds.unzip();
        let rows = sqlx::query_as(
            "SELECT room_id, NULL::text AS room_version, s.name, s.topic, s.canonical_alias, c.joined_members,
                 s.avatar, s.join_rules, s.history_visibility, s.guest_access, s.room_type, s.encryption
             FROM (
                 SELECT room_id FROM rooms WHERE is_public AND $1::text <> 'network'
                 UNION SELECT room_id FROM appservice_room_list
                     WHERE $1 = 'all' OR ($1 = 'network' AND appservice_id = $2 AND network_id = $3)
             ) AS published
             JOIN room_stats_state AS s USING (room_id)
             JOIN room_stats_current AS c USING (room_id)
             WHERE (s.join_rules IN ('public', 'knock', 'knock_restricted')
                     OR s.history_visibility = 'world_readable')
                 AND c.joined_members > 0
                 AND ($4::text IS NULL OR LOWER(s.name) LIKE $4 OR LOWER(s.topic) LIKE $4
                     OR LOWER(s.canonical_alias) LIKE $4)
                 AND ($5::text[] IS NULL OR s.room_type = ANY($5) OR (s.room_type IS NULL AND $6::boolean))
                 AND ($7::bigint IS NULL OR CASE WHEN $9::boolean
                     THEN (c.joined_members, room_id) < ($7, $8::text)
                     ELSE (c.joined_members, room_id) > ($7, $8) END)
                 AND (NOT $11::boolean OR s.is_federatable)
             ORDER BY CASE WHEN $9 THEN c.joined_members END DESC, CASE WHEN $9 THEN room_id END DESC,
                 c.joined_members, room_id
             LIMIT $10",
        );
        let rows: Vec<Row> = page
            .list
            .bind(rows)
            .bind(members)
            .bind(room_id)
            .bind(page.forwards)
            .bind(page.limit)
            .bind(page.federatable_only)
            .fetch_all(self.pool())
            .await?;
        let mut rooms: Vec<RoomStats> = rows.into_iter().map(RoomStats::from).collect();
        if !page.forwards {
            rooms.reverse();
        }
        Ok(rooms)
    }

    /// `count_public_rooms`: on all pages.
    pub async fn count_public_rooms(&self, list: &PublicRooms<'_>) -> Result<i64, StorageError> {
        let row = sqlx::query_as(
            "SELECT count(*) FROM (
                 SELECT room_id FROM rooms WHERE is_public AND $1::text <> 'network'
                 UNION SELECT room_id FROM appservice_room_list
                     WHERE $1 = 'all' OR ($1 = 'network' AND appservice_id = $2 AND network_id = $3)
             ) AS published
             JOIN room_stats_state AS s USING (room_id)
             JOIN room_stats_current AS c USING (room_id)
             WHERE (s.join_rules IN ('public', 'knock', 'knock_restricted')
                     OR s.history_visibility = 'world_readable')
                 AND c.joined_members > 0
                 AND ($4::text IS NULL OR LOWER(s.name) LIKE $4 OR LOWER(s.topic) LIKE $4
                     OR LOWER(s.canonical_alias) LIKE $4)
                 AND ($5::text[] IS NULL OR s.room_type = ANY($5) OR (s.room_type IS NULL AND $6::boolean))",
        );
        let (count,): (i64,) = list.bind(row).fetch_one(self.pool()).await?;
        Ok(count)
    }

    /// `get_session`, of the pages of a hierarchy, as JSON text.
    pub async fn get_hierarchy_session(&self, session_id: &str, now_ms: i64) -> Result<Option<String>, StorageError> {
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT value FROM sessions
             WHERE session_type = 'room_hierarchy_pagination' AND session_id = $1 AND expiry_time_ms > $2",
        )
        .bind(session_id)
        .bind(now_ms)
        .fetch_optional(self.pool())
        .await?;
        Ok(row.map(|(value,)| value))
    }

    /// `create_session`, the same.
    pub async fn create_hierarchy_session(
        &self,
        session_id: &str,
        value: &str,
        expiry_time_ms: i64,
    ) -> Result<(), StorageError> {
        sqlx::query(
            "INSERT INTO sessions (session_type, session_id, value, expiry_time_ms)
             VALUES ('room_hierarchy_pagination', $1, $2, $3)",
        )
        .bind(session_id)
        .bind(value)
        .bind(expiry_time_ms)
        .execute(self.pool())
        .await?;
        Ok(())
    }
}
