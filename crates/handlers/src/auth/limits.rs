//! Who is kept out although their token is good. Answers to `synapse/api/auth_blocking.py`.

use myelin_model::{MatrixError, Requester};

use crate::{Handlers, Result, now_ms};

const DAY_MS: i64 = 86_400_000;

impl Handlers {
    /// `check_auth_blocking`: the server is disabled, or has as many active users as it may have.
    pub async fn check_auth_blocking(&self, requester: &Requester) -> Result<()> {
        let (server, auth) = (&self.config.server, &self.config.auth);
        if !server.hs_disabled && !server.limit_usage_by_mau {
            return Ok(());
        }
        let user_id = &*requester.authenticated_entity;
        if requester.app_service.is_some() && !server.track_appservice_user_ips {
            return Ok(());
        }
        let user = self.storage.get_user_by_id(user_id).await?;
        if auth.server_notices_mxid.as_deref() == Some(user_id) || user.as_ref().is_some_and(|user| user.is_support()) {
            return Ok(());
        }
        if server.hs_disabled {
            return Err(self.resource_limit(&server.hs_disabled_message, "hs_disabled"));
        }
        if self.storage.user_last_seen_monthly_active(user_id).await?.is_some() {
            return Ok(());
        }
        if let Some(user) = user {
            let of_service = user.appservice_id.as_ref().and_then(|id| auth.mau_appservice_trial_days.get(id));
            let days = of_service.copied().unwrap_or(auth.mau_trial_days);
            if now_ms().saturating_sub(user.creation_ts.saturating_mul(1000)) < days.saturating_mul(DAY_MS) {
                return Ok(());
            }
        }
        if self.storage.get_monthly_active_count().await? >= auth.max_mau_value {
            return Err(self.resource_limit("Monthly Active User Limit Exceeded", "monthly_active_user"));
        }
        Ok(())
    }

    fn resource_limit(&self, error: &str, limit_type: &str) -> MatrixError {
        MatrixError::new(403, "M_RESOURCE_LIMIT_EXCEEDED", error)
            .with("admin_contact", self.config.server.admin_contact.clone())
            .with("limit_type", limit_type)
    }
}
