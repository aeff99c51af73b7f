//! Backups of the keys of encrypted rooms. Answers to the reads in `synapse/storage/databases/main/e2e_room_keys.py`.

use crate::{Storage, StorageError};

/// One version of a user's backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupVersion {
    pub version: i64,
    pub algorithm: String,
    /// JSON.
    pub auth_data: String,
    pub etag: i64,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomKey {
    pub room_id: String,
    pub session_id: String,
    pub first_message_index: Option<i32>,
    pub forwarded_count: Option<i32>,
    pub is_verified: bool,
    /// JSON.
    pub session_data: String,
}

impl Storage {
    /// `get_e2e_room_keys_version_info`: of a version, or of the latest; deleted ones are none.
    pub async fn get_e2e_room_keys_version_info(
        &self,
        user_id: &str,
        version: Option<i64>,
    ) -> Result<Option<BackupVersion>, StorageError> {
        let row: Option<(i64, String, String, Option<i64>)> = sqlx::query_as(
            "SELECT version, algorithm, auth_data, etag FROM e2e_room_keys_versions
             WHERE user_id = $1 AND deleted = 0 AND ($2::bigint IS NULL OR version = $2)
             ORDER BY version DESC LIMIT 1",
        )
        .bind(user_id)
        .bind(version)
        .fetch_optional(self.pool())
        .await?;
        let info = |(version, algorithm, auth_data, etag): (i64, String, String, Option<i64>)| BackupVersion {
            version,
            algorithm,
            auth_data,
            etag: etag.unwrap_or_default(),
        };
        Ok(row.map(info))
    }

    /// `count_e2e_room_keys`
    pub async fn count_e2e_room_keys(&self, user_id: &str, version: i64) -> Result<i64, StorageError> {
        let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM e2e_room_keys WHERE user_id = $1 AND version = $2")
            .bind(user_id)
            .bind(version)
            .fetch_one(self.pool())
            .await?;
        Ok(count)
    }

    /// `get_e2e_room_keys`: of all rooms, of one, or of one session.
    pub async fn get_e2e_room_keys(
        &self,
        user_id: &str,
        version: i64,
        room_id: Option<&str>,
        session_id: Option<&str>,
    ) -> Result<Vec<RoomKey>, StorageError> {
        type Row = (String, String, Option<i32>, Option<i32>, Option<bool>, String);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data
             FROM e2e_room_keys WHERE user_id = $1 AND version = $2
                 AND ($3::text IS NULL OR room_id = $3) AND ($4::text IS NULL OR session_id = $4)",
        )
        .bind(user_id)
        .bind(version)
        .bind(room_id)
        .bind(session_id)
        .fetch_all(self.pool())
        .await?;
        let key =
            |(room_id, session_id, first_message_index, forwarded_count, is_verified, session_data): Row| RoomKey {
                room_id,
                session_id,
                first_message_index,
                forwarded_count,
                is_verified: is_verified.unwrap_or_default(),
                session_data,
            };
        Ok(rows.into_iter().map(key).collect())
    }
}
