//! What the homeserver is and what its answers depend on. Answers to `synapse/config/server.py` and its neighbours.

use std::collections::BTreeSet;

use crate::error::ConfigError;
use crate::section::Section;

/// Durations are milliseconds.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own in homeserver.yaml")]
pub struct Server {
    pub server_name: String,
    /// With a trailing slash.
    pub public_baseurl: Option<String>,
    pub presence: Presence,
    pub caches: Caches,
    pub experimental: Experimental,
    pub filter_timeline_limit: i64,
    pub exclude_rooms_from_sync: Vec<String>,
    pub allow_guest_access: bool,
    pub limit_usage_by_mau: bool,
    pub hs_disabled: bool,
    pub hs_disabled_message: String,
    pub admin_contact: Option<String>,
    pub track_puppeted_user_ips: bool,
    pub track_appservice_user_ips: bool,
    pub enable_metrics: bool,
    /// Open files at once; 0 is as many as the system allows.
    pub soft_file_limit: u64,
    /// Python modules: their callbacks cannot run here.
    pub modules: Vec<String>,
    /// `matrix_authentication_service.enabled`.
    pub delegated_auth: bool,
    /// Messages are hidden when they are old.
    pub retention: Option<Retention>,
    pub include_profile_updates_in_sync: bool,
    /// `push.enabled`: without it nothing is counted as unread.
    pub push_enabled: bool,
    pub rooms_to_exclude_from_presence: Vec<String>,
}

/// `retention`, when it is enabled.
#[derive(Clone, Debug)]
pub struct Retention {
    /// `default_policy.max_lifetime`: milliseconds, in rooms that do not say it themselves.
    pub default_max_lifetime: Option<i64>,
}

#[derive(Clone, Debug)]
pub struct Presence {
    /// Presence is shown and tracked.
    pub enabled: bool,
    /// `untracked`: shown, but requests do not change it.
    pub tracked: bool,
    pub include_offline_users_on_sync: bool,
    pub sync_online_timeout: i64,
    pub last_active_granularity: i64,
    /// `rc_presence.per_user`: actions per second and burst.
    pub per_user_rate: (f64, i64),
}

#[derive(Clone, Debug)]
pub struct Caches {
    /// Events.
    pub event_cache_size: i64,
    pub global_factor: f64,
    pub sync_response_cache_duration: i64,
}

/// Server-wide switches; some can also be set per user in the database.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in homeserver.yaml")]
pub struct Experimental {
    pub msc1763: bool,
    pub msc1767: bool,
    pub msc2654: bool,
    pub msc2815: bool,
    pub msc3026: bool,
    pub msc3391: bool,
    pub msc3575: bool,
    pub msc3664: bool,
    pub msc3720: bool,
    pub msc3773: bool,
    pub msc3848: bool,
    pub msc3874: bool,
    /// `msc3866.enabled`
    pub msc3866: bool,
    pub msc3881: bool,
    pub msc3912: bool,
    pub msc4028: bool,
    pub msc4069: bool,
    pub msc4108: bool,
    pub msc4133: bool,
    pub msc4143: bool,
    pub msc4155: bool,
    pub msc4169: bool,
    pub msc4222: bool,
    pub msc4242: bool,
    pub msc4267: bool,
    pub msc4293: bool,
    pub msc4306: bool,
    pub msc4354: bool,
    /// Names of all switches that are on, also of those that only push rules ask for.
    pub enabled: BTreeSet<String>,
    pub msc4446: bool,
    pub msc4452: bool,
    pub msc4491: bool,
    pub msc4502: bool,
}

pub fn read(root: &Section<'_>, warnings: &mut Vec<String>) -> Result<Server, ConfigError> {
    let server_name = root.required_text("server_name")?;
    if !is_server_name(&server_name) {
        return Err(root.fault("server_name", format!("{server_name} is not a host name with an optional port")));
    }
    if !root.has("report_stats") {
        warnings.push("report_stats is not set; Synapse itself requires it".to_owned());
    }
    warn_of_unused(root, warnings)?;
    let modules =
        root.sections("modules")?.iter().map(|module| module.required_text("module")).collect::<Result<_, _>>()?;
    Ok(Server {
        public_baseurl: root.text("public_baseurl")?.map(|url| if url.ends_with('/') { url } else { url + "/" }),
        presence: read_presence(root)?,
        caches: read_caches(root)?,
        experimental: read_experimental(root)?,
        filter_timeline_limit: root.integer("filter_timeline_limit")?.unwrap_or(100),
        exclude_rooms_from_sync: root.texts("exclude_rooms_from_sync")?,
        allow_guest_access: root.flag("allow_guest_access", false),
        limit_usage_by_mau: root.flag("limit_usage_by_mau", false),
        hs_disabled: root.flag("hs_disabled", false),
        hs_disabled_message: root.text_or("hs_disabled_message", "")?,
        admin_contact: root.text("admin_contact")?,
        track_puppeted_user_ips: root.flag("track_puppeted_user_ips", false),
        track_appservice_user_ips: root.flag("track_appservice_user_ips", false),
        enable_metrics: root.flag("enable_metrics", false),
        soft_file_limit: u64::try_from(root.integer("soft_file_limit")?.unwrap_or_default())
            .map_err(|_| root.fault("soft_file_limit", "must not be negative"))?,
        modules,
        delegated_auth: root.section("matrix_authentication_service")?.flag("enabled", false),
        retention: read_retention(root)?,
        push_enabled: root.section("push")?.flag("enabled", true),
        rooms_to_exclude_from_presence: root.texts("rooms_to_exclude_from_presence")?,
        include_profile_updates_in_sync: root.flag("include_profile_updates_in_sync", false),
        server_name,
    })
}

