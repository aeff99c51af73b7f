//! Keys of other servers. Answers to `synapse/storage/databases/main/keys.py`.

use std::sync::Arc;

use hashbrown::HashMap;
use myelin_caches::Registry;
use myelin_model::signing::{PublicKey, decode_key};
use serde::Deserialize;

use crate::{CacheSizes, Loader, Storage, StorageError};

/// Server and id of the key.
pub type ServerKeyId = (Arc<str>, Arc<str>);

/// `FetchKeyResult`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerKey {
    pub key: PublicKey,
    /// Milliseconds since the epoch.
    pub valid_until_ts: i64,
}

/// `FetchKeyResultForRemote`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// What the server said, with its signature.
    pub key_json: Vec<u8>,
    /// Milliseconds since the epoch.
    pub valid_until_ts: i64,
    pub added_ts: i64,
}

/// A key as a server told of it.
#[derive(Clone, Copy, Debug)]
pub struct NewServerKey<'a> {
    pub id: &'a str,
    pub key: ServerKey,
}

pub(crate) type ServerKeys = Arc<Loader<ServerKeyId, ServerKey>>;

pub(crate) fn server_keys(sizes: &CacheSizes, registry: &Registry) -> ServerKeys {
    const ENTRY: usize = 200;
    let keys: ServerKeys =
        Arc::new(Loader::new(sizes.bytes(8 << 20), |(server, id): &ServerKeyId, _| server.len() + id.len() + ENTRY));
    let (cache, watched) = (Arc::clone(&keys), Arc::clone(&keys));
    registry.watch("_get_server_keys_json", move || watched.cache().stats());
    registry.register("_get_server_keys_json", move |names| {
        // One name for both parts, as only texts are sent: a JSON list.
        let parts = names.and_then(|names| serde_json::from_str::<(String, String)>(names.first()?).ok());
        match parts {
            Some((server, id)) => cache.invalidate(&(server.into(), id.into())),
            None => cache.clear(),
        }
    });
    keys
}

#[derive(Deserialize)]
struct KeyJson {
    verify_keys: HashMap<String, VerifyKey>,
}

#[derive(Deserialize)]
struct VerifyKey {
    key: String,
}

/// What a server said of its key, unless that is one which it no longer signs with.
fn parse(id: &str, key_json: &[u8]) -> Option<PublicKey> {
    let json: KeyJson = serde_json::from_slice(key_json).ok()?;
    decode_key(&json.verify_keys.get(id)?.key)
}

impl Storage {
    /// `get_server_keys_json`: the keys that are known, valid or not, by id.
    pub async fn get_server_keys_json(
        &self,
        server: &Arc<str>,
        ids: &[Arc<str>],
    ) -> Result<HashMap<ServerKeyId, ServerKey>, StorageError> {
        let keys = ids.iter().map(|id| (Arc::clone(server), Arc::clone(id)));
        self.0.server_keys.get_many(keys, self, Self::load_server_keys).await
    }

