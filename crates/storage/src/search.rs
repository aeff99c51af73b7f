//! Words in messages. Answers to `synapse/storage/databases/main/search.py`.

use std::sync::Arc;

use crate::{Storage, StorageError};

/// Synapse's own bound of what is looked at in the order of rank.
const MAX_BY_RANK: i64 = 500;

/// What is searched, and where.
#[derive(Clone, Copy, Debug)]
pub struct SearchQuery<'a> {
    /// As people write queries: `websearch_to_tsquery`.
    pub term: &'a str,
    pub room_ids: &'a [Arc<str>],
    /// `content.body`, `content.name`, `content.topic`
    pub keys: &'a [String],
}

/// An event that matches.
#[derive(Clone, Debug)]
pub struct SearchHit {
    pub event_id: Arc<str>,
    pub rank: f64,
    /// Milliseconds; very old rows have none.
    pub origin_server_ts: Option<i64>,
    pub stream_ordering: Option<i64>,
}

/// Rank as text: Python prints the digits of Postgres' short floats. The last column counts all that match.
type Row = (Option<String>, Option<String>, Option<i64>, Option<i64>, i64);

fn hits(rows: Vec<Row>) -> (Vec<SearchHit>, i64) {
    let count = rows.first().map_or(0, |row| row.4);
    let hit = |(event_id, rank, origin_server_ts, stream_ordering, _): Row| {
        let rank = rank?.parse().unwrap_or_default();
        Some(SearchHit { event_id: event_id?.into(), rank, origin_server_ts, stream_ordering })
    };
    (rows.into_iter().filter_map(hit).collect(), count)
}

impl Storage {
    /// `search_msgs`: the best first, and how many match.
    pub async fn search_msgs(&self, query: &SearchQuery<'_>) -> Result<(Vec<SearchHit>, i64), StorageError> {
        let room_ids: Vec<&str> = query.room_ids.iter().map(|id| &**id).collect();
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT event_id, rank::text, NULL::bigint, NULL::bigint, count FROM (
                 SELECT event_id, ts_rank_cd(vector, websearch_to_tsquery('english', $1)) AS rank,
                     count(*) OVER () AS count
                 FROM event_search
                 WHERE vector @@ websearch_to_tsquery('english', $1) AND room_id = ANY($2) AND key = ANY($3)
                 ORDER BY rank DESC LIMIT $4
             ) AS best",
        )
        .bind(query.term)
        .bind(room_ids)
        .bind(query.keys)
        .bind(MAX_BY_RANK)
        .fetch_all(self.pool())
        .await?;
        Ok(hits(rows))
    }

    /// `search_rooms`: the newest first, and how many match at all. `before`: only what is older than this time of
    /// origin and place in the stream.
    pub async fn search_rooms(
        &self,
        query: &SearchQuery<'_>,
        before: Option<(i64, i64)>,
        limit: i64,
    ) -> Result<(Vec<SearchHit>, i64), StorageError> {
        let room_ids: Vec<&str> = query.room_ids.iter().map(|id| &**id).collect();
        let (before_ts, before_stream) = before.unzip();
        let rows: Vec<Row> = sqlx::query_as(
            "WITH matches AS (
                 SELECT event_id, vector, origin_server_ts, stream_ordering FROM event_search
                 WHERE vector @@ websearch_to_tsquery('english', $1) AND room_id = ANY($2) AND key = ANY($3)
             )
             SELECT m.event_id, ts_rank_cd(m.vector, websearch_to_tsquery('english', $1))::text,
                 m.origin_server_ts, m.stream_ordering, c.count
             FROM (SELECT count(*) AS count FROM matches) AS c
             LEFT JOIN (
                 SELECT * FROM matches
                 WHERE $4::bigint IS NULL OR origin_server_ts < $4
                     OR (origin_server_ts = $4 AND stream_ordering < $5::bigint)
                 ORDER BY origin_server_ts DESC NULLS LAST, stream_ordering DESC NULLS LAST LIMIT $6
             ) AS m ON TRUE
             ORDER BY m.origin_server_ts DESC NULLS LAST, m.stream_ordering DESC NULLS LAST",
        )
        .bind(query.term)
        .bind(room_ids)
        .bind(query.keys)
        .bind(before_ts)
        .bind(before_stream)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(hits(rows))
    }

    /// `_find_highlights_in_postgres`: `ts_headline` of each text, with its options.
    pub async fn search_headlines(
        &self,
        term: &str,
        values: &[String],
        options: &[String],
    ) -> Result<Vec<String>, StorageError> {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT ts_headline(v.value, websearch_to_tsquery('english', $1), v.options)
             FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS v(value, options, n) ORDER BY v.n",
        )
        .bind(term)
        .bind(values)
        .bind(options)
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|(headline,)| headline).collect())
    }
}
