//! Backups of the keys of encrypted rooms. Answers to `synapse/handlers/e2e_room_keys.py`.

use std::collections::BTreeMap;

use myelin_model::MatrixError;
use myelin_storage::e2e_room_keys::RoomKey;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::python_text::compact_json;
use crate::{Handlers, Result};

/// What is uploaded. Of anything else Synapse makes an error that is not meant as one.
#[derive(Deserialize)]
pub struct UploadedKeys<'a> {
    #[serde(borrow)]
    rooms: BTreeMap<String, UploadedRoom<'a>>,
}

#[derive(Deserialize)]
struct UploadedRoom<'a> {
    #[serde(borrow)]
    sessions: BTreeMap<String, UploadedSession<'a>>,
}

#[derive(Deserialize)]
struct UploadedSession<'a> {
    first_message_index: i32,
    forwarded_count: i32,
    is_verified: bool,
    #[serde(borrow)]
    session_data: &'a RawValue,
}

impl UploadedKeys<'_> {
    fn into_keys(self) -> Vec<RoomKey> {
        let mut keys = Vec::new();
        for (room_id, room) in self.rooms {
            for (session_id, session) in room.sessions {
                keys.push(RoomKey {
                    room_id: room_id.clone(),
                    session_id,
                    first_message_index: Some(session.first_message_index),
                    forwarded_count: Some(session.forwarded_count),
                    is_verified: session.is_verified,
                    session_data: compact_json(session.session_data.get()),
                });
            }
        }
        keys
    }
}

/// Metadata of a version.
#[derive(Deserialize)]
pub struct UploadedVersion<'a> {
    pub algorithm: String,
    #[serde(borrow, default)]
    pub auth_data: Option<&'a RawValue>,
}

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
        let version = version.ok_or_else(unknown_version)?;
        self.storage.get_e2e_room_keys_version_info(user_id, Some(version)).await?.ok_or_else(unknown_version)?;
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

    /// `upload_room_keys`: etag and count afterwards. Only to the latest version; `version` is what the client called it.
    pub async fn upload_room_keys(
        &self,
        user_id: &str,
        version: &str,
        number: Option<i64>,
        keys: UploadedKeys<'_>,
    ) -> Result<Value> {
        let _turn = self.room_key_uploads.queue(user_id).await;
        let unknown = || MatrixError::not_found(format!("Version '{version}' not found"));
        let latest = self.storage.get_e2e_room_keys_version_info(user_id, None).await?.ok_or_else(unknown)?;
        if latest.version.to_string() != version {
            let number = number.ok_or_else(unknown)?;
            let asked =
                self.storage.get_e2e_room_keys_version_info(user_id, Some(number)).await?.ok_or_else(unknown)?;
            let error = MatrixError::new(403, "M_WRONG_ROOM_KEYS_VERSION", "Wrong room_keys version");
            // Synapse: the version that was asked for, not the current one.
            return Err(error.with("current_version", asked.version.to_string()));
        }
        let keys = keys.into_keys();
        let etag = self.storage.upload_e2e_room_keys(user_id, latest.version, &keys).await?;
        self.etag_and_count(user_id, latest.version, etag.unwrap_or(latest.etag)).await
    }

    /// `delete_room_keys`: of all rooms, of one, or of one session.
    pub async fn delete_room_keys(
        &self,
        user_id: &str,
        version: Option<i64>,
        room_id: Option<&str>,
        session_id: Option<&str>,
    ) -> Result<Value> {
        let version = version.ok_or_else(unknown_version)?;
        let _turn = self.room_key_uploads.queue(user_id).await;
        let etag = self.storage.delete_e2e_room_keys(user_id, version, room_id, session_id).await?;
        self.etag_and_count(user_id, version, etag.ok_or_else(unknown_version)?).await
    }

    async fn etag_and_count(&self, user_id: &str, version: i64, etag: i64) -> Result<Value> {
        let count = self.storage.count_e2e_room_keys(user_id, version).await?;
        Ok(json!({ "etag": etag.to_string(), "count": count }))
    }

    /// `create_version`: its name.
    pub async fn create_room_keys_version(
        &self,
        user_id: &str,
        algorithm: &str,
        auth_data: &RawValue,
    ) -> Result<String> {
        let _turn = self.room_key_uploads.queue(user_id).await;
        let auth_data = compact_json(auth_data.get());
        let version = self.storage.create_e2e_room_keys_version(user_id, algorithm, &auth_data).await?;
        let version = version.ok_or_else(|| MatrixError::internal("other versions of the backup took every number"))?;
        Ok(version.to_string())
    }

    /// `update_version`: its `auth_data`, under the same algorithm.
    pub async fn update_room_keys_version(
        &self,
        user_id: &str,
        version: Option<i64>,
        info: &UploadedVersion<'_>,
    ) -> Result<()> {
        let version = version.ok_or_else(unknown_version)?;
        let _turn = self.room_key_uploads.queue(user_id).await;
        let known = self.storage.get_e2e_room_keys_version_info(user_id, Some(version)).await?;
        if known.ok_or_else(unknown_version)?.algorithm != info.algorithm {
            return Err(MatrixError::invalid_param("Algorithm does not match"));
        }
        if let Some(auth_data) = info.auth_data {
            let auth_data = compact_json(auth_data.get());
            self.storage.update_e2e_room_keys_version(user_id, version, &auth_data).await?;
        }
        Ok(())
    }

    /// `delete_version`, and its keys.
    pub async fn delete_room_keys_version(&self, user_id: &str, version: Option<i64>) -> Result<()> {
        let version = version.ok_or_else(unknown_version)?;
        let _turn = self.room_key_uploads.queue(user_id).await;
        let existed = self.storage.delete_e2e_room_keys_version(user_id, version).await?;
        if existed { Ok(()) } else { Err(unknown_version()) }
    }
}

fn unknown_version() -> MatrixError {
    MatrixError::not_found("Unknown backup version")
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
