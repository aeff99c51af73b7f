//! Who may come in, and how tokens are checked. Answers to `synapse/config/account_validity.py`, `server_notices.py`
//! and the limits of `server.py`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::ConfigError;
use crate::mas::{self, Mas};
use crate::section::{Section, truthy};

#[derive(Clone, Debug)]
pub struct Auth {
    /// What guests' tokens are signed with.
    pub macaroon_secret: Option<MacaroonSecret>,
    /// Tokens are checked by the Matrix Authentication Service.
    pub mas: Option<Mas>,
    /// The legacy `account_validity`: accounts expire.
    pub account_validity: bool,
    /// Counts only with `limit_usage_by_mau`.
    pub max_mau_value: i64,
    pub mau_trial_days: i64,
    /// Days by application service.
    pub mau_appservice_trial_days: BTreeMap<String, i64>,
    pub server_notices_mxid: Option<String>,
    /// `password_config.policy`; empty unless it is enabled.
    pub password_policy: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MacaroonSecret {
    Text(String),
    /// The SHA-256 of the signing key's seed, which is given in base64.
    SigningKey(String),
}

/// `folder`: where the configuration lies.
pub fn read(root: &Section<'_>, folder: &Path, warnings: &mut Vec<String>) -> Result<Auth, ConfigError> {
    let server_name = root.required_text("server_name")?;
    let experimental = root.section("experimental_features")?;
    if experimental.flag("msc3861", false) {
        return Err(experimental.fault("msc3861", "was removed; use matrix_authentication_service"));
    }
    let notices = root.section("server_notices")?;
    let server_notices_mxid = match root.get("server_notices") {
        Some(_) => Some(format!("@{}:{server_name}", notices.required_text("system_mxid_localpart")?)),
        None => None,
    };
    let services = root.section("mau_appservice_trial_days")?;
    let mut mau_appservice_trial_days = BTreeMap::new();
    for id in services.keys() {
        mau_appservice_trial_days.insert(id.to_owned(), services.integer(id)?.unwrap_or_default());
    }
    Ok(Auth {
        macaroon_secret: read_macaroon_secret(root, folder, warnings)?,
        mas: mas::read(root)?,
        account_validity: root.section("account_validity")?.flag("enabled", false),
        max_mau_value: root.integer("max_mau_value")?.unwrap_or_default(),
        mau_trial_days: root.integer("mau_trial_days")?.unwrap_or_default(),
        mau_appservice_trial_days,
        server_notices_mxid,
        password_policy: read_password_policy(root)?,
    })
}

fn read_password_policy(root: &Section<'_>) -> Result<Map<String, Value>, ConfigError> {
    match root.section("password_config")?.get("policy") {
        Some(Value::Object(policy)) if policy.get("enabled").is_some_and(truthy) => Ok(policy.clone()),
        _ => Ok(Map::new()),
    }
}

/// `macaroon_secret_key`, `registration_shared_secret`, or something made of the signing key.
fn read_macaroon_secret(
    root: &Section<'_>,
    folder: &Path,
    warnings: &mut Vec<String>,
) -> Result<Option<MacaroonSecret>, ConfigError> {
    for key in ["macaroon_secret_key", "registration_shared_secret"] {
        if let Some(secret) = root.secret(key)?.filter(|secret| !secret.is_empty()) {
            return Ok(Some(MacaroonSecret::Text(secret)));
        }
    }
    let text = if let Some(inline) = root.text("signing_key")? {
        Ok(inline)
    } else {
        let default = format!("{}.signing.key", root.required_text("server_name")?);
        let path = root.text("signing_key_path")?.map_or_else(|| folder.join(default), Into::into);
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    // Algorithm, version and seed; the first key counts.
    let seed = text.and_then(|text| {
        let seed = text.lines().find_map(|line| line.split_whitespace().nth(2).map(str::to_owned));
        seed.ok_or_else(|| "there is no signing key".to_owned())
    });
    match seed {
        Ok(seed) => Ok(Some(MacaroonSecret::SigningKey(seed))),
        Err(reason) => {
            warnings.push(format!("macaroon_secret_key is not set, guests are unknown: {reason}"));
            Ok(None)
        }
    }
}
