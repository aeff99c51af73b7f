//! How much is unread. Answers to `synapse/storage/databases/main/event_push_actions.py`.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::{Storage, StorageError, slot};

/// Counts of one thread of one room for one user; several rows of a thread add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadRow {
    /// `main`, or the root event of a thread.
    pub thread_id: Arc<str>,
    pub notify: i64,
    pub unread: i64,
    pub highlight: i64,
}

pub type UnreadRows = Arc<[UnreadRow]>;
/// Room and user.
type Key = (Arc<str>, Arc<str>);

/// What is summarised is taken from the summary, if it was made for the present receipt, plus what came after
/// the last rotation; the rest is counted. Highlights are always counted.
///
/// Synapse: a newest receipt whose event is not known has no position (NULL), and nothing is unread after it.
///
/// What is older than the last rotation lies in a summary. Its rows are read only if some summary is not for the
/// present receipt, or there is none: somebody who never reads has very many. `room_id || ''` keeps the planner from
/// the indexes by room for what is newer: they would find the old rows too.
///
/// OFFSET 0 keeps each inner SELECT an index look-up.
const UNREAD: &str = "WITH base AS (
     SELECT k.n, k.room_id, k.user_id, CASE WHEN l.found THEN l.position ELSE COALESCE(
         (SELECT e.stream_ordering FROM local_current_membership AS m
          JOIN events AS e ON e.event_id = m.event_id
          WHERE m.user_id = k.user_id AND m.room_id = k.room_id),
         0) END AS position
     FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k(room_id, user_id, n)
     LEFT JOIN LATERAL (
         SELECT TRUE AS found, event_stream_ordering AS position FROM receipts_linearized
         WHERE receipt_type IN ('m.read', 'm.read.private') AND user_id = k.user_id
             AND room_id = k.room_id AND thread_id IS NULL
         ORDER BY event_stream_ordering DESC LIMIT 1
     ) AS l ON TRUE
     ), threads AS (
     SELECT b.n, l.thread_id, max(l.position) AS position
     FROM base AS b CROSS JOIN LATERAL (
         SELECT thread_id, event_stream_ordering AS position FROM receipts_linearized
         WHERE room_id = b.room_id AND user_id = b.user_id
             AND receipt_type IN ('m.read', 'm.read.private')
             AND event_stream_ordering > b.position AND thread_id IS NOT NULL OFFSET 0
     ) AS l
     GROUP BY b.n, l.thread_id
     ), summaries AS (
     SELECT b.n, s.thread_id, s.notif_count, s.unread_count,
         (s.last_receipt_stream_ordering IS NULL AND s.stream_ordering > COALESCE(t.position, b.position)
             OR s.last_receipt_stream_ordering = COALESCE(t.position, b.position)) IS TRUE AS valid
     FROM base AS b CROSS JOIN LATERAL (
         SELECT thread_id, notif_count, COALESCE(unread_count, 0) AS unread_count, stream_ordering,
             last_receipt_stream_ordering
         FROM event_push_summary WHERE user_id = b.user_id AND room_id = b.room_id OFFSET 0
     ) AS s
     LEFT JOIN threads AS t ON t.n = b.n AND t.thread_id = s.thread_id
     ), summary AS (
     SELECT n, thread_id, notif_count, unread_count FROM summaries
     WHERE valid AND (notif_count <> 0 OR unread_count <> 0)
     ), rotated AS (SELECT stream_ordering AS position FROM event_push_summary_stream_ordering
     ), actions AS (
     SELECT b.n, a.thread_id, a.notif, a.unread, a.highlight, a.stream_ordering
     FROM base AS b CROSS JOIN rotated CROSS JOIN LATERAL (
         SELECT thread_id, notif, unread, highlight, stream_ordering FROM event_push_actions
         WHERE user_id = b.user_id AND stream_ordering > rotated.position AND room_id || '' = b.room_id OFFSET 0
     ) AS a
     UNION ALL
     SELECT b.n, a.thread_id, 0, 0, 1, a.stream_ordering
     FROM base AS b CROSS JOIN rotated CROSS JOIN LATERAL (
         SELECT thread_id, stream_ordering FROM event_push_actions
         WHERE user_id = b.user_id AND room_id = b.room_id AND highlight = 1
             AND stream_ordering > b.position AND stream_ordering <= rotated.position OFFSET 0
     ) AS a
     UNION ALL
     SELECT b.n, a.thread_id, a.notif, a.unread, 0, a.stream_ordering
     FROM base AS b
     LEFT JOIN (SELECT n, bool_and(valid) AS valid FROM summaries GROUP BY n) AS whole ON whole.n = b.n
     CROSS JOIN rotated
     CROSS JOIN LATERAL (
         SELECT thread_id, notif, unread, stream_ordering FROM event_push_actions
         WHERE whole.valid IS NOT TRUE AND user_id = b.user_id AND room_id = b.room_id
             AND stream_ordering > b.position AND stream_ordering <= rotated.position OFFSET 0
     ) AS a
     )
     SELECT n, thread_id, notif_count, unread_count, 0::bigint FROM summary
     UNION ALL
     SELECT b.n, a.thread_id,
     count(*) FILTER (WHERE a.notif = 1 AND a.stream_ordering > counted.position),
     count(*) FILTER (WHERE a.unread = 1 AND a.stream_ordering > counted.position),
     count(*) FILTER (WHERE a.highlight = 1 AND a.stream_ordering > counted.receipt)
     FROM base AS b
     CROSS JOIN rotated
     JOIN actions AS a ON a.n = b.n
     LEFT JOIN threads AS t ON t.n = b.n AND t.thread_id = a.thread_id
     LEFT JOIN summary AS s ON s.n = b.n AND s.thread_id = a.thread_id
     CROSS JOIN LATERAL (
     SELECT COALESCE(t.position, b.position) AS receipt,
         CASE WHEN s.thread_id IS NULL THEN COALESCE(t.position, b.position) ELSE rotated.position END
             AS position
     ) AS counted
     WHERE a.stream_ordering > counted.position OR a.highlight = 1 AND a.stream_ordering > counted.receipt
     GROUP BY b.n, a.thread_id";

