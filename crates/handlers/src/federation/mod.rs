//! What other servers ask. Answers to `synapse/federation/`.

pub mod authenticator;
pub mod client;
mod keys;
pub mod notary;
pub mod ratelimit;

use crate::{Handlers, Result, now_ms};

impl Handlers {
    /// `on_openid_userinfo`: whose token it is.
    pub async fn on_openid_userinfo(&self, token: &str) -> Result<Option<String>> {
        Ok(self.storage.get_user_id_for_open_id_token(token, now_ms()).await?)
    }
}
