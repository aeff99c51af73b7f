//! `/account/whoami`. Answers to `WhoamiRestServlet` in `synapse/rest/client/account.py`.

use myelin_model::Requester;
use serde_json::{Map, Value};

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
