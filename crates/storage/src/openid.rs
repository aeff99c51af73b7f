//! Tokens by which a user proves to others who they are. Answers to `synapse/storage/databases/main/openid.py`.

use crate::{Storage, StorageError};

impl Storage {
    /// `get_user_id_for_open_id_token`, unless it expired.
    pub async fn get_user_id_for_open_id_token(
        &self,
        token: &str,
        now_ms: i64,
    ) -> Result<Option<String>, StorageError> {
        let row: Option<(String,)> =
            sqlx::query_as("SELECT user_id FROM open_id_tokens WHERE token = $1 AND $2 <= ts_valid_until_ms")
                .bind(token)
                .bind(now_ms)
                .fetch_optional(self.pool())
                .await?;
        Ok(row.map(|(user_id,)| user_id))
    }
}
