//! Who is in which room. Answers to `synapse/storage/databases/main/roommember.py`.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use myelin_model::position::EventPosition;
use serde::Serialize;

use crate::stream::instance_or_master;
use crate::{Storage, StorageError};

/// Five heroes, and one in case one of them is asking.
const SUMMARY_MEMBERS: i64 = 6;

/// A local user's membership in a room.
#[derive(Clone, Debug)]
pub struct RoomsForUser {
    pub room_id: Arc<str>,
    pub sender: Arc<str>,
    pub membership: Arc<str>,
    pub event_id: Arc<str>,
    pub event_pos: EventPosition,
    pub room_version: Option<Arc<str>>,
}

/// A row of `get_users_in_room_with_profiles`.
#[derive(Serialize)]
struct ProfileInfo<'a> {
    avatar_url: Option<&'a str>,
    display_name: Option<&'a str>,
}

pub type IdSet = Arc<HashSet<Arc<str>>>;

/// `get_room_summary`.
#[derive(Clone, Debug, Default)]
pub struct RoomSummary {
    /// Members of each membership.
    pub counts: BTreeMap<String, i64>,
    /// The first members: joined, then invited, then left, then the rest, each by age.
    pub first_members: Vec<SummaryMember>,
}

#[derive(Clone, Debug)]
pub struct SummaryMember {
    pub user_id: Arc<str>,
    pub membership: Arc<str>,
    pub event_id: Arc<str>,
}

impl RoomSummary {
    pub fn count(&self, membership: &str) -> i64 {
        self.counts.get(membership).copied().unwrap_or_default()
    }
}

impl Storage {
    /// `get_rooms_for_local_user_where_membership_is`; forgotten rooms are left out.
    pub async fn get_rooms_for_local_user_where_membership_is(
        &self,
        user_id: &str,
        memberships: &[&str],
    ) -> Result<Vec<RoomsForUser>, StorageError> {
        let rooms = self.memberships_of(user_id).await?;
        let can_be_forgotten = memberships.iter().any(|membership| !matches!(*membership, "join" | "invite"));
        let forgotten =
            if can_be_forgotten { self.get_forgotten_rooms_for_user(user_id).await? } else { Arc::default() };
        let wanted =
            |room: &&RoomsForUser| memberships.contains(&&*room.membership) && !forgotten.contains(&room.room_id);
        Ok(rooms.iter().filter(wanted).cloned().collect())
    }

    async fn memberships_of(&self, user_id: &str) -> Result<Arc<Vec<RoomsForUser>>, StorageError> {
        type Row = (String, String, String, String, Option<String>, i64, Option<String>);
        let load = || async {
            let rows: Vec<Row> = sqlx::query_as(
                "SELECT c.room_id, e.sender, c.membership, c.event_id, e.instance_name, e.stream_ordering,
                     r.room_version
                 FROM local_current_membership AS c
                 JOIN events AS e ON e.event_id = c.event_id AND e.room_id = c.room_id
                 JOIN rooms AS r ON r.room_id = c.room_id
                 WHERE c.user_id = $1",
            )
            .bind(user_id)
            .fetch_all(self.pool())
            .await?;
            let texts = self.texts();
            let room = |(room_id, sender, membership, event_id, instance, stream, version): Row| RoomsForUser {
                room_id: texts.share(&room_id),
                sender: texts.share(&sender),
                membership: texts.share(&membership),
                event_id: texts.share(&event_id),
                event_pos: EventPosition { instance: texts.share(&instance_or_master(instance)), stream },
                room_version: version.map(|version| texts.share(&version)),
            };
            Ok(Arc::new(rows.into_iter().map(room).collect()))
        };
        self.caches().memberships_of.get_or_load(Arc::from(user_id), load).await
    }

