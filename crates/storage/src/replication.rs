//! What a stream carried while we did not listen. Answers to the `get_all_…_updates` functions of the stores and
//! to `synapse/replication/tcp/streams/events.py`.

use myelin_model::StreamName;
use serde_json::Value;

use crate::{Storage, StorageError};

/// Rows of one look; rows of one position are never torn apart.
const PAGE: usize = 100;
const EVENTS_PAGE: usize = 50;
type Rows = Vec<(i64, Value)>;

/// Rows as the wire carries them, in order of position.
#[derive(Debug)]
pub struct StreamUpdates {
    pub rows: Rows,
    /// Everything at or before it is in `rows`.
    pub upto: i64,
    /// There is more.
    pub limited: bool,
}

impl StreamUpdates {
    fn page(rows: Rows, upto: i64) -> Self {
        match rows.last() {
            Some((last, _)) if rows.len() >= PAGE => Self { upto: *last, limited: true, rows },
            _ => Self { rows, upto, limited: false },
        }
    }
}

impl Storage {
    /// Rows in (`from`, `upto`]. Streams that only move a position here have none.
    pub async fn stream_updates(
        &self,
        stream: StreamName,
        instance: &str,
        from: i64,
        upto: i64,
    ) -> Result<StreamUpdates, StorageError> {
        let sql = match stream {
            StreamName::Events => return self.event_updates(instance, from, upto).await,
            StreamName::Backfill => return self.backfill_updates(instance, from, upto).await,
            StreamName::Caches => {
                "SELECT stream_id, json_build_array(cache_func, keys, invalidation_ts)
                 FROM cache_invalidation_stream_by_instance
                 WHERE stream_id > $1 AND (stream_id <= $2 OR true) AND instance_name = $3
                 ORDER BY stream_id FETCH FIRST 100 ROWS WITH TIES"
            }
            StreamName::Receipts => {
                "SELECT stream_id, json_build_array(room_id, receipt_type, user_id, event_id, thread_id, data::json)
                 FROM receipts_linearized
                 WHERE stream_id > $1 AND stream_id <= $2 AND COALESCE(instance_name, 'master') = $3
                 ORDER BY stream_id FETCH FIRST 100 ROWS WITH TIES"
            }
            StreamName::UnPartialStatedRoom => {
                "SELECT stream_id, json_build_array(room_id) FROM un_partial_stated_room_stream
                 WHERE stream_id > $1 AND stream_id <= $2 AND instance_name = $3
                 ORDER BY stream_id FETCH FIRST 100 ROWS WITH TIES"
            }
            StreamName::UnPartialStatedEvent => {
                "SELECT stream_id, json_build_array(event_id, rejection_status_changed)
                 FROM un_partial_stated_event_stream
                 WHERE stream_id > $1 AND stream_id <= $2 AND instance_name = $3
                 ORDER BY stream_id FETCH FIRST 100 ROWS WITH TIES"
            }
            _ => return self.updates_of_all_writers(stream, from, upto).await,
        };
        let rows = sqlx::query_as(sql).bind(from).bind(upto).bind(instance).fetch_all(self.pool()).await?;
        Ok(StreamUpdates::page(rows, upto))
    }

