//! Application services and the users they act for. Answers to `get_appservice_user` in `synapse/api/auth/base.py`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use myelin_config::AppService;
use myelin_model::{MatrixError, Requester};

use super::Credentials;
use crate::{Handlers, Result};

impl Handlers {
    /// None if the token is not that of an application service.
    pub(super) async fn app_service_requester(
        &self,
        credentials: &Credentials<'_>,
        token: &str,
    ) -> Result<Option<Requester>> {
        let Some(service) = self.config.app_services.iter().find(|service| service.as_token == token) else {
            return Ok(None);
        };
        if !is_allowed_from(service, credentials.ip)? {
            return Ok(None);
        }
        let user_id = match credentials.user_id {
            Some(user_id) => {
                self.validate_appservice_can_control_user_id(service, user_id).await?;
                user_id
            }
            // Synapse: the sender's own devices cannot be named, that is an uncaught exception.
            None if credentials.device_id.is_some() => {
                return Err(MatrixError::internal("device_id without user_id"));
            }
            None => &service.sender,
        };
        // An empty parameter is one that is there, for this one too.
        if let Some(device_id) = credentials.device_id
            && self.storage.get_device(user_id, device_id).await?.is_none()
        {
            return Err(MatrixError::new(
                400,
                "M_UNKNOWN_DEVICE",
                format!("Application service trying to use a device that doesn't exist ('{device_id}' for {user_id})"),
            ));
        }
        let user_id: Arc<str> = user_id.into();
        Ok(Some(Requester {
            user_id: Arc::clone(&user_id),
            device_id: credentials.device_id.map(Arc::from),
            access_token_id: None,
            is_guest: false,
            shadow_banned: false,
            app_service: Some(service.id.as_str().into()),
            authenticated_entity: user_id,
            scope: BTreeSet::new(),
        }))
    }

    async fn validate_appservice_can_control_user_id(&self, service: &AppService, user_id: &str) -> Result<()> {
        if service.sender == user_id {
            return Ok(());
        }
        if !service.is_interested_in_user(user_id) {
            let error = format!("Application service cannot masquerade as this user ({user_id}).");
            return Err(MatrixError::forbidden(error));
        }
        if self.storage.get_user_by_id(user_id).await?.is_none() {
            let error = format!("Application service has not registered this user ({user_id})");
            return Err(MatrixError::forbidden(error));
        }
        Ok(())
    }

    /// `assert_requester_has_scope`. `name`: what Synapse calls the scope in the error.
    pub fn assert_requester_has_scope(&self, requester: &Requester, scope: &str, name: &str) -> Result<()> {
        let of_service = |id: &Arc<str>| {
            let mut services = self.config.app_services.iter().filter(|service| service.id == **id);
            services.any(|service| service.scopes.iter().any(|known| known == scope))
        };
        if requester.scope.contains(scope) || requester.app_service.as_ref().is_some_and(of_service) {
            return Ok(());
        }
        Err(MatrixError::forbidden(format!("Missing {name} scope")))
    }
}

/// `ip_range_whitelist`: from elsewhere the token means nothing.
fn is_allowed_from(service: &AppService, ip: &str) -> Result<bool> {
    if service.ip_range_whitelist.is_empty() {
        return Ok(true);
    }
    let ip: IpAddr = ip.parse().map_err(|_| MatrixError::internal(format!("{ip} is not an address")))?;
    Ok(service.ip_range_whitelist.iter().any(|range| range.contains(ip)))
}
