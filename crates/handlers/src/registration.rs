//! Names for new accounts, and tokens that allow one. Answers to `check_username` in `synapse/handlers/register.py` and
//! to the reads in `synapse/rest/client/register.py`.

use std::sync::Arc;

use myelin_config::{AppService, FederationRate};
use myelin_model::MatrixError;
use serde_json::{Value, json};

use crate::{Handlers, Result, now_ms};

const MAX_USERID_LENGTH: usize = 255;

/// How often one address may ask for a name.
pub(crate) const USERNAME_CHECKS: FederationRate =
    FederationRate { window_size: 2_000, sleep_limit: 1, sleep_delay: 1_000, reject_limit: 1, concurrent: 1 };

fn invalid(error: &str) -> MatrixError {
    MatrixError::new(400, "M_INVALID_USERNAME", error)
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-./=+".contains(&byte)
}

impl Handlers {
    /// Whether people may register here at all.
    pub fn check_registration_enabled(&self) -> Result<()> {
        if self.config.registration.enabled {
            return Ok(());
        }
        Err(MatrixError::forbidden("Registration has been disabled"))
    }

    /// `check_username`, for nobody in particular: why a new account may not have this name.
    pub async fn check_username(&self, localpart: &str) -> Result<()> {
        if !localpart.bytes().all(is_allowed) {
            return Err(invalid("User ID can only contain characters a-z, 0-9, or '=_-./+'"));
        }
        if localpart.is_empty() {
            return Err(invalid("User ID cannot be empty"));
        }
        if localpart.starts_with('_') && !self.config.registration.allow_underscore_prefixed_localpart {
            return Err(invalid("User ID may not begin with _"));
        }
        let user_id = format!("@{localpart}:{}", self.config.server.server_name);
        self.check_user_id_not_appservice_exclusive(&user_id)?;
        if user_id.len() > MAX_USERID_LENGTH {
            return Err(invalid("User ID may not be longer than 255 characters"));
        }
        if self.storage.is_user_id_taken(&user_id).await? {
            return Err(MatrixError::new(400, "M_USER_IN_USE", "User ID already taken."));
        }
        if localpart.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid("Numeric user IDs are reserved for guest users."));
        }
        Ok(())
    }

    fn check_user_id_not_appservice_exclusive(&self, user_id: &str) -> Result<()> {
        let exclusive = |error: &str| MatrixError::new(400, "M_EXCLUSIVE", error);
        if self.config.auth.server_notices_mxid.as_deref() == Some(user_id) {
            return Err(exclusive("This user ID is reserved."));
        }
        if self.config.app_services.iter().any(|service: &AppService| service.is_exclusive_user(user_id)) {
            return Err(exclusive("This user ID is reserved by an application service."));
        }
        Ok(())
    }

    /// `MasQueryUserResource`
    pub async fn mas_user(&self, localpart: &str) -> Result<Value> {
        let user_id = format!("@{localpart}:{}", self.config.server.server_name);
        let user = self.storage.get_user_by_id(&user_id).await?;
        let user = user.ok_or_else(|| MatrixError::not_found("User not found"))?;
        let mut profiles = self.storage.get_profile_data_for_users(&[Arc::from(user_id.as_str())]).await?;
        let profile = profiles.remove(&*user_id).unwrap_or_default();
        Ok(json!({
            "user_id": user_id,
            "display_name": profile.get("displayname"),
            "avatar_url": profile.get("avatar_url"),
            "is_suspended": user.suspended,
            "is_deactivated": user.is_deactivated,
        }))
    }

    /// `registration_token_is_valid`
    pub async fn registration_token_is_valid(&self, token: &str) -> Result<bool> {
        Ok(self.storage.registration_token_is_valid(token, now_ms()).await?)
    }
}
