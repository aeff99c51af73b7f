//! Profiles of local users. Answers to `synapse/handlers/profile.py` and `synapse/rest/client/profile.py`.

use std::sync::Arc;

use myelin_model::{MatrixError, Requester};
use myelin_replication::http::Repeat;
use myelin_storage::profile::Profile;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Handlers, Result};

/// `MAX_CUSTOM_FIELD_LEN`, in bytes.
const MAX_CUSTOM_FIELD_LEN: usize = 255;
const DISPLAYNAME: &str = "displayname";
const AVATAR_URL: &str = "avatar_url";

/// For the writer of profiles; values stay as the client wrote them.
#[derive(Serialize)]
struct ProfileChange<'a> {
    requester: &'a str,
    field_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_value: Option<&'a RawValue>,
    by_admin: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    propagate: Option<bool>,
}

/// What a profile field may be called.
pub fn check_field_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(MatrixError::invalid_param("Field name too short"));
    }
    if name.len() > MAX_CUSTOM_FIELD_LEN {
        return Err(MatrixError::new(400, "M_KEY_TOO_LARGE", "Field name too long"));
    }
    // Python's `$` also matches before a final line break.
    let plain = name.strip_suffix('\n').unwrap_or(name).as_bytes();
    let is_part = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(byte);
    if !(plain.first().is_some_and(u8::is_ascii_lowercase) && plain.iter().all(is_part)) {
        let error = "Field name does not follow Common Namespaced Identifier Grammar";
        return Err(MatrixError::invalid_param(error));
    }
    Ok(())
}

fn no_profile() -> MatrixError {
    MatrixError::not_found("Profile was not found")
}

impl Handlers {
    /// `check_profile_query_allowed`
    pub async fn check_profile_query_allowed(&self, target: &str, requester: Option<&Requester>) -> Result<()> {
        let Some(requester) = requester else { return Ok(()) };
        if !self.config.profile.limit_to_shared_rooms || &*requester.user_id == target {
            return Ok(());
        }
        let ours = self.storage.get_rooms_for_user(&requester.user_id).await?;
        let theirs = self.storage.get_rooms_for_user(target).await?;
        if ours.is_disjoint(&theirs) {
            return Err(MatrixError::forbidden("Profile isn't available"));
        }
        Ok(())
    }

    /// `get_profile`, of a user of this server: a JSON object.
    pub async fn get_profile(&self, user_id: &str) -> Result<String> {
        let profile = self.profile_of(user_id).await?;
        let profile = profile.ok_or_else(|| MatrixError::unknown(404, "No row found (profiles)"))?;
        if profile.is_empty() {
            return Err(no_profile());
        }
        serde_json::to_string(&profile).map_err(MatrixError::internal)
    }

    /// One field of a local user's profile, in a JSON object; a name or avatar that is not set leaves it empty.
    pub async fn get_profile_field(&self, user_id: &str, name: &str) -> Result<String> {
        let mut profile = self.profile_of(user_id).await?.ok_or_else(no_profile)?;
        profile.retain(|known, _| known == name);
        if profile.is_empty() && !matches!(name, DISPLAYNAME | AVATAR_URL) {
            return Err(no_profile());
        }
        serde_json::to_string(&profile).map_err(MatrixError::internal)
    }

    /// Who is suspended may not.
    pub async fn check_may_change_profile(&self, requester: &Requester) -> Result<()> {
        if self.storage.get_user_by_id(&requester.user_id).await?.is_some_and(|user| user.suspended) {
            let error = "Updating profile while account is suspended is not allowed.";
            return Err(MatrixError::new(403, "M_USER_SUSPENDED", error));
        }
        Ok(())
    }

    /// `dispatch_set_profile_field`: the first writer of events does it, and looks at what is asked.
    /// `propagate`: to the user's memberships.
    pub async fn set_profile_field(
        &self,
        requester: &Requester,
        target: &str,
        field_name: &str,
        new_value: &RawValue,
        propagate: bool,
    ) -> Result<()> {
        let by_admin = self.is_server_admin(requester).await?;
        let change = ProfileChange {
            requester: &requester.user_id,
            field_name,
            new_value: Some(new_value),
            by_admin,
            propagate: Some(propagate),
        };
        self.ask_profile_writer("profile_set_field", target, &change).await
    }

    /// Name and avatar become empty, another field is taken away (`dispatch_delete_profile_field`).
    pub async fn delete_profile_field(
        &self,
        requester: &Requester,
        target: &str,
        field_name: &str,
        propagate: bool,
    ) -> Result<()> {
        if matches!(field_name, DISPLAYNAME | AVATAR_URL) {
            let empty: &RawValue = serde_json::from_str("\"\"").map_err(MatrixError::internal)?;
            return self.set_profile_field(requester, target, field_name, empty, propagate).await;
        }
        let by_admin = self.is_server_admin(requester).await?;
        let requester = &requester.user_id;
        let change = ProfileChange { requester, field_name, new_value: None, by_admin, propagate: None };
        self.ask_profile_writer("profile_delete_field", target, &change).await
    }

    async fn ask_profile_writer(&self, name: &str, target: &str, change: &ProfileChange<'_>) -> Result<()> {
        let writer = self.config.worker.stream_writers.events.first();
        let writer = writer.ok_or_else(|| MatrixError::internal("no writer of events"))?;
        self.ask_writer(writer, name, &[target], Repeat::Harmless, change).await.map(drop)
    }

    /// `on_profile_query`, of a user of this server: what another server may know, in a JSON object.
    pub async fn on_profile_query(&self, user_id: &str, field: Option<&str>) -> Result<String> {
        let Some(mut profile) = self.profile_of(user_id).await? else { return Err(no_profile()) };
        if let Some(field) = field {
            profile.retain(|known, _| known == field);
            if profile.is_empty() && !matches!(field, DISPLAYNAME | AVATAR_URL) {
                return Err(no_profile());
            }
        }
        serde_json::to_string(&profile).map_err(MatrixError::internal)
    }

    async fn profile_of(&self, user_id: &str) -> Result<Option<Profile>> {
        let mut profiles = self.storage.get_profile_data_for_users(&[Arc::from(user_id)]).await?;
        Ok(profiles.remove(user_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fields() {
        for good in ["displayname", "m.tz", "org.x_y-z0", "a\n"] {
            assert!(check_field_name(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "0a", "a b", "ä", ".a", "\n", &"a".repeat(256)] {
            assert!(check_field_name(bad).is_err(), "{bad}");
        }
    }
}
