//! Who is asking: from an access token to a `Requester`. Answers to `synapse/api/auth/`.

pub mod app_service;
mod guest;
pub mod limits;
pub mod mas;
pub mod seen;

use std::collections::BTreeSet;
use std::sync::Arc;

use myelin_config::Config;
use myelin_model::{MatrixError, Requester};

use crate::{Handlers, Result, now_ms};
use mas::MasClient;
use seen::SeenUsers;

/// All guests have the same device: `GUEST_DEVICE_ID`.
const GUEST_DEVICE_ID: &str = "guest_device";

/// What a request says of its sender.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credentials<'a> {
    pub token: Option<&'a str>,
    /// Query parameter `user_id`: whom an application service acts for.
    pub user_id: Option<&'a str>,
    /// Query parameter `device_id`.
    pub device_id: Option<&'a str>,
    /// The client's address as far as it is known.
    pub ip: &'a str,
    pub user_agent: &'a str,
}

/// What a route lets pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthOptions {
    pub allow_guest: bool,
    pub allow_expired: bool,
    pub allow_locked: bool,
}

impl AuthOptions {
    pub const GUESTS: Self = Self { allow_guest: true, allow_expired: false, allow_locked: false };
}

/// What authentication keeps between requests.
pub struct Auth {
    guest_key: Option<Vec<u8>>,
    mas: Option<MasClient>,
    seen: SeenUsers,
}

impl Auth {
    pub fn new(config: &Config) -> Self {
        Self {
            guest_key: config.auth.macaroon_secret.as_ref().and_then(guest::key),
            mas: config.auth.mas.as_ref().map(MasClient::new),
            seen: SeenUsers::default(),
        }
    }
}

impl Handlers {
    /// `get_user_by_req`.
    pub async fn requester(&self, credentials: Credentials<'_>, options: AuthOptions) -> Result<Requester> {
        let token = credentials.token.ok_or_else(|| MatrixError::missing_token("Missing access token"))?;
        if let Some(requester) = self.app_service_requester(&credentials, token).await? {
            self.user_seen(&requester, &credentials, token);
            return Ok(requester);
        }
        if let Some(mas) = &self.auth.mas {
            // Synapse: accounts that are locked or expired are the service's business, and it has no guests.
            let requester = self.mas_requester(mas, token).await?;
            self.user_seen(&requester, &credentials, token);
            return Ok(requester);
        }
        let requester = match self.user_by_access_token(token, options).await? {
            Some(requester) => requester,
            None => self.guest_requester(token).await?,
        };
        self.check_account(&requester.user_id, options).await?;
        self.user_seen(&requester, &credentials, token);
        if requester.is_guest && !options.allow_guest {
            return Err(MatrixError::new(403, "M_GUEST_ACCESS_FORBIDDEN", "Guest access not allowed"));
        }
        Ok(requester)
    }

    async fn user_by_access_token(&self, token: &str, options: AuthOptions) -> Result<Option<Requester>> {
        let Some(found) = self.storage.get_user_by_access_token(token).await? else { return Ok(None) };
        if !options.allow_expired && found.valid_until_ms.is_some_and(|until| until < now_ms()) {
            return Err(MatrixError::unknown_token("Access token has expired", true));
        }
        self.storage.mark_access_token_as_used(found.token_id).await?;
        Ok(Some(Requester {
            user_id: Arc::clone(&found.user_id),
            device_id: found.device_id.clone(),
            access_token_id: Some(found.token_id),
            is_guest: found.is_guest,
            shadow_banned: found.shadow_banned,
            app_service: None,
            authenticated_entity: Arc::clone(&found.token_owner),
            scope: BTreeSet::new(),
        }))
    }

    /// A token outside the database may still be a guest's.
    async fn guest_requester(&self, token: &str) -> Result<Requester> {
        let key = self.auth.guest_key.as_deref();
        let user_id = key.and_then(|key| guest::verify(token, key, now_ms()));
        let user_id = user_id.ok_or_else(|| MatrixError::unknown_token("Invalid access token passed.", false))?;
        match self.storage.get_user_by_id(&user_id).await? {
            Some(user) if user.is_guest => Ok(Requester {
                user_id: user_id.as_str().into(),
                device_id: Some(GUEST_DEVICE_ID.into()),
                access_token_id: None,
                is_guest: true,
                shadow_banned: false,
                app_service: None,
                authenticated_entity: user_id.into(),
                scope: BTreeSet::new(),
            }),
            Some(_) => Err(MatrixError::unknown_token("Guest access token used for regular user", false)),
            None => Err(MatrixError::unknown_token(format!("Unknown user_id {user_id}"), false)),
        }
    }

    /// Locked and expired accounts.
    async fn check_account(&self, user_id: &str, options: AuthOptions) -> Result<()> {
        if !options.allow_locked && self.storage.get_user_by_id(user_id).await?.is_some_and(|user| user.locked) {
            let error = MatrixError::new(401, "M_USER_LOCKED", "User account has been locked");
            return Err(error.with("soft_logout", true));
        }
        if !options.allow_expired
            && self.config.auth.account_validity
            && self.storage.get_expiration_ts_for_user(user_id).await?.is_some_and(|expires| now_ms() >= expires)
        {
            return Err(MatrixError::new(403, "ORG_MATRIX_EXPIRED_ACCOUNT", "User account has expired"));
        }
        Ok(())
    }

    /// `is_server_admin`.
    pub async fn is_server_admin(&self, requester: &Requester) -> Result<bool> {
        if self.auth.mas.is_some() {
            return Ok(requester.scope.contains("urn:synapse:admin:*"));
        }
        Ok(self.storage.get_user_by_id(&requester.user_id).await?.is_some_and(|user| user.is_admin))
    }
}
