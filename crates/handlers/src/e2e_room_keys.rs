//! Backups of the keys of encrypted rooms. Answers to the reads in `synapse/handlers/e2e_room_keys.py`.

use std::collections::BTreeMap;

use myelin_model::MatrixError;
use myelin_storage::e2e_room_keys::RoomKey;
use serde_json::{Value, json};

use crate::{Handlers, Result};

impl Handlers {
    /// `get_version_info`: of a version, or of the latest.
    pub async fn room_keys_version(&self, user_id: &str, version: Option<i64>) -> Result<Value> {
        let info = self.storage.get_e2e_room_keys_version_info(user_id, version).await?;
        let info = info.ok_or_else(|| MatrixError::not_found("No backup found"))?;
        let count = self.storage.count_e2e_room_keys(user_id, info.version).await?;
        let auth_data: Value = serde_json::from_str(&info.auth_data).map_err(MatrixError::internal)?;
        Ok(json!({
            "auth_data": auth_data,
            "version": info.version.to_string(),
            "algorithm": info.algorithm,
            "etag": info.etag.to_string(),
            "count": count,
        }))
    }

    /// `get_room_keys`, as JSON: of all rooms, of one, or of one session. No `version`: what was given is no number.
    pub async fn room_keys(
        &self,
        user_id: &str,
        version: Option<i64>,
        room_id: Option<&str>,
        session_id: Option<&str>,
    ) -> Result<Vec<u8>> {
        let unknown = || MatrixError::not_found("Unknown backup version");
        let version = version.ok_or_else(unknown)?;
        self.storage.get_e2e_room_keys_version_info(user_id, Some(version)).await?.ok_or_else(unknown)?;
        let keys = self.storage.get_e2e_room_keys(user_id, version, room_id, session_id).await?;
        if session_id.is_some() {
            let key = keys.first().ok_or_else(|| MatrixError::not_found("No room_keys found"))?;
            return Ok(session(key).into_bytes());
        }
        if room_id.is_some() {
            return Ok(sessions(keys.iter()).into_bytes());
        }
        let mut rooms: BTreeMap<&str, Vec<&RoomKey>> = BTreeMap::new();
        for key in &keys {
            rooms.entry(&key.room_id).or_default().push(key);
        }
        let rooms: Vec<String> =
            rooms.into_iter().map(|(room_id, keys)| format!("{}:{}", json!(room_id), sessions(keys))).collect();
        Ok(format!(r#"{{"rooms":{{{}}}}}"#, rooms.join(",")).into_bytes())
    }
}

fn sessions<'a>(keys: impl IntoIterator<Item = &'a RoomKey>) -> String {
    let keys: Vec<String> = keys.into_iter().map(|key| format!("{}:{}", json!(key.session_id), session(key))).collect();
    format!(r#"{{"sessions":{{{}}}}}"#, keys.join(","))
}

/// What the client uploaded is copied as it is.
fn session(key: &RoomKey) -> String {
    format!(
        r#"{{"first_message_index":{},"forwarded_count":{},"is_verified":{},"session_data":{}}}"#,
        json!(key.first_message_index),
        json!(key.forwarded_count),
        key.is_verified,
        key.session_data
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_objects() {
        let key = RoomKey {
            room_id: "!r".to_owned(),
            session_id: "a\"b".to_owned(),
            first_message_index: Some(1),
            forwarded_count: None,
            is_verified: true,
            session_data: r#"{"x":1.0}"#.to_owned(),
        };
        let told: Value = serde_json::from_str(&sessions([&key])).unwrap();
        let wanted = json!({"first_message_index": 1, "forwarded_count": null, "is_verified": true,
            "session_data": {"x": 1.0}});
        assert_eq!(told["sessions"]["a\"b"].to_string(), wanted.to_string());
        assert_eq!(sessions([]), r#"{"sessions":{}}"#);
    }
}
