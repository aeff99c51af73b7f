//! Which events entitled which. Answers to `get_auth_chain_ids` in
//! `synapse/storage/databases/main/event_federation.py`.
//!
//! Synapse walks its chain cover index where a room has one, and else `event_auth`, over and over; both lead to the
//! same events. Here the edges of `event_auth` are loaded once, with all that they lead to, and walked in memory: most
//! of a room's auth chain is common to all of its events, and an event's edges never change.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::{Storage, StorageError};

type Edges = HashMap<Arc<str>, Arc<[Arc<str>]>>;

impl Storage {
    /// `get_auth_chain_ids`: every event that entitled one of `event_ids`, directly or not. With `include_given` these
    /// too.
    pub async fn get_auth_chain_ids(
        &self,
        event_ids: &[Arc<str>],
        include_given: bool,
    ) -> Result<Vec<Arc<str>>, StorageError> {
        let mut chain = if include_given { event_ids.to_vec() } else { Vec::new() };
        let mut seen: HashSet<Arc<str>> = chain.iter().cloned().collect();
        let mut front = event_ids.to_vec();
        while !front.is_empty() {
            // The load brings whole chains at once, so that each further round is answered by the cache.
            let edges = self.caches().event_auth.get_list(&front, self, Self::load_auth_edges).await?;
            front.clear();
            for auth_event_id in edges.iter().flatten().flat_map(|auth| auth.iter()) {
                if !seen.contains(auth_event_id) {
                    seen.insert(Arc::clone(auth_event_id));
                    front.push(Arc::clone(auth_event_id));
                }
            }
            chain.extend(front.iter().cloned());
        }
        Ok(chain)
    }

    /// The edges of these events, and of all that they lead to.
    async fn load_auth_edges(self, event_ids: Vec<Arc<str>>) -> Result<Edges, StorageError> {
        let ids: Vec<&str> = event_ids.iter().map(|id| &**id).collect();
        let rows: Vec<(String, Vec<String>)> = sqlx::query_as(
            "WITH RECURSIVE chain(event_id) AS (
                 SELECT unnest($1::text[])
                 UNION
                 SELECT a.auth_id FROM chain AS c JOIN event_auth AS a ON a.event_id = c.event_id
             )
             SELECT c.event_id, ARRAY(
                 SELECT a.auth_id FROM event_auth AS a JOIN events AS e ON e.event_id = a.auth_id
                 WHERE a.event_id = c.event_id)
             FROM chain AS c",
        )
        .bind(ids)
        .fetch_all(self.pool())
        .await?;
        let texts = self.texts();
        let share = |(event_id, auth): (String, Vec<String>)| {
            (texts.share(&event_id), auth.iter().map(|id| texts.share(id)).collect::<Arc<[Arc<str>]>>())
        };
        let edges: Edges = rows.into_iter().map(share).collect();
        let cache = self.caches().event_auth.cache();
        for (event_id, auth) in &edges {
            cache.insert(Arc::clone(event_id), Arc::clone(auth));
        }
        Ok(edges)
    }
}
