//! Application services. Answers to `synapse/config/appservice.py` and `synapse/appservice/__init__.py`.

use std::collections::HashMap;
use std::path::PathBuf;

use regex::Regex;
use serde_json::Value;

use crate::error::ConfigError;
use crate::ip_range::{self, IpRange};
use crate::section::Section;
use crate::yaml;

#[derive(Clone, Debug)]
pub struct AppService {
    pub id: String,
    pub as_token: String,
    /// Full user id of the service's own user.
    pub sender: String,
    pub namespaces: Namespaces,
    pub rate_limited: bool,
    /// Addresses that may use the token; empty: any.
    pub ip_range_whitelist: Vec<IpRange>,
    /// Extended privileges (MSC4502).
    pub scopes: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    pub users: Vec<Namespace>,
    pub rooms: Vec<Namespace>,
    pub aliases: Vec<Namespace>,
}

#[derive(Clone, Debug)]
pub struct Namespace {
    /// Matched at the start of the text, as Python's `re.match` does.
    pub regex: Regex,
    pub exclusive: bool,
}

impl AppService {
    pub fn is_interested_in_user(&self, user_id: &str) -> bool {
        user_id == self.sender || matches(&self.namespaces.users, user_id)
    }

    /// Nobody else may have this id. The first namespace that knows it decides.
    pub fn is_exclusive_user(&self, user_id: &str) -> bool {
        let namespace = self.namespaces.users.iter().find(|namespace| namespace.regex.is_match(user_id));
        user_id == self.sender || namespace.is_some_and(|namespace| namespace.exclusive)
    }

    pub fn is_room_alias_in_namespace(&self, alias: &str) -> bool {
        matches(&self.namespaces.aliases, alias)
    }
}

fn matches(namespaces: &[Namespace], text: &str) -> bool {
    namespaces.iter().any(|namespace| namespace.regex.is_match(text))
}

pub fn read(root: &Section<'_>) -> Result<Vec<AppService>, ConfigError> {
    let server_name = root.required_text("server_name")?;
    let mut services: Vec<AppService> = Vec::new();
    for path in root.texts("app_service_config_files")? {
        if let Err(error) = std::fs::File::open(&path) {
            return Err(root.fault("app_service_config_files", format!("cannot read {path}: {error}")));
        }
        let service = read_file(&path, &server_name)?;
        let fault = |what: &str| root.fault("app_service_config_files", format!("{path}: {what} is used twice"));
        if services.iter().any(|known| known.id == service.id) {
            return Err(fault("the id"));
        }
        if services.iter().any(|known| known.as_token == service.as_token) {
            return Err(fault("the as_token"));
        }
        services.push(service);
    }
    Ok(services)
}

fn read_file(path: &str, server_name: &str) -> Result<AppService, ConfigError> {
    let file = PathBuf::from(path);
    let fault = |reason: String| ConfigError::File { file: file.clone(), reason };
    let text = std::fs::read_to_string(&file).map_err(|error| fault(error.to_string()))?;
    let value = yaml::load(&text).map_err(|error| fault(error.to_string()))?;
    let origins = value
        .as_object()
        .map(|map| map.keys().map(|key| (key.clone(), file.clone())).collect::<HashMap<_, _>>())
        .ok_or_else(|| fault("must be a mapping".to_owned()))?;
    let section = Section::root(&value, &origins);
    let localpart = section.required_text("sender_localpart")?;
    let namespaces = section.section("namespaces")?;
    Ok(AppService {
        id: section.required_text("id")?,
        as_token: section.required_text("as_token")?,
        sender: format!("@{localpart}:{server_name}"),
        namespaces: Namespaces {
            users: read_namespaces(&namespaces, "users")?,
            rooms: read_namespaces(&namespaces, "rooms")?,
            aliases: read_namespaces(&namespaces, "aliases")?,
        },
        rate_limited: section.get("rate_limited").is_none_or(|value| value != &Value::Bool(false)),
        ip_range_whitelist: ip_range::read(&section, "ip_range_whitelist")?,
        scopes: section.texts("io.element.msc4502.scopes")?,
    })
}

fn read_namespaces(section: &Section<'_>, key: &str) -> Result<Vec<Namespace>, ConfigError> {
    let read = |entry: Section<'_>| {
        let pattern = entry.required_text("regex")?;
        // Python's `\Z` is the regex crate's `\z`.
        let anchored = format!("^(?:{})", pattern.replace("\\Z", "\\z"));
        let regex = Regex::new(&anchored).map_err(|error| entry.fault("regex", error.to_string()))?;
        Ok(Namespace { regex, exclusive: entry.flag("exclusive", false) })
    };
    section.sections(key)?.into_iter().map(read).collect()
}
