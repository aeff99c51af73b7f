//! Who is asking. Answers to `Requester` in `synapse/types/__init__.py`.

use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    pub user_id: Arc<str>,
    pub device_id: Option<Arc<str>>,
    /// Row of `access_tokens`; none for guests, application services and delegated auth.
    pub access_token_id: Option<i64>,
    pub is_guest: bool,
    pub shadow_banned: bool,
    /// The id of the application service whose token was used.
    pub app_service: Option<Arc<str>>,
    /// The user the token belongs to: an admin when it is a puppet token.
    pub authenticated_entity: Arc<str>,
    pub scope: BTreeSet<String>,
}
