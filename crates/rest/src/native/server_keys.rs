//! Keys of servers. Answers to `synapse/rest/key/v2/`.

use crate::call::{Answer, Call, Refusal};

/// `GET /_matrix/key/v2/server`: our own.
pub fn local(call: &Call) -> Result<Answer, Refusal> {
    let keys = call.app.handlers.local_keys()?;
    keys.map(Answer::json).ok_or(Refusal::PassOn("there is no signing key in the configuration"))
}