/// What an operator set and does not get.
fn warn_of_unused(root: &Section<'_>, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let (caches, tracing) = (root.section("caches")?, root.section("opentracing")?);
    for (is_set, what) in [
        (root.flag("worker_daemonize", false), "worker_daemonize has no effect: the process stays in the foreground"),
        (caches.flag("per_cache_factors", false), "caches.per_cache_factors has no effect: global_factor scales all"),
        (caches.has("cache_autotuning"), "caches.cache_autotuning has no effect: caches are bounded in bytes"),
        (tracing.flag("enabled", false), "opentracing has no effect: no traces are sent"),
        (root.has("sentry"), "sentry has no effect: errors are in the log alone"),
    ] {
        if is_set {
            warnings.push(what.to_owned());
        }
    }
    Ok(())
}

/// `parse_and_validate_server_name`
fn is_server_name(name: &str) -> bool {
    let (host, port) = match name.rsplit_once(':') {
        // An IPv6 address has colons of its own.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (name, None),
    };
    let is_host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)),
    };
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn read_presence(root: &Section<'_>) -> Result<Presence, ConfigError> {
    let presence = root.section("presence")?;
    // `presence.enabled` may be the word "untracked"; the old `use_presence` stands in when it is missing.
    let untracked = presence.get("enabled").and_then(|value| value.as_str()) == Some("untracked");
    let enabled = presence.flag("enabled", root.flag("use_presence", true));
    let rate = root.section("rc_presence")?.section("per_user")?;
    Ok(Presence {
        enabled,
        tracked: enabled && !untracked,
        include_offline_users_on_sync: presence.flag("include_offline_users_on_sync", false),
        sync_online_timeout: presence.duration_ms("sync_online_timeout", 30_000)?,
        last_active_granularity: presence.duration_ms("last_active_granularity", 60_000)?,
        per_user_rate: (rate.float_or("per_second", 0.1)?, rate.integer("burst_count")?.unwrap_or(1)),
    })
}

fn read_retention(root: &Section<'_>) -> Result<Option<Retention>, ConfigError> {
    let retention = root.section("retention")?;
    if !retention.flag("enabled", false) {
        return Ok(None);
    }
    let policy = retention.section("default_policy")?;
    let default_max_lifetime = match policy.get("max_lifetime") {
        None => None,
        Some(_) => Some(policy.duration_ms("max_lifetime", 0)?),
    };
    Ok(Some(Retention { default_max_lifetime }))
}

fn read_caches(root: &Section<'_>) -> Result<Caches, ConfigError> {
    let caches = root.section("caches")?;
    let factor = match std::env::var("SYNAPSE_CACHE_FACTOR") {
        Ok(text) => text.parse().map_err(|_| caches.fault("global_factor", "SYNAPSE_CACHE_FACTOR is not a number"))?,
        Err(_) => caches.float_or("global_factor", 0.5)?,
    };
    let default_events = root.size("event_cache_size", 10 << 10)?;
    Ok(Caches {
        event_cache_size: caches.size("event_cache_size", default_events)?,
        global_factor: factor,
        sync_response_cache_duration: caches.duration_ms("sync_response_cache_duration", 120_000)?,
    })
}

fn read_experimental(root: &Section<'_>) -> Result<Experimental, ConfigError> {
    let experimental = root.section("experimental_features")?;
    let flag = |name: &str| experimental.flag(name, false);
    Ok(Experimental {
        msc1763: flag("msc1763_enabled"),
        msc1767: flag("msc1767_enabled"),
        msc2654: flag("msc2654_enabled"),
        msc2815: flag("msc2815_enabled"),
        msc3026: flag("msc3026_enabled"),
        msc3391: flag("msc3391_enabled"),
        msc3575: experimental.flag("msc3575_enabled", true),
        msc3664: flag("msc3664_enabled"),
        msc3720: flag("msc3720_enabled"),
        msc3773: flag("msc3773_enabled"),
        msc3848: flag("msc3848_enabled"),
        msc3874: flag("msc3874_enabled"),
        msc3866: experimental.section("msc3866")?.flag("enabled", false),
        msc3881: flag("msc3881_enabled"),
        msc3912: flag("msc3912_enabled"),
        msc4028: flag("msc4028_push_encrypted_events"),
        msc4069: flag("msc4069_profile_inhibit_propagation"),
        msc4108: flag("msc4108_enabled") || experimental.has("msc4108_delegation_endpoint"),
        msc4133: flag("msc4133_enabled"),
        msc4143: flag("msc4143_enabled"),
        msc4155: flag("msc4155_enabled"),
        msc4169: flag("msc4169_enabled"),
        msc4222: flag("msc4222_enabled"),
        msc4242: flag("msc4242_enabled"),
        msc4267: flag("msc4267_enabled"),
        msc4293: flag("msc4293_enabled"),
        msc4306: flag("msc4306_enabled"),
        msc4354: flag("msc4354_enabled"),
        enabled: experimental.keys().filter(|name| flag(name)).map(str::to_owned).collect(),
        msc4446: flag("msc4446_enabled"),
        msc4452: flag("msc4452_enabled"),
        msc4491: flag("msc4491_enabled"),
        msc4502: flag("msc4502_enabled"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names() {
        for good in ["matrix.org", "localhost", "lab-1.test:8448", "192.0.2.1", "[2001:db8::1]", "[::1]:8448"] {
            assert!(is_server_name(good), "{good}");
        }
        for bad in ["", ":8448", "a b", "https://matrix.org", "lab_1.test", "lab.test:x", "[::1", "[lab.test]"] {
            assert!(!is_server_name(bad), "{bad}");
        }
    }
}
