//! Tokens that a client sends back. Answers to `StreamToken.from_string` in `synapse/types/__init__.py`.

use myelin_model::token::TokenError;
use myelin_model::{MatrixError, StreamToken};

use crate::{Handlers, Result};

impl Handlers {
    /// A token of any worker of this server; writers that are new to us are looked up.
    pub async fn parse_stream_token(&self, text: &str) -> Result<StreamToken> {
        let invalid = |_| MatrixError::unknown(400, "Invalid stream token");
        match StreamToken::parse(text, &self.storage.instances()) {
            Err(TokenError::UnknownInstance(_)) => {
                let instances = self.storage.reload_instances().await?;
                StreamToken::parse(text, &instances).map_err(invalid)
            }
            parsed => parsed.map_err(invalid),
        }
    }
}
