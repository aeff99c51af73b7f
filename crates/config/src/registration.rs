//! Who may make an account, and under which name. Answers to `synapse/config/registration.py`.

use crate::error::ConfigError;
use crate::mas;
use crate::section::Section;

#[derive(Clone, Debug)]
pub struct Registration {
    pub enabled: bool,
    /// Nobody is told that a name is taken before they have proven themselves.
    pub inhibit_user_in_use_error: bool,
    pub allow_underscore_prefixed_localpart: bool,
    /// `rc_registration_token_validity`: questions per second, and burst.
    pub token_validity_rate: (f64, i64),
}

pub fn read(root: &Section<'_>) -> Result<Registration, ConfigError> {
    let rate = root.section("rc_registration_token_validity")?;
    Ok(Registration {
        enabled: mas::registration(root)?.is_some(),
        inhibit_user_in_use_error: root.flag("inhibit_user_in_use_error", false),
        allow_underscore_prefixed_localpart: root.flag("allow_underscore_prefixed_localpart", false),
        token_validity_rate: (rate.float_or("per_second", 0.1)?, rate.integer("burst_count")?.unwrap_or(5)),
    })
}