    async fn load_server_keys(self, keys: Vec<ServerKeyId>) -> Result<HashMap<ServerKeyId, ServerKey>, StorageError> {
        type Row = (String, String, Vec<u8>, Option<i64>);
        let (servers, ids): (Vec<&str>, Vec<&str>) = keys.iter().map(|(server, id)| (&**server, &**id)).unzip();
        // There is a row for each server that was asked; the latest counts.
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT DISTINCT ON (k.server_name, k.key_id) k.server_name, k.key_id, k.key_json, k.ts_valid_until_ms
             FROM unnest($1::text[], $2::text[]) AS wanted (server_name, key_id)
             JOIN server_keys_json AS k USING (server_name, key_id)
             ORDER BY k.server_name, k.key_id, k.ts_added_ms DESC",
        )
        .bind(servers)
        .bind(ids)
        .fetch_all(self.pool())
        .await?;
        let found = rows.into_iter().filter_map(|(server, id, json, valid_until_ts)| {
            let key = ServerKey { key: parse(&id, &json)?, valid_until_ts: valid_until_ts.unwrap_or_default() };
            Some(((server.into(), id.into()), key))
        });
        Ok(found.collect())
    }

    /// `get_server_keys_json_for_remote` and `get_all_server_keys_json_for_remote`: those `ids`, or all, as they came.
    pub async fn get_server_keys_json_for_remote(
        &self,
        server: &str,
        ids: Option<&[&str]>,
    ) -> Result<HashMap<String, StoredKey>, StorageError> {
        let rows: Vec<(String, Vec<u8>, Option<i64>, i64)> = sqlx::query_as(
            "SELECT DISTINCT ON (key_id) key_id, key_json, ts_valid_until_ms, ts_added_ms FROM server_keys_json
             WHERE server_name = $1 AND ($2::text[] IS NULL OR key_id = ANY($2))
             ORDER BY key_id, ts_added_ms DESC",
        )
        .bind(server)
        .bind(ids)
        .fetch_all(self.pool())
        .await?;
        let key = |(id, key_json, valid_until_ts, added_ts): (String, Vec<u8>, Option<i64>, i64)| {
            (id, StoredKey { key_json, valid_until_ts: valid_until_ts.unwrap_or_default(), added_ts })
        };
        Ok(rows.into_iter().map(key).collect())
    }

    /// `store_server_keys_response`: `keys` of `server`, as `from_server` told of them in `response`, which is canonical
    /// JSON.
    pub async fn store_server_keys_response(
        &self,
        server: &str,
        from_server: &str,
        now_ms: i64,
        keys: &[NewServerKey<'_>],
        response: &[u8],
    ) -> Result<(), StorageError> {
        let mut keys = keys.to_vec();
        // In one order everywhere, so that two writers do not wait for each other.
        keys.sort_by_key(|key| key.id);
        let turn = self.invalidating("_get_server_keys_json", now_ms).await;
        let name = |id: &str| serde_json::Value::from(vec![server, id]).to_string();
        let rows: Vec<(i64, String, Vec<String>)> = sqlx::query_as(
            "WITH given AS (
                 SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::text[])
                     AS k(key_id, valid_until, verify_key, name)
             ), keys AS (
                 INSERT INTO server_signature_keys
                     (server_name, key_id, from_server, ts_added_ms, ts_valid_until_ms, verify_key)
                 SELECT $5, key_id, $6, $7, valid_until, verify_key FROM given
                 ON CONFLICT (server_name, key_id) DO UPDATE
                     SET from_server = excluded.from_server, ts_added_ms = excluded.ts_added_ms,
                         ts_valid_until_ms = excluded.ts_valid_until_ms, verify_key = excluded.verify_key
             ), responses AS (
                 INSERT INTO server_keys_json
                     (server_name, key_id, from_server, ts_added_ms, ts_valid_until_ms, key_json)
                 SELECT $5, key_id, $6, $7, valid_until, $8 FROM given
                 ON CONFLICT (server_name, key_id, from_server) DO UPDATE
                     SET ts_added_ms = excluded.ts_added_ms, ts_valid_until_ms = excluded.ts_valid_until_ms,
                         key_json = excluded.key_json
             ), stale AS (
                 SELECT '_get_server_keys_json' AS cache_func, ARRAY[name] AS keys FROM given
                 UNION ALL SELECT 'get_server_key_json_for_remote', ARRAY[$5, key_id] FROM given)
             INSERT INTO cache_invalidation_stream_by_instance
                 (stream_id, instance_name, cache_func, keys, invalidation_ts)
             SELECT nextval('cache_invalidation_stream_seq'), $9, cache_func, keys, $7 FROM stale
             RETURNING stream_id, cache_func, keys",
        )
        .bind(keys.iter().map(|key| key.id).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.key.valid_until_ts).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| &key.key.key[..]).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| name(key.id)).collect::<Vec<_>>())
        .bind(server)
        .bind(from_server)
        .bind(now_ms)
        .bind(response)
        .bind(turn.instance())
        .fetch_all(self.pool())
        .await?;
        let function = |name: &str| if name.starts_with('_') { "_get_server_keys_json" } else { FOR_REMOTE };
        turn.done_of(rows.into_iter().map(|(position, name, keys)| (position, function(&name), keys)).collect()).await;
        Ok(())
    }
}

/// Cached elsewhere, not here.
const FOR_REMOTE: &str = "get_server_key_json_for_remote";
