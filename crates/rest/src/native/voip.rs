//! Relays for calls. Answers to `synapse/rest/client/voip.py`.

use myelin_handlers::auth::AuthOptions;
use myelin_handlers::now_ms;
use myelin_handlers::voip;

use crate::call::{Answer, Call, Refusal};

/// `GET /voip/turnServer`
pub async fn turn_server(call: Call) -> Result<Answer, Refusal> {
    let config = &call.app.handlers.config.voip;
    let options = if config.turn_allow_guests { AuthOptions::GUESTS } else { AuthOptions::default() };
    let requester = call.requester(options).await?;
    Ok(Answer::value(&voip::turn_server(config, &requester.user_id, now_ms())))
}
