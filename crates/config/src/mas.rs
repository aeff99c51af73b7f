//! The Matrix Authentication Service, and the settings that it excludes. Answers to `synapse/config/mas.py`.

use serde_json::Value;

use crate::error::ConfigError;
use crate::section::{Section, truthy};

/// `matrix_authentication_service`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mas {
    /// Without a trailing slash.
    pub endpoint: String,
    pub secret: String,
    pub force_http2: bool,
}

/// Lifetimes that the service decides about.
const LIFETIMES: [&str; 3] = ["refresh_token_lifetime", "nonrefreshable_access_token_lifetime", "session_lifetime"];

pub fn read(root: &Section<'_>) -> Result<Option<Mas>, ConfigError> {
    let mas = root.section("matrix_authentication_service")?;
    let (enabled, force_http2) = (strict_flag(&mas, "enabled")?, strict_flag(&mas, "force_http2")?);
    let endpoint = mas.text_or("endpoint", "http://localhost:8080")?;
    let address = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
    if address.is_none_or(|address| address.is_empty() || address.starts_with('/')) {
        return Err(mas.fault("endpoint", "must be an http:// or https:// address"));
    }
    if !enabled {
        return Ok(None);
    }
    let secret = mas.secret("secret")?.filter(|secret| !secret.is_empty());
    let secret = secret.ok_or_else(|| mas.fault("secret", "is required; or secret_path"))?;
    refuse_conflicts(root)?;
    Ok(Some(Mas { endpoint: endpoint.trim_end_matches('/').to_owned(), secret, force_http2 }))
}

/// Synapse takes only true and false here, where a text such as 'false' would be true elsewhere.
fn strict_flag(section: &Section<'_>, key: &str) -> Result<bool, ConfigError> {
    match section.get(key) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(section.fault(key, "must be true or false")),
    }
}

/// `check_config_conflicts`: who logs in, registers and renews tokens is the service's affair alone.
fn refuse_conflicts(root: &Section<'_>) -> Result<(), ConfigError> {
    let beside = |what: &str| format!("{what} cannot be set together with matrix_authentication_service");
    let passwords = root.section("password_config")?;
    if passwords.flag("enabled", false) {
        return Err(passwords.fault("enabled", beside("password authentication")));
    }
    if let Some(key) = registration(root)? {
        return Err(root.fault(key, beside("registration")));
    }
    if root.has("user_consent") {
        return Err(root.fault("user_consent", beside("user consent")));
    }
    if let Some(key) = foreign_logins(root)? {
        let is_provider = matches!(key, "ldap_config" | "password_providers");
        return Err(root.fault(key, beside(if is_provider { "a password provider" } else { "single sign-on" })));
    }
    if root.flag("enable_registration_captcha", false) {
        return Err(root.fault("enable_registration_captcha", beside("a captcha")));
    }
    let existing = root.section("login_via_existing_session")?;
    if existing.flag("enabled", false) {
        return Err(existing.fault("enabled", beside("login by an existing session")));
    }
    for key in LIFETIMES {
        if root.duration_ms(key, 0)? != 0 {
            return Err(root.fault(key, beside("it")));
        }
    }
    if root.flag("enable_3pid_changes", false) {
        return Err(root.fault("enable_3pid_changes", beside("it")));
    }
    Ok(())
}

/// The key that allows registration; the old `disable_registration` wins.
pub(crate) fn registration(root: &Section<'_>) -> Result<Option<&'static str>, ConfigError> {
    let enabled = word(root, "enable_registration")?.unwrap_or(false);
    Ok(match word(root, "disable_registration")? {
        Some(disabled) => (!disabled).then_some("disable_registration"),
        None => enabled.then_some("enable_registration"),
    })
}

/// `strtobool`
fn word(section: &Section<'_>, key: &str) -> Result<Option<bool>, ConfigError> {
    let text = match section.get(key) {
        None => return Ok(None),
        Some(Value::Bool(flag)) => return Ok(Some(*flag)),
        Some(Value::String(text)) => text.to_lowercase(),
        Some(other) => other.to_string(),
    };
    match text.as_str() {
        "y" | "yes" | "t" | "true" | "on" | "1" => Ok(Some(true)),
        "n" | "no" | "f" | "false" | "off" | "0" => Ok(Some(false)),
        _ => Err(section.fault(key, "must be true or false")),
    }
}

/// The key that lets somebody else say who a user is: single sign-on, or a password provider.
pub(crate) fn foreign_logins(root: &Section<'_>) -> Result<Option<&'static str>, ConfigError> {
    let saml2 = root.section("saml2_config")?;
    let has_provider = ["sp_config", "config_path"].iter().any(|key| saml2.flag(key, false));
    // An empty mapping is none.
    let cas = root.get("cas_config").is_some_and(truthy);
    let found = [
        ("oidc_providers", root.flag("oidc_providers", false)),
        ("oidc_config", root.section("oidc_config")?.flag("enabled", false)),
        ("saml2_config", has_provider && saml2.flag("enabled", true)),
        ("cas_config", cas && root.section("cas_config")?.flag("enabled", true)),
        ("jwt_config", root.section("jwt_config")?.flag("enabled", false)),
        ("ldap_config", root.section("ldap_config")?.flag("enabled", false)),
        ("password_providers", root.flag("password_providers", false)),
    ];
    Ok(found.into_iter().find_map(|(key, on)| on.then_some(key)))
}
