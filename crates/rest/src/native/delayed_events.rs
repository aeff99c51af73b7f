//! Events that are to be sent later. Answers to the reads in `synapse/rest/client/delayed_events.py`.

use myelin_handlers::auth::AuthOptions;

use crate::call::{Answer, Call, Refusal};

/// `GET /delayed_events`
pub async fn all(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    Ok(Answer::value(&call.app.handlers.get_all_delayed_events(&requester).await?))
}

/// `GET /delayed_events/{delay_id}`
pub async fn one(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let delay_id = call.parameters.get("delay_id");
    Ok(Answer::value(&call.app.handlers.get_delayed_event(&requester, delay_id).await?))
}
