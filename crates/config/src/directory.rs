//! The directories of rooms and of users. Answers to `synapse/config/room_directory.py`, `user_directory.py` and
//! `server.py`.

use crate::error::ConfigError;
use crate::section::Section;

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own in homeserver.yaml")]
pub struct Directory {
    /// `enable_search`: in messages.
    pub search: bool,
    /// `enable_room_list_search`
    pub room_list_search: bool,
    pub public_rooms_without_auth: bool,
    /// `user_directory.enabled`, and the settings beside it.
    pub user_search: bool,
    pub search_all_users: bool,
    pub exclude_remote_users: bool,
    pub prefer_local_users: bool,
    pub show_locked_users: bool,
    /// `rc_user_directory`: searches per second, and burst.
    pub user_search_rate: (f64, i64),
}

pub fn read(root: &Section<'_>) -> Result<Directory, ConfigError> {
    const OLD: &str = "restrict_public_rooms_to_local_users";
    if root.has(OLD) && (root.has("allow_public_rooms_without_auth") || root.has("allow_public_rooms_over_federation"))
    {
        return Err(root.fault(OLD, "cannot be set together with allow_public_rooms_*"));
    }
    let users = root.section("user_directory")?;
    let rate = root.section("rc_user_directory")?;
    Ok(Directory {
        search: root.flag("enable_search", true),
        room_list_search: root.flag("enable_room_list_search", true),
        public_rooms_without_auth: !root.flag(OLD, false) && root.flag("allow_public_rooms_without_auth", false),
        user_search: users.flag("enabled", true),
        search_all_users: users.flag("search_all_users", false),
        exclude_remote_users: users.flag("exclude_remote_users", false),
        prefer_local_users: users.flag("prefer_local_users", false),
        show_locked_users: users.flag("show_locked_users", false),
        user_search_rate: (rate.float_or("per_second", 0.016)?, rate.integer("burst_count")?.unwrap_or(200)),
    })
}
