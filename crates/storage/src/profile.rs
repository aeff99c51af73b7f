//! Profiles. Answers to `synapse/storage/databases/main/profile.py`.

use crate::{Storage, StorageError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub displayname: Option<String>,
    pub avatar_url: Option<String>,
    /// What else users say of themselves: a JSON object.
    pub fields: Option<String>,
}

impl Storage {
    /// `get_profileinfo` and `get_profile_fields` in one.
    pub async fn get_profile(&self, user_id: &str) -> Result<Option<Profile>, StorageError> {
        let row: Option<(Option<String>, Option<String>, Option<String>)> =
            sqlx::query_as("SELECT displayname, avatar_url, fields::text FROM profiles WHERE full_user_id = $1")
                .bind(user_id)
                .fetch_optional(self.pool())
                .await?;
        Ok(row.map(|(displayname, avatar_url, fields)| Profile { displayname, avatar_url, fields }))
    }

    /// `get_profile_field`: JSON, if there is such a field.
    pub async fn get_profile_field(&self, localpart: &str, name: &str) -> Result<Option<String>, StorageError> {
        let row: Option<(String,)> =
            sqlx::query_as("SELECT (fields -> $2)::text FROM profiles WHERE user_id = $1 AND jsonb_exists(fields, $2)")
                .bind(localpart)
                .bind(name)
                .fetch_optional(self.pool())
                .await?;
        Ok(row.map(|(value,)| value))
    }
}
