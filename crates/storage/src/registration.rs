//! Accounts and their access tokens. Answers to `synapse/storage/databases/main/registration.py`.

use std::sync::Arc;

use crate::{Storage, StorageError};

/// What `access_tokens` and `users` say of a token.
#[derive(Clone, Debug)]
pub struct TokenLookupResult {
    /// Who acts: the puppet, if the token is for one.
    pub user_id: Arc<str>,
    pub token_id: i64,
    pub is_guest: bool,
    pub shadow_banned: bool,
    pub device_id: Option<Arc<str>>,
    pub valid_until_ms: Option<i64>,
    /// Whose token it is: an admin, if the token is for a puppet.
    pub token_owner: Arc<str>,
}

/// A row of `users`.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "columns of the table")]
pub struct UserInfo {
    pub user_id: Arc<str>,
    pub is_guest: bool,
    pub is_admin: bool,
    pub appservice_id: Option<String>,
    /// Seconds.
    pub creation_ts: i64,
    pub user_type: Option<String>,
    pub is_deactivated: bool,
    pub is_shadow_banned: bool,
    pub locked: bool,
    pub suspended: bool,
}

impl UserInfo {
    pub fn is_support(&self) -> bool {
        self.user_type.as_deref() == Some("support")
    }
}

type TokenRow = (String, i64, Option<i16>, Option<bool>, Option<String>, Option<i64>, String);
type UserRow = (
    String,
    Option<i16>,
    i16,
    Option<String>,
    Option<i64>,
    Option<String>,
    i16,
    Option<bool>,
    Option<bool>,
    Option<bool>,
);

/// `ThreepidResult`; times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threepid {
    pub medium: String,
    pub address: String,
    pub validated_at: i64,
    pub added_at: i64,
}

impl Storage {
    /// `user_get_threepids`
    pub async fn user_get_threepids(&self, user_id: &str) -> Result<Vec<Threepid>, StorageError> {
        let rows: Vec<(String, String, i64, i64)> =
            sqlx::query_as("SELECT medium, address, validated_at, added_at FROM user_threepids WHERE user_id = $1")
                .bind(user_id)
                .fetch_all(self.pool())
                .await?;
        let threepid = |(medium, address, validated_at, added_at)| Threepid { medium, address, validated_at, added_at };
        Ok(rows.into_iter().map(threepid).collect())
    }

    /// Whether `get_users_by_id_case_insensitive` finds anybody.
    pub async fn is_user_id_taken(&self, user_id: &str) -> Result<bool, StorageError> {
        let row: (bool,) = sqlx::query_as("SELECT EXISTS (SELECT FROM users WHERE lower(name) = lower($1))")
            .bind(user_id)
            .fetch_one(self.pool())
            .await?;
        Ok(row.0)
    }

    /// `registration_token_is_valid` at a time in milliseconds: known, neither expired nor used up.
    pub async fn registration_token_is_valid(&self, token: &str, now_ms: i64) -> Result<bool, StorageError> {
        let row: (bool,) = sqlx::query_as(
            "SELECT EXISTS (SELECT FROM registration_tokens WHERE token = $1
                 AND (COALESCE(expiry_time, 0) = 0 OR expiry_time >= $2)
                 AND (COALESCE(uses_allowed, 0) = 0 OR pending + completed < uses_allowed))",
        )
        .bind(token)
        .bind(now_ms)
        .fetch_one(self.pool())
        .await?;
        Ok(row.0)
    }

    /// `get_user_by_access_token`.
    pub async fn get_user_by_access_token(&self, token: &str) -> Result<Option<Arc<TokenLookupResult>>, StorageError> {
        let load = || async {
            let row: Option<TokenRow> = sqlx::query_as(
                "SELECT u.name, t.id, u.is_guest, u.shadow_banned, t.device_id, t.valid_until_ms, t.user_id
                 FROM users AS u JOIN access_tokens AS t ON u.name = COALESCE(t.puppets_user_id, t.user_id)
                 WHERE t.token = $1",
            )
            .bind(token)
            .fetch_optional(self.pool())
            .await?;
            let found = |(user_id, token_id, is_guest, shadow_banned, device_id, valid_until_ms, owner): TokenRow| {
                Arc::new(TokenLookupResult {
                    user_id: user_id.into(),
                    token_id,
                    is_guest: is_guest.is_some_and(|flag| flag != 0),
                    shadow_banned: shadow_banned.unwrap_or_default(),
                    device_id: device_id.map(Arc::from),
                    valid_until_ms,
                    token_owner: owner.into(),
                })
            };
            Ok(row.map(found))
        };
        self.accounts().tokens.get_or_load(Arc::from(token), load).await
    }

    /// `get_user_by_id`: local accounts only.
    pub async fn get_user_by_id(&self, user_id: &str) -> Result<Option<Arc<UserInfo>>, StorageError> {
        let load = || async {
            let row: Option<UserRow> = sqlx::query_as(
                "SELECT name, is_guest, admin, appservice_id, creation_ts, user_type, deactivated,
                     shadow_banned, locked, suspended
                 FROM users WHERE name = $1",
            )
            .bind(user_id)
            .fetch_optional(self.pool())
            .await?;
            Ok(row.map(user_info))
        };
        self.accounts().users.get_or_load(Arc::from(user_id), load).await
    }

    /// `mark_access_token_as_used`: makes the refresh token that the token came from worthless. Written at most
    /// once per token and process.
    pub async fn mark_access_token_as_used(&self, token_id: i64) -> Result<(), StorageError> {
        let write = || async {
            sqlx::query("UPDATE access_tokens SET used = TRUE WHERE id = $1 AND used IS NOT TRUE")
                .bind(token_id)
                .execute(self.pool())
                .await?;
            Ok(())
        };
        self.accounts().used_tokens.get_or_load(token_id, write).await
    }

    /// `get_expiration_ts_for_user`: when the account expires, for the legacy `account_validity`.
    pub async fn get_expiration_ts_for_user(&self, user_id: &str) -> Result<Option<i64>, StorageError> {
        let load = || async {
            let row: Option<(i64,)> =
                sqlx::query_as("SELECT expiration_ts_ms FROM account_validity WHERE user_id = $1")
                    .bind(user_id)
                    .fetch_optional(self.pool())
                    .await?;
            Ok(row.map(|(expires,)| expires))
        };
        self.accounts().expiration.get_or_load(Arc::from(user_id), load).await
    }
}

fn user_info(row: UserRow) -> Arc<UserInfo> {
    let (user_id, guest, admin, appservice_id, creation_ts, user_type, deactivated, shadow_banned, locked, suspended) =
        row;
    Arc::new(UserInfo {
        user_id: user_id.into(),
        is_guest: guest.is_some_and(|flag| flag != 0),
        is_admin: admin != 0,
        appservice_id,
        creation_ts: creation_ts.unwrap_or_default(),
        user_type,
        is_deactivated: deactivated != 0,
        is_shadow_banned: shadow_banned.unwrap_or_default(),
        locked: locked.unwrap_or_default(),
        suspended: suspended.unwrap_or_default(),
    })
}