    /// `get_local_current_membership_for_user_in_room`: (membership, event id). That a user is joined may be
    /// remembered; anything else is read anew: a client that just joined through another worker must not be told
    /// that it is not in the room.
    pub async fn get_local_current_membership_for_user_in_room(
        &self,
        user_id: &str,
        room_id: &str,
    ) -> Result<Option<(String, Arc<str>)>, StorageError> {
        let rooms = self.memberships_of(user_id).await?;
        let joined = rooms.iter().find(|room| &*room.room_id == room_id && &*room.membership == "join");
        if let Some(room) = joined {
            return Ok(Some(("join".to_owned(), Arc::clone(&room.event_id))));
        }
        let row: Option<(String, String)> = sqlx::query_as(
            "SELECT membership, event_id FROM local_current_membership WHERE room_id = $1 AND user_id = $2",
        )
        .bind(room_id)
        .bind(user_id)
        .fetch_optional(self.pool())
        .await?;
        Ok(row.map(|(membership, event_id)| (membership, Arc::from(event_id))))
    }

    /// `get_rooms_for_user`: where the user, local or remote, is joined.
    pub async fn get_rooms_for_user(&self, user_id: &str) -> Result<IdSet, StorageError> {
        let rooms = self.caches().rooms_of.get(user_id, self, Self::load_rooms_of).await?;
        Ok(rooms.unwrap_or_default())
    }

    /// `get_rooms_for_users`.
    pub async fn get_rooms_for_users(&self, user_ids: Vec<Arc<str>>) -> Result<HashMap<Arc<str>, IdSet>, StorageError> {
        self.caches().rooms_of.get_many(user_ids, self, Self::load_rooms_of).await
    }

    async fn load_rooms_of(self, user_ids: Vec<Arc<str>>) -> Result<HashMap<Arc<str>, IdSet>, StorageError> {
        let statement = "SELECT state_key, room_id FROM current_state_events
             WHERE type = 'm.room.member' AND membership = 'join' AND state_key = ANY($1)";
        self.ids_by_id(statement, user_ids).await
    }

    /// `get_users_in_room`: the joined ones.
    pub async fn get_users_in_room(&self, room_id: &str) -> Result<IdSet, StorageError> {
        let users = self.caches().joined_users.get(room_id, self, Self::load_users_in).await?;
        Ok(users.unwrap_or_default())
    }

    /// `get_users_in_room`, of many rooms at once.
    pub async fn get_users_in_rooms(&self, room_ids: Vec<Arc<str>>) -> Result<HashMap<Arc<str>, IdSet>, StorageError> {
        self.caches().joined_users.get_many(room_ids, self, Self::load_users_in).await
    }

    async fn load_users_in(self, room_ids: Vec<Arc<str>>) -> Result<HashMap<Arc<str>, IdSet>, StorageError> {
        let statement = "SELECT room_id, state_key FROM current_state_events
             WHERE type = 'm.room.member' AND membership = 'join' AND room_id = ANY($1)";
        self.ids_by_id(statement, room_ids).await
    }

    /// `get_forgotten_rooms_for_user`.
    pub async fn get_forgotten_rooms_for_user(&self, user_id: &str) -> Result<Arc<HashSet<Arc<str>>>, StorageError> {
        // A room forgotten once counts no more when a later membership was not forgotten.
        let load = || {
            self.ids(
                "SELECT room_id FROM room_memberships WHERE user_id = $1 GROUP BY room_id HAVING min(forgotten) = 1",
                user_id,
            )
        };
        self.caches().forgotten_by.get_or_load(Arc::from(user_id), load).await
    }

    /// `did_forget`.
    pub async fn did_forget(&self, user_id: &str, room_id: &str) -> Result<bool, StorageError> {
        let row: Option<(i32,)> = sqlx::query_as(
            "SELECT 1 FROM room_memberships WHERE user_id = $1 AND room_id = $2 AND forgotten = 0 LIMIT 1",
        )
        .bind(user_id)
        .bind(room_id)
        .fetch_optional(self.pool())
        .await?;
        Ok(row.is_none())
    }

    /// `ignored_users`: whom the user ignores.
    pub async fn ignored_users(&self, user_id: &str) -> Result<Arc<HashSet<Arc<str>>>, StorageError> {
        let load = || self.ids("SELECT ignored_user_id FROM ignored_users WHERE ignorer_user_id = $1", user_id);
        self.caches().ignored_by.get_or_load(Arc::from(user_id), load).await
    }

