//! Relays for calls. Answers to `synapse/config/voip.py`.

use crate::error::ConfigError;
use crate::section::Section;

#[derive(Clone)]
pub struct Voip {
    pub turn_uris: Vec<String>,
    pub turn_shared_secret: Option<String>,
    pub turn_username: Option<String>,
    pub turn_password: Option<String>,
    /// Milliseconds.
    pub turn_user_lifetime: i64,
    pub turn_allow_guests: bool,
}

/// Without the secrets.
impl std::fmt::Debug for Voip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Voip").field("turn_uris", &self.turn_uris).finish_non_exhaustive()
    }
}

pub fn read(root: &Section<'_>) -> Result<Voip, ConfigError> {
    Ok(Voip {
        turn_uris: root.texts("turn_uris")?,
        turn_shared_secret: root.secret("turn_shared_secret")?,
        turn_username: root.text("turn_username")?,
        turn_password: root.text("turn_password")?,
        turn_user_lifetime: root.duration_ms("turn_user_lifetime", 60 * 60 * 1000)?,
        turn_allow_guests: root.flag("turn_allow_guests", true),
    })
}
