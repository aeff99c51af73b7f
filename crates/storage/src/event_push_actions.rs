//! How much is unread. Answers to `synapse/storage/databases/main/event_push_actions.py`.

use std::sync::Arc;

use crate::{Storage, StorageError};

/// Counts of one thread of one room; several rows of a thread add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadRow {
    pub room_id: Arc<str>,
    /// `main`, or the root event of a thread.
    pub thread_id: Arc<str>,
    pub notify: i64,
    pub unread: i64,
    pub highlight: i64,
}

impl Storage {
    /// `get_unread_event_push_actions_by_room_for_user`, of many rooms in one statement.
    ///
    /// What is summarised is taken from the summary, if it was made for the present receipt, plus what came after
    /// the last rotation; the rest is counted. Highlights are always counted.
    pub async fn unread_counts(&self, user_id: &str, room_ids: &[Arc<str>]) -> Result<Vec<UnreadRow>, StorageError> {
        if room_ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&str> = room_ids.iter().map(|id| &**id).collect();
        let rows: Vec<(String, String, i64, i64, i64)> = sqlx::query_as(
            "WITH base AS (
                 SELECT r.room_id, COALESCE(
                     (SELECT l.event_stream_ordering FROM receipts_linearized AS l
                      WHERE l.receipt_type IN ('m.read', 'm.read.private') AND l.user_id = $1
                          AND l.room_id = r.room_id AND l.thread_id IS NULL
                      ORDER BY l.event_stream_ordering DESC LIMIT 1),
                     (SELECT e.stream_ordering FROM local_current_membership AS m
                      JOIN events AS e ON e.event_id = m.event_id
                      WHERE m.user_id = $1 AND m.room_id = r.room_id),
                     0) AS position
                 FROM unnest($2::text[]) AS r(room_id)
             ), threads AS (
                 SELECT l.room_id, l.thread_id, max(l.event_stream_ordering) AS position
                 FROM base AS b JOIN receipts_linearized AS l ON l.room_id = b.room_id
                 WHERE l.user_id = $1 AND l.receipt_type IN ('m.read', 'm.read.private')
                     AND l.event_stream_ordering > b.position AND l.thread_id IS NOT NULL
                 GROUP BY l.room_id, l.thread_id
             ), summary AS (
                 SELECT s.room_id, s.thread_id, s.notif_count, COALESCE(s.unread_count, 0) AS unread_count
                 FROM base AS b JOIN event_push_summary AS s ON s.room_id = b.room_id
                 LEFT JOIN threads AS t ON t.room_id = s.room_id AND t.thread_id = s.thread_id
                 WHERE s.user_id = $1
                     AND (s.last_receipt_stream_ordering IS NULL
                             AND s.stream_ordering > COALESCE(t.position, b.position)
                         OR s.last_receipt_stream_ordering = COALESCE(t.position, b.position))
                     AND (s.notif_count <> 0 OR COALESCE(s.unread_count, 0) <> 0)
             ), rotated AS (SELECT stream_ordering AS position FROM event_push_summary_stream_ordering)
             SELECT room_id, thread_id, notif_count, unread_count, 0::bigint FROM summary
             UNION ALL
             SELECT a.room_id, a.thread_id,
                 count(*) FILTER (WHERE a.notif = 1 AND a.stream_ordering > counted.position),
                 count(*) FILTER (WHERE a.unread = 1 AND a.stream_ordering > counted.position),
                 count(*) FILTER (WHERE a.highlight = 1 AND a.stream_ordering > counted.receipt)
             FROM base AS b
             CROSS JOIN rotated
             JOIN event_push_actions AS a ON a.room_id = b.room_id AND a.user_id = $1
                 AND a.stream_ordering > LEAST(b.position, rotated.position)
             LEFT JOIN threads AS t ON t.room_id = a.room_id AND t.thread_id = a.thread_id
             LEFT JOIN summary AS s ON s.room_id = a.room_id AND s.thread_id = a.thread_id
             CROSS JOIN LATERAL (
                 SELECT COALESCE(t.position, b.position) AS receipt,
                     CASE WHEN s.thread_id IS NULL THEN COALESCE(t.position, b.position) ELSE rotated.position END
                         AS position
             ) AS counted
             WHERE a.stream_ordering > counted.position OR a.highlight = 1 AND a.stream_ordering > counted.receipt
             GROUP BY a.room_id, a.thread_id",
        )
        .bind(user_id)
        .bind(ids)
        .fetch_all(self.pool())
        .await?;
        let row = |(room_id, thread_id, notify, unread, highlight): (String, String, i64, i64, i64)| UnreadRow {
            room_id: room_id.into(),
            thread_id: thread_id.into(),
            notify,
            unread,
            highlight,
        };
        Ok(rows.into_iter().map(row).collect())
    }
}