    /// `are_users_erased`: those of `user_ids` who asked for erasure.
    pub async fn are_users_erased(
        &self,
        user_ids: impl IntoIterator<Item = Arc<str>>,
    ) -> Result<HashSet<Arc<str>>, StorageError> {
        let user_ids: HashSet<Arc<str>> = user_ids.into_iter().collect();
        let load = |storage: Self, users: Vec<Arc<str>>| async move {
            let ids: Vec<&str> = users.iter().map(|id| &**id).collect();
            let rows: Vec<(String,)> = sqlx::query_as("SELECT user_id FROM erased_users WHERE user_id = ANY($1)")
                .bind(ids)
                .fetch_all(storage.pool())
                .await?;
            let erased: HashSet<String> = rows.into_iter().map(|(id,)| id).collect();
            Ok::<_, StorageError>(users.into_iter().map(|id| (Arc::clone(&id), erased.contains(&*id))).collect())
        };
        let erased = self.caches().erased.get_many(user_ids, self, load).await?;
        Ok(erased.into_iter().filter(|(_, erased)| *erased).map(|(id, _)| id).collect())
    }

    /// `is_host_joined`: which of `room_ids` somebody of a server is in.
    pub async fn is_host_joined(
        &self,
        room_ids: impl IntoIterator<Item = Arc<str>>,
        host: &str,
    ) -> Result<HashMap<Arc<str>, bool>, StorageError> {
        let load = |storage: Self, keys: Vec<(Arc<str>, Arc<str>)>| async move {
            let (room_ids, hosts): (Vec<&str>, Vec<&str>) =
                keys.iter().map(|(room_id, host)| (&**room_id, &**host)).unzip();
            // No LIKE: a server's name may hold what would stand for other names.
            let rows: Vec<(String, String)> = sqlx::query_as(
                "SELECT w.room_id, w.host FROM unnest($1::text[], $2::text[]) AS w(room_id, host) WHERE EXISTS (
                     SELECT FROM current_state_events AS c WHERE c.room_id = w.room_id AND c.type = 'm.room.member'
                         AND c.membership = 'join' AND substr(c.state_key, strpos(c.state_key, ':') + 1) = w.host)",
            )
            .bind(room_ids)
            .bind(hosts)
            .fetch_all(storage.pool())
            .await?;
            let joined: HashSet<(String, String)> = rows.into_iter().collect();
            let is_joined = |key: &(Arc<str>, Arc<str>)| joined.contains(&(key.0.to_string(), key.1.to_string()));
            let of = |key: (Arc<str>, Arc<str>)| {
                let is_joined = is_joined(&key);
                (key, is_joined)
            };
            Ok::<_, StorageError>(keys.into_iter().map(of).collect())
        };
        let host: Arc<str> = Arc::from(host);
        let keys: Vec<_> = room_ids.into_iter().map(|room_id| (room_id, Arc::clone(&host))).collect();
        let found = self.caches().hosts_joined.get_many(keys, self, load).await?;
        Ok(found.into_iter().map(|((room_id, _), is_joined)| (room_id, is_joined)).collect())
    }

    /// `is_host_invited`: the rooms, of `room_ids`, that somebody of a server is invited to.
    pub async fn get_rooms_with_invited_host(
        &self,
        room_ids: &[Arc<str>],
        host: &str,
    ) -> Result<HashSet<String>, StorageError> {
        let room_ids: Vec<&str> = room_ids.iter().map(|id| &**id).collect();
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT w.room_id FROM unnest($1::text[]) AS w(room_id) WHERE EXISTS (
                 SELECT FROM current_state_events AS c WHERE c.room_id = w.room_id AND c.type = 'm.room.member'
                     AND c.membership = 'invite' AND substr(c.state_key, strpos(c.state_key, ':') + 1) = $2)",
        )
        .bind(room_ids)
        .bind(host)
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|(room_id,)| room_id).collect())
    }

    /// `get_room_summary`.
    pub async fn get_room_summary(&self, room_id: &str) -> Result<Arc<RoomSummary>, StorageError> {
        let load = || async {
            let counts: Vec<(String, i64)> = sqlx::query_as(
                "SELECT membership, count(*) FROM current_state_events
                 WHERE type = 'm.room.member' AND room_id = $1 AND membership IS NOT NULL GROUP BY membership",
            )
            .bind(room_id)
            .fetch_all(self.pool())
            .await?;
            let rows: Vec<(String, String, String)> = sqlx::query_as(
                "SELECT state_key, membership, event_id FROM current_state_events
                 WHERE type = 'm.room.member' AND room_id = $1 AND membership IS NOT NULL
                 ORDER BY CASE membership WHEN 'join' THEN 1 WHEN 'invite' THEN 2 WHEN 'leave' THEN 3 ELSE 4 END,
                     event_stream_ordering
                 LIMIT $2",
            )
            .bind(room_id)
            .bind(SUMMARY_MEMBERS)
            .fetch_all(self.pool())
            .await?;
            let member = |(user_id, membership, event_id): (String, String, String)| SummaryMember {
                user_id: user_id.into(),
                membership: membership.into(),
                event_id: event_id.into(),
            };
            let first_members = rows.into_iter().map(member).collect();
            Ok(Arc::new(RoomSummary { counts: counts.into_iter().collect(), first_members }))
        };
        self.caches().room_summary.get_or_load(Arc::from(room_id), load).await
    }

    /// `get_users_in_room_with_profiles`: the joined users, each with the profile of its member event, as a JSON
    /// object. It is large and goes into answers as it is.
    pub async fn get_users_in_room_with_profiles(&self, room_id: &str) -> Result<Arc<[u8]>, StorageError> {
        type Row = (String, Option<String>, Option<String>);
        let load = || async {
            let rows: Vec<Row> = sqlx::query_as(
                "SELECT c.state_key, m.display_name, m.avatar_url
                 FROM current_state_events AS c JOIN room_memberships AS m
                     ON m.event_id = c.event_id AND m.room_id = c.room_id AND m.user_id = c.state_key
                 WHERE c.type = 'm.room.member' AND c.room_id = $1 AND m.membership = 'join'",
            )
            .bind(room_id)
            .fetch_all(self.pool())
            .await?;
            let profile = |(user_id, display_name, avatar_url): &Row| {
                let profile = ProfileInfo { avatar_url: avatar_url.as_deref(), display_name: display_name.as_deref() };
                // Texts always serialise.
                let profile = serde_json::to_string(&profile).unwrap_or_default();
                format!("{}:{profile}", serde_json::Value::from(user_id.as_str()))
            };
            let profiles: Vec<String> = rows.iter().map(profile).collect();
            Ok(Arc::from(format!("{{{}}}", profiles.join(",")).into_bytes()))
        };
        self.caches().profiles.get_or_load(Arc::from(room_id), load).await
    }

    /// The second column of a statement by the first, which is one of `keys`.
    async fn ids_by_id(
        &self,
        statement: &'static str,
        keys: Vec<Arc<str>>,
    ) -> Result<HashMap<Arc<str>, IdSet>, StorageError> {
        let ids: Vec<&str> = keys.iter().map(|id| &**id).collect();
        let rows: Vec<(String, String)> = sqlx::query_as(statement).bind(ids).fetch_all(self.pool()).await?;
        let mut found: HashMap<Arc<str>, HashSet<Arc<str>>> =
            keys.into_iter().map(|key| (key, HashSet::new())).collect();
        for (key, id) in rows {
            if let Some(ids) = found.get_mut(&*key) {
                ids.insert(self.texts().share(&id));
            }
        }
        Ok(found.into_iter().map(|(key, ids)| (key, Arc::new(ids))).collect())
    }

    /// The single column of a statement with one parameter.
    async fn ids(&self, statement: &'static str, key: &str) -> Result<Arc<HashSet<Arc<str>>>, StorageError> {
        let rows: Vec<(String,)> = sqlx::query_as(statement).bind(key).fetch_all(self.pool()).await?;
        Ok(Arc::new(rows.into_iter().map(|(id,)| self.texts().share(&id)).collect()))
    }
}
