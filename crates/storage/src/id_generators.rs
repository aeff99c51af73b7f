//! Where each stream stands at start, and the last id that its sequence gave out.
//! Answers to `synapse/storage/util/id_generators.py` and `sequence.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use myelin_config::StreamWriters;
use myelin_model::{InitialPosition, InitialPositions, StreamName};
use sqlx::AssertSqlSafe;

use crate::{Storage, StorageError};

/// How a stream's ids are kept in the database.
struct IdGenerator {
    stream: StreamName,
    /// Its name in `stream_positions`, which is not always the wire name.
    stored_as: &'static str,
    sequence: &'static str,
    /// Table and column of ids.
    tables: &'static [(&'static str, &'static str)],
}

const fn generator(
    stream: StreamName,
    stored_as: &'static str,
    sequence: &'static str,
    tables: &'static [(&'static str, &'static str)],
) -> IdGenerator {
    IdGenerator { stream, stored_as, sequence, tables }
}

/// Typing, presence_federation and federation are in their writer's memory and start at 0.
static GENERATORS: [IdGenerator; 16] = [
    generator(
        StreamName::Events,
        "events",
        "events_stream_seq",
        &[
            ("events", "stream_ordering"),
            ("current_state_delta_stream", "stream_id"),
            ("ex_outlier_stream", "event_stream_ordering"),
        ],
    ),
    generator(
        StreamName::Backfill,
        "backfill",
        "events_backfill_stream_seq",
        &[("events", "stream_ordering"), ("ex_outlier_stream", "event_stream_ordering")],
    ),
    generator(StreamName::Presence, "presence_stream", "presence_stream_sequence", &[("presence_stream", "stream_id")]),
    generator(StreamName::Receipts, "receipts", "receipts_sequence", &[("receipts_linearized", "stream_id")]),
    generator(
        StreamName::PushRules,
        "push_rules_stream",
        "push_rules_stream_sequence",
        &[("push_rules_stream", "stream_id")],
    ),
    generator(
        StreamName::Pushers,
        "pushers",
        "pushers_sequence",
        &[("pushers", "id"), ("deleted_pushers", "stream_id")],
    ),
    generator(
        StreamName::Caches,
        "caches",
        "cache_invalidation_stream_seq",
        &[("cache_invalidation_stream_by_instance", "stream_id")],
    ),
    generator(
        StreamName::DeviceLists,
        "device_lists_stream",
        "device_lists_sequence",
        &[
            ("device_lists_stream", "stream_id"),
            ("user_signature_stream", "stream_id"),
            ("device_lists_outbound_pokes", "stream_id"),
            ("device_lists_changes_in_room", "stream_id"),
            ("device_lists_remote_pending", "stream_id"),
            ("device_lists_changes_converted_stream_position", "stream_id"),
        ],
    ),
    generator(
        StreamName::ToDevice,
        "to_device",
        "device_inbox_sequence",
        &[("device_inbox", "stream_id"), ("device_federation_outbox", "stream_id")],
    ),
    generator(
        StreamName::AccountData,
        "account_data",
        "account_data_sequence",
        &[("room_account_data", "stream_id"), ("room_tags_revisions", "stream_id"), ("account_data", "stream_id")],
    ),
    generator(
        StreamName::ProfileUpdates,
        "profile_updates",
        "profile_updates_sequence",
        &[("profile_updates", "stream_id")],
    ),
    generator(StreamName::StickyEvents, "sticky_events", "sticky_events_sequence", &[("sticky_events", "stream_id")]),
    generator(
        StreamName::ThreadSubscriptions,
        "thread_subscriptions",
        "thread_subscriptions_sequence",
        &[("thread_subscriptions", "stream_id")],
    ),
    generator(
        StreamName::UnPartialStatedRoom,
        "un_partial_stated_room_stream",
        "un_partial_stated_room_stream_sequence",
        &[("un_partial_stated_room_stream", "stream_id")],
    ),
    generator(
        StreamName::UnPartialStatedEvent,
        "un_partial_stated_event_stream",
        "un_partial_stated_event_stream_sequence",
        &[("un_partial_stated_event_stream", "stream_id")],
    ),
    generator(
        StreamName::QuarantinedMedia,
        "quarantined_media",
        "quarantined_media_id_seq",
        &[("quarantined_media_changes", "stream_id")],
    ),
];

impl IdGenerator {
    /// 1, or -1 where the database counts downwards.
    const fn sign(&self) -> i64 {
        if matches!(self.stream, StreamName::Backfill) { -1 } else { 1 }
    }

    /// The greatest id of each table, and of each table all ids from `$1` on.
    fn each_table(&self, select: impl Fn(&str, &str) -> String) -> AssertSqlSafe<String> {
        let selects: Vec<String> = self.tables.iter().map(|(table, column)| select(table, column)).collect();
        AssertSqlSafe(selects.join(" UNION "))
    }
}

/// Who may write a stream; empty: everybody.
fn writers_of(stream: StreamName, config: &StreamWriters) -> Vec<Arc<str>> {
    let all = |names: &[String]| names.iter().map(|name| Arc::from(name.as_str())).collect();
    let one = |name: &str| vec![Arc::from(name)];
    match stream {
        StreamName::Events | StreamName::Backfill | StreamName::ProfileUpdates | StreamName::StickyEvents => {
            all(&config.events)
        }
        StreamName::Receipts => all(&config.receipts),
        StreamName::DeviceLists => all(&config.device_lists),
        StreamName::ThreadSubscriptions => all(&config.thread_subscriptions),
        StreamName::QuarantinedMedia => all(&config.quarantined_media),
        StreamName::Presence | StreamName::PresenceFederation => one(&config.presence),
        StreamName::Typing => one(&config.typing),
        StreamName::ToDevice => one(&config.to_device),
        StreamName::AccountData => one(&config.account_data),
        StreamName::PushRules => one(&config.push_rules),
        StreamName::Pushers
        | StreamName::Federation
        | StreamName::UnPartialStatedRoom
        | StreamName::UnPartialStatedEvent => one(myelin_model::position::MASTER),
        StreamName::Caches => Vec::new(),
    }
}

