//! Backups of the keys of encrypted rooms. Answers to `synapse/storage/databases/main/e2e_room_keys.py`.

use crate::{Storage, StorageError};

/// How often a number is tried that another request may take first.
const ATTEMPTS: usize = 5;

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

    /// `add_e2e_room_keys` and `update_e2e_room_key` in one: what is new, and what is better than what was there
    /// (`_should_replace_room_key`). The new etag, if anything changed.
    pub async fn upload_e2e_room_keys(
        &self,
        user_id: &str,
        version: i64,
        keys: &[RoomKey],
    ) -> Result<Option<i64>, StorageError> {
        let row: Option<(i64,)> = sqlx::query_as(
            "WITH written AS (
                 INSERT INTO e2e_room_keys AS known (user_id, version, room_id, session_id, first_message_index,
                     forwarded_count, is_verified, session_data)
                 SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::int[], $6::int[], $7::bool[], $8::text[])
                 ON CONFLICT (user_id, version, room_id, session_id) DO UPDATE SET
                     first_message_index = excluded.first_message_index, forwarded_count = excluded.forwarded_count,
                     is_verified = excluded.is_verified, session_data = excluded.session_data
                 WHERE (excluded.is_verified AND known.is_verified IS NOT TRUE)
                     OR excluded.first_message_index < known.first_message_index
                     OR excluded.forwarded_count < known.forwarded_count
                 RETURNING 1)
             UPDATE e2e_room_keys_versions SET etag = COALESCE(etag, 0) + 1
             WHERE user_id = $1 AND version = $2 AND EXISTS (SELECT FROM written) RETURNING etag",
        )
        .bind(user_id)
        .bind(version)
        .bind(keys.iter().map(|key| key.room_id.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.session_id.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.first_message_index).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.forwarded_count).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.is_verified).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.session_data.as_str()).collect::<Vec<_>>())
        .fetch_optional(self.pool())
        .await?;
        Ok(row.map(|(etag,)| etag))
    }

    /// `delete_e2e_room_keys`: of all rooms, of one, or of one session. The new etag; nothing: there is no such version.
    pub async fn delete_e2e_room_keys(
        &self,
        user_id: &str,
        version: i64,
        room_id: Option<&str>,
        session_id: Option<&str>,
    ) -> Result<Option<i64>, StorageError> {
        let row: Option<(i64,)> = sqlx::query_as(
            "WITH gone AS (
                 DELETE FROM e2e_room_keys WHERE user_id = $1 AND version = $2
                     AND ($3::text IS NULL OR room_id = $3) AND ($4::text IS NULL OR session_id = $4)
                     AND EXISTS (SELECT FROM e2e_room_keys_versions AS v
                         WHERE v.user_id = $1 AND v.version = $2 AND v.deleted = 0))
             UPDATE e2e_room_keys_versions SET etag = COALESCE(etag, 0) + 1
             WHERE user_id = $1 AND version = $2 AND deleted = 0 RETURNING etag",
        )
        .bind(user_id)
        .bind(version)
        .bind(room_id)
        .bind(session_id)
        .fetch_optional(self.pool())
        .await?;
        Ok(row.map(|(etag,)| etag))
    }

    /// `create_e2e_room_keys_version`: its number; nothing when others took every number that was tried.
    pub async fn create_e2e_room_keys_version(
        &self,
        user_id: &str,
        algorithm: &str,
        auth_data: &str,
    ) -> Result<Option<i64>, StorageError> {
        for _ in 0..ATTEMPTS {
            // What makes the number its own is the table's unique index.
            let added: Option<(i64,)> = sqlx::query_as(
                "INSERT INTO e2e_room_keys_versions (user_id, version, algorithm, auth_data)
                 SELECT $1, COALESCE(max(version), 0) + 1, $2, $3 FROM e2e_room_keys_versions WHERE user_id = $1
                 ON CONFLICT DO NOTHING RETURNING version",
            )
            .bind(user_id)
            .bind(algorithm)
            .bind(auth_data)
            .fetch_optional(self.pool())
            .await?;
            if let Some((version,)) = added {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    /// `update_e2e_room_keys_version`, of the version's `auth_data`.
    pub async fn update_e2e_room_keys_version(
        &self,
        user_id: &str,
        version: i64,
        auth_data: &str,
    ) -> Result<(), StorageError> {
        sqlx::query("UPDATE e2e_room_keys_versions SET auth_data = $3 WHERE user_id = $1 AND version = $2")
            .bind(user_id)
            .bind(version)
            .bind(auth_data)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// `delete_e2e_room_keys_version`, and its keys; whether there ever was such a version.
    pub async fn delete_e2e_room_keys_version(&self, user_id: &str, version: i64) -> Result<bool, StorageError> {
        let row: Option<(i32,)> = sqlx::query_as(
            "WITH gone AS (DELETE FROM e2e_room_keys WHERE user_id = $1 AND version = $2)
             UPDATE e2e_room_keys_versions SET deleted = 1 WHERE user_id = $1 AND version = $2 RETURNING 1",
        )
        .bind(user_id)
        .bind(version)
        .fetch_optional(self.pool())
        .await?;
        Ok(row.is_some())
    }
}
