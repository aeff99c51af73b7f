//! Device keys and cross-signing keys as clients ask for them. Answers to the reads for the client API in
//! `synapse/storage/databases/main/end_to_end_keys.py` and to `get_user_devices_from_cache` in `devices.py`.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Storage, StorageError, slot};

/// The keys of one device, as JSON text, and what goes into the answer beside them.
#[derive(Clone, Debug)]
pub struct DeviceKeys {
    pub user_id: String,
    pub device_id: String,
    pub display_name: Option<String>,
    pub key_json: String,
    /// Key ids and signatures that the owner made later.
    pub signatures: Vec<(String, String)>,
}

/// `master`, `self_signing` and `user_signing`, each with its latest key.
pub type CrossSigningKeys = Arc<BTreeMap<String, CrossSigningKey>>;

#[derive(Clone, Debug)]
pub struct CrossSigningKey {
    pub json: Box<RawValue>,
    /// The key itself, by which signatures name it.
    pub public: String,
}

impl CrossSigningKey {
    fn parse(json: String) -> Option<Self> {
        #[derive(Deserialize)]
        struct Keys {
            keys: BTreeMap<String, String>,
        }
        let public = serde_json::from_str::<Keys>(&json).ok()?.keys.into_values().next_back()?;
        Some(Self { json: RawValue::from_string(json).ok()?, public })
    }
}

/// A signature on a cross-signing key.
#[derive(Clone, Debug)]
pub struct KeySignature {
    pub key_id: String,
    pub signature: String,
}

