//! `/account/whoami` and `/account/3pid`. Answers to `WhoamiRestServlet` and `ThreepidRestServlet` in `synapse/rest/client/account.py`.

use myelin_model::Requester;
use serde_json::{Map, Value, json};

use crate::{Handlers, Result};

/// Application services have no device.
pub fn whoami(requester: &Requester) -> Value {
    let mut answer = Map::new();
    answer.insert("user_id".to_owned(), (*requester.user_id).into());
    answer.insert("is_guest".to_owned(), requester.is_guest.into());
    if let Some(device_id) = &requester.device_id {
        answer.insert("device_id".to_owned(), (**device_id).into());
    }
    Value::Object(answer)
}

impl Handlers {
    /// `GET /account/3pid`
    pub async fn threepids(&self, user_id: &str) -> Result<Value> {
        let threepids = self.storage.user_get_threepids(user_id).await?;
        let told = threepids.into_iter().map(|threepid| {
            json!({
                "medium": threepid.medium,
                "address": threepid.address,
                "validated_at": threepid.validated_at,
                "added_at": threepid.added_at,
            })
        });
        Ok(json!({ "threepids": told.collect::<Vec<_>>() }))
    }
}
