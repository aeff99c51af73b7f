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
    /// `rc_delayed_event_mgmt`: requests per second, and burst.
    pub delayed_event_mgmt_rate: (f64, i64),
    /// Bytes; nothing where `enable_media_repo` is off.
    pub max_upload_size: Option<i64>,
    /// `matrix_rtc.transports`, as they stand there.
    pub rtc_transports: Vec<Value>,
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
    let delayed = root.section("rc_delayed_event_mgmt")?;
    let has_media = root.get("enable_media_repo") != Some(&Value::Bool(false))
        || root.text("worker_app")?.as_deref() == Some("synapse.app.media_repository");
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
        delayed_event_mgmt_rate: (delayed.float_or("per_second", 1.0)?, delayed.integer("burst_count")?.unwrap_or(5)),
        max_upload_size: if has_media { Some(root.size("max_upload_size", 50 << 20)?) } else { None },
        rtc_transports: read_transports(root)?,
        e2ee_forced_public,
        e2ee_forced_private,
    })
}

/// `MatrixRtcConfigModel`
fn read_transports(root: &Section<'_>) -> Result<Vec<Value>, ConfigError> {
    let section = root.section("matrix_rtc")?;
    let transports = match section.get("transports") {
        None => return Ok(Vec::new()),
        Some(Value::Array(transports)) => transports,
        Some(_) => return Err(section.fault("transports", "must be a list")),
    };
    for transport in transports {
        let text = |key: &str| transport.get(key).and_then(Value::as_str);
        let kind = text("type").ok_or_else(|| section.fault("transports", "each must have a type"))?;
        let has_url = ["url", "livekit_service_url"].iter().any(|key| text(key).is_some_and(|url| !url.is_empty()));
        if kind == "livekit" && !has_url {
            return Err(section.fault("transports", "livekit needs url or livekit_service_url"));
        }
    }
    Ok(transports.clone())
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
