//! How current state changed. Answers to `synapse/storage/databases/main/state_deltas.py`.

use std::sync::Arc;

use hashbrown::HashMap;
use myelin_model::MultiWriterPosition;
use myelin_model::position::MASTER;

use crate::room_reads::{Between, Range};
use crate::stream::{Bounds, at};
use crate::{Storage, StorageError};

/// A change of current state; `event_id` is `None` when the key vanished in a state reset.
#[derive(Clone, Debug)]
pub struct StateDelta {
    pub kind: Arc<str>,
    pub state_key: Arc<str>,
    pub event_id: Option<Arc<str>>,
    pub prev_event_id: Option<Arc<str>>,
}

/// Somebody's membership in a room changed; no membership: it vanished, or is unknown.
#[derive(Clone, Debug)]
pub struct MembershipDelta {
    pub room_id: Arc<str>,
    pub user_id: Arc<str>,
    pub membership: Option<String>,
    pub prev_membership: Option<String>,
}

impl Storage {
    /// `get_current_state_delta_membership_changes_for_user`: in (`lower`, `upper`], oldest first.
    pub async fn get_membership_deltas_for_user(
        &self,
        user_id: &str,
        lower: &MultiWriterPosition,
        upper: &MultiWriterPosition,
    ) -> Result<Vec<MembershipDelta>, StorageError> {
        let rows = sqlx::query_as(
            "SELECT s.room_id, s.state_key, s.instance_name, s.stream_id, m.membership, p.membership
             FROM current_state_delta_stream AS s
             LEFT JOIN room_memberships AS m ON m.event_id = s.event_id
             LEFT JOIN room_memberships AS p ON p.event_id = s.prev_event_id
             WHERE s.stream_id > $1 AND s.stream_id <= $2 AND s.type = 'm.room.member' AND s.state_key = $3
             ORDER BY s.stream_id",
        )
        .bind(lower.base)
        .bind(upper.max())
        .bind(user_id)
        .fetch_all(self.pool())
        .await?;
        Ok(membership_deltas(rows, lower, upper))
    }

    /// The memberships of `get_current_state_deltas_for_rooms`: in (`lower`, `upper`], oldest first.
    pub async fn get_membership_deltas_for_rooms(
        &self,
        room_ids: &[Arc<str>],
        lower: &MultiWriterPosition,
        upper: &MultiWriterPosition,
    ) -> Result<Vec<MembershipDelta>, StorageError> {
        if room_ids.is_empty() {
            return Ok(Vec::new());
        }
        let room_ids: Vec<&str> = room_ids.iter().map(|id| &**id).collect();
        let rows = sqlx::query_as(
            "SELECT s.room_id, s.state_key, s.instance_name, s.stream_id, m.membership, p.membership
             FROM current_state_delta_stream AS s
             LEFT JOIN room_memberships AS m ON m.event_id = s.event_id
             LEFT JOIN room_memberships AS p ON p.event_id = s.prev_event_id
             WHERE s.room_id = ANY($3) AND s.stream_id > $1 AND s.stream_id <= $2 AND s.type = 'm.room.member'
             ORDER BY s.stream_id",
        )
        .bind(lower.base)
        .bind(upper.max())
        .bind(room_ids)
        .fetch_all(self.pool())
        .await?;
        Ok(membership_deltas(rows, lower, upper))
    }

    /// `get_current_state_deltas_for_room_by_event_position`: the room's changes of current state
    /// in (`lower`, `upper`], oldest first.
    ///
    /// All rows of one persisted batch carry the batch's first stream id, so a change stands at the
    /// later of its row and its event, and the batch that contains `lower` is looked at again.
    pub async fn current_state_deltas(
        &self,
        room_id: &str,
        lower: &MultiWriterPosition,
        upper: &MultiWriterPosition,
    ) -> Result<Arc<[StateDelta]>, StorageError> {
        if upper.at_most(lower) {
            return Ok(Arc::default());
        }
        let range = (Arc::from(room_id), Between { lower: Some(lower.clone()), upper: upper.clone() });
        let mut deltas = self.room_reads().deltas.get_many([range.clone()], self, Self::load_deltas_between).await?;
        Ok(deltas.remove(&range).unwrap_or_default())
    }

    async fn load_deltas_between(self, ranges: Vec<Range>) -> Result<HashMap<Range, Arc<[StateDelta]>>, StorageError> {
        type Row = (i64, Option<String>, i64, String, String, Option<String>, Option<String>);
        let bounds = Bounds::new(&ranges);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT k.index, d.instance_name, GREATEST(d.stream_id, e.stream_ordering), d.type, d.state_key,
                 d.event_id, d.prev_event_id
             FROM unnest($1::text[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS k(room_id, lower, upper, index)
             CROSS JOIN LATERAL (
                 SELECT * FROM current_state_delta_stream
                 WHERE room_id = k.room_id AND stream_id <= k.upper AND stream_id >= COALESCE(
                     (SELECT max(stream_id) FROM current_state_delta_stream
                      WHERE room_id = k.room_id AND stream_id <= k.lower), k.lower)
             ) AS d
             LEFT JOIN events AS e ON e.event_id = d.event_id
             ORDER BY d.stream_id",
        )
        .bind(bounds.rooms)
        .bind(bounds.lower)
        .bind(bounds.upper)
        .fetch_all(self.pool())
        .await?;
        let mut found = vec![Vec::new(); ranges.len()];
        for (index, instance, position, kind, state_key, event_id, prev) in rows {
            let Some((range, deltas)) = at(index).and_then(|at| Some((&ranges.get(at)?.1, found.get_mut(at)?))) else {
                continue;
            };
            let lower = range.lower.clone().unwrap_or_default();
            if range.upper.covers_since(&lower, instance.as_deref().unwrap_or(MASTER), position) {
                deltas.push(StateDelta {
                    kind: kind.into(),
                    state_key: state_key.into(),
                    event_id: event_id.map(Arc::from),
                    prev_event_id: prev.map(Arc::from),
                });
            }
        }
        Ok(ranges.into_iter().zip(found).map(|(range, deltas)| (range, deltas.into())).collect())
    }
}

type MembershipRow = (String, String, Option<String>, i64, Option<String>, Option<String>);

fn membership_deltas(
    rows: Vec<MembershipRow>,
    lower: &MultiWriterPosition,
    upper: &MultiWriterPosition,
) -> Vec<MembershipDelta> {
    let inside = |row: &MembershipRow| upper.covers_since(lower, row.2.as_deref().unwrap_or(MASTER), row.3);
    let delta = |(room_id, user_id, _, _, membership, prev_membership): MembershipRow| MembershipDelta {
        room_id: room_id.into(),
        user_id: user_id.into(),
        membership,
        prev_membership,
    };
    rows.into_iter().filter(inside).map(delta).collect()
}
