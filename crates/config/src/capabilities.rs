//! What the server tells clients that it can do. Answers to `synapse/config/registration.py`, `auth.py`, `room.py`
//! and `repository.py`.

use serde_json::Value;

use crate::error::ConfigError;
use crate::mas;
use crate::section::{Section, truthy};

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own in homeserver.yaml")]
pub struct Capabilities {
    pub default_room_version: String,
    pub change_password: bool,
    pub set_displayname: bool,
    pub set_avatar_url: bool,
    pub threepid_changes: bool,
    /// `login_via_existing_session`
    pub get_login_token: bool,
    /// Single sign-on, a directory or the authentication service: `/login` has more to tell than is known here.
    pub foreign_logins: bool,
    pub url_preview: bool,
    pub forget_on_leave: bool,
    pub max_event_delay_ms: i64,
    pub max_delayed_events_per_user: i64,
    /// New rooms are encrypted: public ones, and private ones.
    pub e2ee_forced_public: bool,
    pub e2ee_forced_private: bool,
}

pub fn read(root: &Section<'_>) -> Result<Capabilities, ConfigError> {
    let delegated = root.section("matrix_authentication_service")?.flag("enabled", false);
    let passwords = root.section("password_config")?;
    let login = match passwords.get("enabled") {
        None => !delegated,
        Some(Value::String(text)) if text == "only_for_reauth" => false,
        Some(value) => truthy(value),
    };
    let (e2ee_forced_public, e2ee_forced_private) = read_encryption(root)?;
    Ok(Capabilities {
        default_room_version: root.text_or("default_room_version", "12")?,
        change_password: login && passwords.flag("localdb_enabled", true),
        set_displayname: root.flag("enable_set_displayname", true),
        set_avatar_url: root.flag("enable_set_avatar_url", true),
        threepid_changes: root.flag("enable_3pid_changes", !delegated),
        get_login_token: root.section("login_via_existing_session")?.flag("enabled", false),
        foreign_logins: delegated || mas::foreign_logins(root)?.is_some(),
        url_preview: root.flag("url_preview_enabled", false),
        forget_on_leave: root.flag("forget_rooms_on_leave", false),
        max_event_delay_ms: root.duration_ms("max_event_delay_duration", 0)?,
        max_delayed_events_per_user: root
            .section("experimental_features")?
            .integer("msc4140_max_delayed_events_per_user")?
            .unwrap_or(100),
        e2ee_forced_public,
        e2ee_forced_private,
    })
}

/// YAML reads an unquoted `off` as false.
fn read_encryption(root: &Section<'_>) -> Result<(bool, bool), ConfigError> {
    const KEY: &str = "encryption_enabled_by_default_for_room_type";
    match root.get(KEY) {
        None | Some(Value::Bool(false)) => Ok((false, false)),
        Some(Value::String(text)) => match text.as_str() {
            "all" => Ok((true, true)),
            "invite" => Ok((false, true)),
            "off" => Ok((false, false)),
            _ => Err(root.fault(KEY, "must be all, invite or off")),
        },
        Some(_) => Err(root.fault(KEY, "must be all, invite or off")),
    }
}