    async fn updates_of_all_writers(
        &self,
        stream: StreamName,
        from: i64,
        upto: i64,
    ) -> Result<StreamUpdates, StorageError> {
        let sql = match stream {
            StreamName::PushRules => {
                "SELECT stream_id, json_build_array(user_id) FROM push_rules_stream
                 WHERE stream_id > $1 AND stream_id <= $2 ORDER BY stream_id FETCH FIRST 100 ROWS WITH TIES"
            }
            StreamName::DeviceLists => {
                "SELECT stream_id, json_build_array(user_id, is_signature, false) FROM (
                     SELECT stream_id, user_id, false AS is_signature FROM device_lists_stream
                     UNION ALL
                     SELECT stream_id, from_user_id, true FROM user_signature_stream
                 ) AS changes
                 WHERE stream_id > $1 AND stream_id <= $2 ORDER BY stream_id FETCH FIRST 100 ROWS WITH TIES"
            }
            StreamName::ToDevice => {
                "SELECT max(stream_id), json_build_array(user_id) FROM device_inbox
                 WHERE stream_id > $1 AND stream_id <= LEAST($2, $1 + 100) GROUP BY user_id ORDER BY max(stream_id)"
            }
            StreamName::AccountData => {
                "SELECT stream_id, json_build_array(user_id, room_id, kind) FROM (
                     SELECT stream_id, user_id, NULL AS room_id, account_data_type AS kind FROM account_data
                     UNION ALL
                     SELECT stream_id, user_id, room_id, account_data_type FROM room_account_data
                     UNION ALL
                     SELECT stream_id, user_id, room_id, 'm.tag' FROM room_tags_revisions
                 ) AS changes
                 WHERE stream_id > $1 AND stream_id <= $2 ORDER BY stream_id FETCH FIRST 100 ROWS WITH TIES"
            }
            StreamName::ThreadSubscriptions => {
                "SELECT stream_id::bigint, json_build_array(user_id, room_id, event_id) FROM thread_subscriptions
                 WHERE stream_id > $1 AND stream_id <= $2 ORDER BY stream_id FETCH FIRST 100 ROWS WITH TIES"
            }
            StreamName::ProfileUpdates => {
                "SELECT stream_id, json_build_array(user_id, action) FROM profile_updates
                 WHERE stream_id > $1 AND stream_id <= $2 ORDER BY stream_id FETCH FIRST 100 ROWS WITH TIES"
            }
            StreamName::StickyEvents => {
                "SELECT stream_id, json_build_array(room_id, event_id) FROM sticky_events
                 WHERE stream_id > $1 AND stream_id <= $2 ORDER BY stream_id FETCH FIRST 100 ROWS WITH TIES"
            }
            _ => return Ok(StreamUpdates { rows: Vec::new(), upto, limited: false }),
        };
        let rows = sqlx::query_as(sql).bind(from).bind(upto).fetch_all(self.pool()).await?;
        if stream == StreamName::ToDevice {
            // A range of positions, not of rows.
            let end = upto.min(from.saturating_add(100));
            return Ok(StreamUpdates { rows, upto: end, limited: end < upto });
        }
        Ok(StreamUpdates::page(rows, upto))
    }

    /// Three sources; one that is cut off bounds the others.
    async fn event_updates(&self, instance: &str, from: i64, upto: i64) -> Result<StreamUpdates, StorageError> {
        let sources = [
            "SELECT e.stream_ordering, json_build_array('ev', json_build_array(e.event_id, e.room_id, e.type,
                 s.state_key, r.redacts, l.relates_to_id, m.membership, j.event_id IS NOT NULL, e.outlier))
             FROM events AS e
             LEFT JOIN redactions AS r ON r.event_id = e.event_id
             LEFT JOIN state_events AS s ON s.event_id = e.event_id
             LEFT JOIN event_relations AS l ON l.event_id = e.event_id
             LEFT JOIN room_memberships AS m ON m.event_id = e.event_id
             LEFT JOIN rejections AS j ON j.event_id = e.event_id
             WHERE e.stream_ordering > $1 AND e.stream_ordering <= $2 AND COALESCE(e.instance_name, 'master') = $3
             ORDER BY e.stream_ordering FETCH FIRST 50 ROWS WITH TIES",
            "SELECT stream_id, json_build_array('state', json_build_array(room_id, type, state_key, event_id))
             FROM current_state_delta_stream
             WHERE stream_id > $1 AND stream_id <= $2 AND COALESCE(instance_name, 'master') = $3
             ORDER BY stream_id FETCH FIRST 50 ROWS WITH TIES",
            "SELECT x.event_stream_ordering, json_build_array('ev', json_build_array(e.event_id, e.room_id, e.type,
                 s.state_key, r.redacts, l.relates_to_id, m.membership, j.event_id IS NOT NULL, e.outlier))
             FROM ex_outlier_stream AS x
             JOIN events AS e ON e.event_id = x.event_id
             LEFT JOIN redactions AS r ON r.event_id = e.event_id
             LEFT JOIN state_events AS s ON s.event_id = e.event_id
             LEFT JOIN event_relations AS l ON l.event_id = e.event_id
             LEFT JOIN room_memberships AS m ON m.event_id = e.event_id
             LEFT JOIN rejections AS j ON j.event_id = e.event_id
             WHERE x.event_stream_ordering > $1 AND x.event_stream_ordering <= $2
                 AND COALESCE(x.instance_name, 'master') = $3
             ORDER BY x.event_stream_ordering",
        ];
        let mut all: Rows = Vec::new();
        let (mut end, mut limited) = (upto, false);
        for (index, sql) in sources.into_iter().enumerate() {
            let rows: Rows = sqlx::query_as(sql).bind(from).bind(end).bind(instance).fetch_all(self.pool()).await?;
            if let (true, Some((last, _))) = (index < 2 && rows.len() >= EVENTS_PAGE, rows.last()) {
                (end, limited) = (*last, true);
            }
            all.extend(rows);
        }
        all.retain(|(position, _)| *position <= end);
        // Stable: state changes come after the events of their own position.
        all.sort_by_key(|(position, _)| *position);
        Ok(StreamUpdates { rows: all, upto: end, limited })
    }

    /// Positions are negative in the database and positive on the wire.
    async fn backfill_updates(&self, instance: &str, from: i64, upto: i64) -> Result<StreamUpdates, StorageError> {
        let rows = sqlx::query_as(
            "SELECT -x.position, json_build_array(e.event_id, e.room_id, e.type, s.state_key, r.redacts, l.relates_to_id)
             FROM (
                 SELECT stream_ordering AS position, event_id, instance_name FROM events
                 WHERE stream_ordering < -($1::bigint) AND stream_ordering >= -($2::bigint)
                 UNION ALL
                 SELECT event_stream_ordering, event_id, instance_name FROM ex_outlier_stream
                 WHERE event_stream_ordering < -($1::bigint) AND event_stream_ordering >= -($2::bigint)
             ) AS x
             JOIN events AS e ON e.event_id = x.event_id
             LEFT JOIN redactions AS r ON r.event_id = e.event_id
             LEFT JOIN state_events AS s ON s.event_id = e.event_id
             LEFT JOIN event_relations AS l ON l.event_id = e.event_id
             WHERE COALESCE(x.instance_name, 'master') = $3
             ORDER BY -x.position FETCH FIRST 100 ROWS WITH TIES",
        )
        .bind(from)
        .bind(upto)
        .bind(instance)
        .fetch_all(self.pool())
        .await?;
        Ok(StreamUpdates::page(rows, upto))
    }

    /// `get_all_device_list_changes`: the rooms that changes of devices in (`from`, `upto`] concern.
    pub async fn rooms_of_device_list_changes(&self, from: i64, upto: i64) -> Result<Vec<String>, StorageError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT DISTINCT room_id FROM device_lists_changes_in_room WHERE stream_id > $1 AND stream_id <= $2",
        )
        .bind(from)
        .bind(upto)
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|(room_id,)| room_id).collect())
    }
}