impl Storage {
    /// `get_e2e_device_keys_and_signatures`: of all devices of `user_ids`, and of these `devices` (user, device).
    pub async fn get_e2e_device_keys_and_signatures(
        &self,
        user_ids: &[&str],
        devices: &[(&str, &str)],
    ) -> Result<Vec<DeviceKeys>, StorageError> {
        type Row = (String, String, Option<String>, String, Option<Vec<String>>, Option<Vec<String>>);
        if user_ids.is_empty() && devices.is_empty() {
            return Ok(Vec::new());
        }
        let (users, device_ids): (Vec<&str>, Vec<&str>) = devices.iter().copied().unzip();
        // A list of users and a list of devices, so that either is an index look-up.
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT k.user_id, k.device_id, d.display_name, k.key_json, s.key_ids, s.signatures
             FROM (
                 SELECT user_id, device_id, key_json FROM e2e_device_keys_json WHERE user_id = ANY($1)
                 UNION
                 SELECT user_id, device_id, key_json FROM e2e_device_keys_json
                 JOIN unnest($2::text[], $3::text[]) AS w(user_id, device_id) USING (user_id, device_id)
             ) AS k
             JOIN devices AS d USING (user_id, device_id)
             CROSS JOIN LATERAL (
                 SELECT array_agg(key_id) AS key_ids, array_agg(signature) AS signatures
                 FROM e2e_cross_signing_signatures
                 WHERE target_user_id = k.user_id AND target_device_id = k.device_id AND user_id = k.user_id
             ) AS s
             WHERE NOT d.hidden",
        )
        .bind(user_ids)
        .bind(users)
        .bind(device_ids)
        .fetch_all(self.pool())
        .await?;
        let keys = |(user_id, device_id, display_name, key_json, key_ids, signatures): Row| DeviceKeys {
            user_id,
            device_id,
            display_name,
            key_json,
            signatures: key_ids.unwrap_or_default().into_iter().zip(signatures.unwrap_or_default()).collect(),
        };
        Ok(rows.into_iter().map(keys).collect())
    }

    /// `_get_bare_e2e_cross_signing_keys_bulk`: users without keys have none.
    pub async fn get_bare_e2e_cross_signing_keys(
        &self,
        user_ids: impl IntoIterator<Item = Arc<str>>,
    ) -> Result<HashMap<Arc<str>, CrossSigningKeys>, StorageError> {
        let load = |storage: Self, user_ids: Vec<Arc<str>>| async move {
            let ids: Vec<&str> = user_ids.iter().map(|id| &**id).collect();
            let rows: Vec<(String, String, String)> = sqlx::query_as(
                "SELECT DISTINCT ON (user_id, keytype) user_id, keytype, keydata FROM e2e_cross_signing_keys
                 WHERE user_id = ANY($1) ORDER BY user_id, keytype, stream_id DESC",
            )
            .bind(ids)
            .fetch_all(storage.pool())
            .await?;
            let mut found: HashMap<String, BTreeMap<String, CrossSigningKey>> = HashMap::new();
            for (user_id, keytype, keydata) in rows {
                let key = CrossSigningKey::parse(keydata)
                    .ok_or_else(|| StorageError::inconsistency("e2e_cross_signing_keys", "keydata", &*user_id))?;
                found.entry(user_id).or_default().insert(keytype, key);
            }
            let of = |id: Arc<str>| {
                let keys = Arc::new(found.remove(&*id).unwrap_or_default());
                (id, keys)
            };
            Ok::<_, StorageError>(user_ids.into_iter().map(of).collect())
        };
        self.users().cross_signing_keys.get_many(user_ids, self, load).await
    }

    /// `_get_e2e_cross_signing_signatures_txn`: the signatures that `from_user_id` made on keys, each named by its
    /// owner and its public part; in the order of `keys`.
    pub async fn get_e2e_cross_signing_signatures(
        &self,
        from_user_id: &str,
        keys: &[(Arc<str>, String)],
    ) -> Result<Vec<Vec<KeySignature>>, StorageError> {
        let mut found = vec![Vec::new(); keys.len()];
        if keys.is_empty() {
            return Ok(found);
        }
        let (users, devices): (Vec<&str>, Vec<&str>) = keys.iter().map(|(user, key)| (&**user, key.as_str())).unzip();
        let rows: Vec<(i64, String, String)> = sqlx::query_as(
            "SELECT w.n, s.key_id, s.signature
             FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS w(user_id, device_id, n)
             JOIN e2e_cross_signing_signatures AS s
                 ON s.user_id = $1 AND s.target_user_id = w.user_id AND s.target_device_id = w.device_id",
        )
        .bind(from_user_id)
        .bind(users)
        .bind(devices)
        .fetch_all(self.pool())
        .await?;
        for (n, key_id, signature) in rows {
            if let Some(list) = slot(&mut found, n) {
                list.push(KeySignature { key_id, signature });
            }
        }
        Ok(found)
    }

    /// Those of `user_ids`, users of other servers, whose device list is kept here and up to date, and who are still
    /// in a room with us: `get_users_whose_devices_are_cached` and `get_users_server_still_shares_room_with`.
    pub async fn get_users_whose_devices_are_cached(&self, user_ids: &[&str]) -> Result<HashSet<String>, StorageError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT user_id FROM device_lists_remote_extremeties AS e
             WHERE user_id = ANY($1) AND stream_id <> ''
                 AND NOT EXISTS (SELECT FROM device_lists_remote_resync AS r WHERE r.user_id = e.user_id)
                 AND EXISTS (SELECT FROM current_state_events AS c
                     WHERE c.type = 'm.room.member' AND c.membership = 'join' AND c.state_key = e.user_id)",
        )
        .bind(user_ids)
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|(user_id,)| user_id).collect())
    }

    /// `get_cached_devices_for_user`, of many: (user, device, content as JSON).
    pub async fn get_cached_devices_for_users(
        &self,
        user_ids: &[&str],
    ) -> Result<Vec<(String, String, String)>, StorageError> {
        let rows =
            sqlx::query_as("SELECT user_id, device_id, content FROM device_lists_remote_cache WHERE user_id = ANY($1)")
                .bind(user_ids)
                .fetch_all(self.pool())
                .await?;
        Ok(rows)
    }
}
