//! The account itself. Answers to `synapse/rest/client/account.py`.

use myelin_handlers::account;
use myelin_handlers::auth::AuthOptions;

use crate::call::{Answer, Call, Refusal};

/// `GET /account/whoami`
pub async fn whoami(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::GUESTS).await?;
    Ok(Answer::value(&account::whoami(&requester)))
}

/// `GET /account/3pid`
pub async fn threepids(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    Ok(Answer::value(&call.app.handlers.threepids(&requester.user_id).await?))
}
