//! `/capabilities`. Answers to `synapse/rest/client/capabilities.py`.

use myelin_config::Config;
use serde_json::{Map, Value, json};

const STABLE: [&str; 12] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];
const UNSTABLE: [&str; 3] = ["org.matrix.msc3757.10", "org.matrix.msc3757.11", "org.matrix.hydra.11"];

/// The whole answer; it depends on nothing but the configuration.
pub fn capabilities(config: &Config) -> Value {
    let (settings, experimental) = (&config.capabilities, &config.server.experimental);
    let enabled = |flag: bool| json!({ "enabled": flag });
    let profile_fields = profile_fields(config);
    let mut all = Map::new();
    let mut add = |name: &str, value: Value| drop(all.insert(name.to_owned(), value));
    add("m.room_versions", json!({ "default": settings.default_room_version, "available": room_versions(config) }));
    add("m.change_password", enabled(settings.change_password));
    add("m.set_displayname", enabled(settings.set_displayname));
    add("m.set_avatar_url", enabled(settings.set_avatar_url));
    add("m.3pid_changes", enabled(settings.threepid_changes));
    add("m.get_login_token", enabled(settings.get_login_token));
    if experimental.msc4452 {
        add("io.element.msc4452.preview_url", enabled(settings.url_preview));
    }
    if experimental.msc3720 {
        add("org.matrix.msc3720.account_status", enabled(true));
    }
    if experimental.msc3664 {
        add("im.nheko.msc3664.related_event_match", enabled(true));
    }
    if experimental.msc4133 {
        add("uk.tcpip.msc4133.profile_fields", profile_fields.clone());
    }
    add("m.profile_fields", profile_fields);
    add(
        "org.matrix.msc4140.delayed_events",
        json!({ "max_delay_ms": settings.max_event_delay_ms, "max_scheduled": settings.max_delayed_events_per_user }),
    );
    if experimental.msc4267 {
        add("org.matrix.msc4267.forget_forced_upon_leave", enabled(settings.forget_on_leave));
    }
    json!({ "capabilities": all })
}

fn room_versions(config: &Config) -> Map<String, Value> {
    let experimental = &config.server.experimental;
    let switched = [("org.matrix.msc1767.10", experimental.msc1767), ("org.matrix.msc4242.12", experimental.msc4242)];
    let unstable = UNSTABLE.into_iter().chain(switched.into_iter().filter(|(_, on)| *on).map(|(version, _)| version));
    let stable = STABLE.into_iter().map(|version| (version.to_owned(), "stable".into()));
    stable.chain(unstable.map(|version| (version.to_owned(), "unstable".into()))).collect()
}

/// Custom profile fields (MSC4133) are on; the classic two may be closed.
fn profile_fields(config: &Config) -> Value {
    let settings = &config.capabilities;
    let fields = [("displayname", settings.set_displayname), ("avatar_url", settings.set_avatar_url)];
    let disallowed: Vec<&str> = fields.into_iter().filter(|(_, allowed)| !allowed).map(|(name, _)| name).collect();
    if disallowed.is_empty() {
        json!({ "enabled": true })
    } else {
        json!({ "enabled": true, "disallowed": disallowed })
    }
}
