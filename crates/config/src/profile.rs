//! Who may look at profiles, and how often. Answers to `synapse/config/server.py` and `ratelimiting.py`.

use crate::error::ConfigError;
use crate::section::Section;

#[derive(Clone, Debug)]
pub struct Profile {
    /// `require_auth_for_profile_requests`
    pub require_auth: bool,
    /// `limit_profile_requests_to_users_who_share_rooms`
    pub limit_to_shared_rooms: bool,
    /// `rc_profile`: requests per second, and burst.
    pub rate: (f64, i64),
}

pub fn read(root: &Section<'_>) -> Result<Profile, ConfigError> {
    let rate = root.section("rc_profile")?;
    Ok(Profile {
        require_auth: root.flag("require_auth_for_profile_requests", false),
        limit_to_shared_rooms: root.flag("limit_profile_requests_to_users_who_share_rooms", false),
        rate: (rate.float_or("per_second", 1.0)?, rate.integer("burst_count")?.unwrap_or(500)),
    })
}