/// Moves `persisted_upto` over the ids that follow it without a hole; what remains is kept for later.
fn settle(mut persisted_upto: i64, ids: &BTreeSet<i64>) -> (i64, Vec<i64>) {
    for id in ids {
        if *id == persisted_upto + 1 {
            persisted_upto = *id;
        }
    }
    let known = ids.iter().copied().filter(|id| *id > persisted_upto).collect();
    (persisted_upto, known)
}

impl Storage {
    /// The position of every stream of the database, for `live::new`.
    pub async fn initial_positions(&self, config: &StreamWriters) -> Result<InitialPositions, StorageError> {
        let stored: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT stream_name, instance_name, stream_id FROM stream_positions")
                .fetch_all(self.pool())
                .await?;
        let mut streams = BTreeMap::new();
        for generator in &GENERATORS {
            let writers = writers_of(generator.stream, config);
            let of_stream = stored.iter().filter(|(stream, ..)| stream == generator.stored_as);
            let positions = of_stream
                .filter_map(|(_, name, id)| {
                    // A writer that was taken out of the configuration no longer counts.
                    let writer = writers.iter().find(|writer| ***writer == **name)?;
                    Some((Arc::clone(writer), generator.sign() * id))
                })
                .collect();
            streams.insert(generator.stream, self.initial_position(generator, &writers, positions).await?);
        }
        Ok(InitialPositions { streams })
    }

    async fn initial_position(
        &self,
        generator: &IdGenerator,
        writers: &[Arc<str>],
        mut positions: BTreeMap<Arc<str>, i64>,
    ) -> Result<InitialPosition, StorageError> {
        let (persisted_upto, known) = match positions.values().min() {
            None => (self.greatest_id(generator).await?, Vec::new()),
            Some(&least) => settle(least, &self.ids_from(generator, least).await?),
        };
        for writer in writers {
            positions.entry(Arc::clone(writer)).or_insert(persisted_upto);
        }
        Ok(InitialPosition { persisted_upto, writers: positions, known })
    }

    async fn greatest_id(&self, generator: &IdGenerator) -> Result<i64, StorageError> {
        let sign = generator.sign();
        let aggregate = if sign > 0 { "max" } else { "min" };
        let sql = generator.each_table(|table, column| format!("SELECT {aggregate}({column})::bigint FROM {table}"));
        let rows: Vec<(Option<i64>,)> = sqlx::query_as(sql).fetch_all(self.pool()).await?;
        // 1 means "nothing yet": the first id of a stream is 2.
        Ok(rows.into_iter().filter_map(|(id,)| Some(sign * id?)).fold(1, i64::max))
    }

    async fn ids_from(&self, generator: &IdGenerator, least: i64) -> Result<BTreeSet<i64>, StorageError> {
        let sign = generator.sign();
        let order = if sign > 0 { ">=" } else { "<=" };
        let sql = generator
            .each_table(|table, column| format!("SELECT {column}::bigint FROM {table} WHERE {column} {order} $1"));
        let rows: Vec<(Option<i64>,)> = sqlx::query_as(sql).bind(sign * least).fetch_all(self.pool()).await?;
        Ok(rows.into_iter().filter_map(|(id,)| Some(sign * id?)).collect())
    }

    /// The last id that the stream's sequence gave out: no honest token is ahead of it.
    /// `None` for streams that are not in the database.
    pub async fn last_allocated(&self, stream: StreamName) -> Result<Option<i64>, StorageError> {
        let Some(generator) = GENERATORS.iter().find(|generator| generator.stream == stream) else {
            return Ok(None);
        };
        let sql = AssertSqlSafe(format!("SELECT last_value FROM {}", generator.sequence));
        let (last,): (i64,) = sqlx::query_as(sql).fetch_one(self.pool()).await?;
        Ok(Some(last))
    }

    /// Streams whose `stream_positions` are ahead of their sequence: a sign of crossed streams,
    /// for which Synapse refuses to start too.
    pub async fn streams_ahead_of_sequence(&self) -> Result<Vec<&'static str>, StorageError> {
        let mut ahead = Vec::new();
        for generator in &GENERATORS {
            let sql = AssertSqlSafe(format!(
                "SELECT COALESCE((SELECT max(stream_id) FROM stream_positions WHERE stream_name = $1), 0)
                    > (SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END FROM {})",
                generator.sequence
            ));
            let (is_ahead,): (bool,) = sqlx::query_as(sql).bind(generator.stored_as).fetch_one(self.pool()).await?;
            if is_ahead {
                ahead.push(generator.stored_as);
            }
        }
        Ok(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_jumps_over_contiguous_ids() {
        let ids = [5, 6, 7, 9, 10].into();
        assert_eq!(settle(5, &ids), (7, vec![9, 10]));
        assert_eq!(settle(8, &ids), (10, vec![]));
        assert_eq!(settle(3, &ids), (3, vec![5, 6, 7, 9, 10]));
    }

    #[test]
    fn each_stream_of_the_database_has_one_generator() {
        let streams: BTreeSet<_> = GENERATORS.iter().map(|generator| generator.stream).collect();
        assert_eq!(streams.len(), GENERATORS.len());
        assert_eq!(StreamName::ALL.len() - streams.len(), 3);
    }
}
