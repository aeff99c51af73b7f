//! Profiles of local users, and who is to hear of their changes. Answers to
//! `synapse/storage/databases/main/profile.py`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::{Storage, StorageError};

/// Field names to values, as JSON. A field that is not set is missing.
pub type Profile = BTreeMap<String, Box<RawValue>>;

/// Something that happened to a user's profile, or to whether others see it.
#[derive(Clone, Debug)]
pub struct ProfileUpdate {
    pub user_id: Arc<str>,
    /// `update`, `joined_room` or `left_room`.
    pub action: String,
    /// Of an update.
    pub affected_fields: Vec<String>,
}

impl Storage {
    /// `get_profile_updates_for_user_and_fields`: what in (`lower`, `upper`] the user is to hear of, oldest first.
    pub async fn get_profile_updates_for_user_and_fields(
        &self,
        (lower, upper): (i64, i64),
        user_id: &str,
        field_names: &[String],
    ) -> Result<Vec<ProfileUpdate>, StorageError> {
        if lower >= upper || field_names.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<(String, String, Option<String>)> = sqlx::query_as(
            "SELECT u.user_id, u.action, u.affected_fields::text
             FROM profile_updates AS u JOIN profile_updates_per_user AS p USING (stream_id)
             WHERE u.stream_id > $1 AND u.stream_id <= $2 AND p.user_id = $3 AND (u.action <> 'update' OR EXISTS (
                 SELECT FROM jsonb_array_elements_text(u.affected_fields) AS f(name) WHERE f.name = ANY($4)))
             ORDER BY u.stream_id",
        )
        .bind(lower)
        .bind(upper)
        .bind(user_id)
        .bind(field_names)
        .fetch_all(self.pool())
        .await?;
        let update = |(user_id, action, fields): (String, String, Option<String>)| ProfileUpdate {
            user_id: user_id.into(),
            action,
            affected_fields: fields.and_then(|fields| serde_json::from_str(&fields).ok()).unwrap_or_default(),
        };
        Ok(rows.into_iter().map(update).collect())
    }

    /// `get_profile_data_for_users`. Users without a profile are left out.
    pub async fn get_profile_data_for_users(
        &self,
        user_ids: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, Profile>, StorageError> {
        type Row = (String, Option<String>, Option<String>, Option<String>);
        if user_ids.is_empty() {
            return Ok(HashMap::new());
        }
        let user_ids: Vec<&str> = user_ids.iter().map(|user_id| &**user_id).collect();
        // Names become JSON here, as the other fields are.
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT full_user_id, to_jsonb(displayname)::text, to_jsonb(avatar_url)::text, fields::text
             FROM profiles WHERE full_user_id = ANY($1)",
        )
        .bind(user_ids)
        .fetch_all(self.pool())
        .await?;
        let mut profiles = HashMap::new();
        for (user_id, displayname, avatar_url, fields) in rows {
            let mut profile: Profile = fields.and_then(|fields| serde_json::from_str(&fields).ok()).unwrap_or_default();
            for (name, value) in [("displayname", displayname), ("avatar_url", avatar_url)] {
                if let Some(value) = value.and_then(|value| RawValue::from_string(value).ok()) {
                    profile.insert(name.to_owned(), value);
                }
            }
            profiles.insert(Arc::from(user_id), profile);
        }
        Ok(profiles)
    }
}