/// `UserPushAction`
#[derive(Clone, Debug)]
pub struct UserPushAction {
    pub event_id: Arc<str>,
    pub room_id: String,
    pub stream: i64,
    pub depth: i64,
    /// JSON; the usual ones are stored as nothing.
    pub actions: String,
    pub is_highlight: bool,
    pub profile_tag: Option<String>,
    pub received_ts: Option<i64>,
}

impl Storage {
    /// `get_push_actions_for_user`: the newest first, of those before the position `before`.
    pub async fn get_push_actions_for_user(
        &self,
        user_id: &str,
        before: Option<i64>,
        limit: i64,
        only_highlight: bool,
    ) -> Result<Vec<UserPushAction>, StorageError> {
        type Row = (String, String, i64, i64, String, bool, Option<String>, Option<i64>);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT a.event_id, a.room_id, a.stream_ordering, a.topological_ordering, a.actions,
                 coalesce(a.highlight = 1, false), a.profile_tag, e.received_ts
             FROM event_push_actions AS a JOIN events AS e ON e.event_id = a.event_id
             WHERE a.user_id = $1 AND a.stream_ordering < $2 AND a.notif = 1 AND (NOT $3::boolean OR a.highlight = 1)
             ORDER BY a.stream_ordering DESC LIMIT $4",
        )
        .bind(user_id)
        .bind(before.unwrap_or(i64::MAX))
        .bind(only_highlight)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        let action =
            |(event_id, room_id, stream, depth, actions, is_highlight, profile_tag, received_ts): Row| UserPushAction {
                event_id: event_id.into(),
                room_id,
                stream,
                depth,
                actions,
                is_highlight,
                profile_tag,
                received_ts,
            };
        Ok(rows.into_iter().map(action).collect())
    }

    /// `get_unread_event_push_actions_by_room_for_user`, of many rooms at once.
    pub async fn get_unread_event_push_actions_by_room_for_user(
        &self,
        user_id: &Arc<str>,
        room_ids: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, UnreadRows>, StorageError> {
        let keys: Vec<Key> = room_ids.iter().map(|room_id| (Arc::clone(room_id), Arc::clone(user_id))).collect();
        let found = self.users().unread.get_many(keys, self, Self::load_unread).await?;
        Ok(found.into_iter().map(|((room_id, _), rows)| (room_id, rows)).collect())
    }

    async fn load_unread(self, keys: Vec<Key>) -> Result<HashMap<Key, UnreadRows>, StorageError> {
        let (rooms, users): (Vec<&str>, Vec<&str>) = keys.iter().map(|(room, user)| (&**room, &**user)).unzip();
        let rows: Vec<(i64, String, i64, i64, i64)> =
            sqlx::query_as(UNREAD).bind(rooms).bind(users).fetch_all(self.pool()).await?;
        let mut by_key: Vec<Vec<UnreadRow>> = vec![Vec::new(); keys.len()];
        for (n, thread_id, notify, unread, highlight) in rows {
            if let Some(rows) = slot(&mut by_key, n) {
                rows.push(UnreadRow { thread_id: thread_id.into(), notify, unread, highlight });
            }
        }
        Ok(keys.into_iter().zip(by_key).map(|(key, rows)| (key, rows.into())).collect())
    }
}
