//! `/versions`: what the server speaks. Answers to `synapse/rest/client/versions.py` and `handlers/versions.rs`.

use myelin_config::Config;
use serde_json::{Map, Value, json};

use crate::{Handlers, Result};

const VERSIONS: [&str; 23] = [
    "r0.0.1", "r0.1.0", "r0.2.0", "r0.3.0", "r0.4.0", "r0.5.0", "r0.6.0", "r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4",
    "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12", "v1.13", "v1.14", "v1.15",
];

/// On whatever the configuration says.
const ALWAYS: [&str; 12] = [
    "fi.mau.msc2659.stable",
    "org.matrix.e2e_cross_signing",
    "org.matrix.label_based_filtering",
    "org.matrix.msc2285.stable",
    "org.matrix.msc2432",
    "org.matrix.msc3440.stable",
    "org.matrix.msc3771",
    "org.matrix.msc3827.stable",
    "org.matrix.msc3981",
    "org.matrix.msc4380.stable",
    "org.matrix.msc4445.initial_sync_timeline_topological_ordering",
    "uk.half-shot.msc2666.query_mutual_rooms.stable",
];

impl Handlers {
    /// With the features that are on for this user alone. A JSON object.
    pub async fn versions(&self, user_id: Option<&str>) -> Result<String> {
        let experimental = &self.config.server.experimental;
        let mut own: Vec<&str> = Vec::new();
        if let Some(user_id) = user_id.filter(|_| !(experimental.msc3575 && experimental.msc3881)) {
            let enabled = self.storage.list_enabled_features(user_id).await?;
            let known = [("msc3575", "org.matrix.simplified_msc3575"), ("msc3881", "org.matrix.msc3881")];
            own.extend(known.iter().filter(|(name, _)| enabled.contains(*name)).map(|(_, key)| *key));
        }
        if own.is_empty() {
            return Ok(self.common_versions.clone());
        }
        Ok(versions(&self.config, &own))
    }
}

/// The answer, with features that are on besides those of everybody.
pub(crate) fn versions(config: &Config, own: &[&str]) -> String {
    let mut features = unstable_features(config);
    features.extend(own.iter().map(|key| ((*key).to_owned(), true.into())));
    json!({ "versions": VERSIONS, "unstable_features": features }).to_string()
}

fn unstable_features(config: &Config) -> Map<String, Value> {
    let (experimental, capabilities) = (&config.server.experimental, &config.capabilities);
    let delayed_events = capabilities.max_event_delay_ms != 0 && capabilities.max_delayed_events_per_user != 0;
    let configured = [
        ("com.beeper.msc4169", experimental.msc4169),
        ("com.beeper.msc4446", experimental.msc4446),
        ("fi.mau.msc2815", experimental.msc2815),
        ("io.element.e2ee_forced.private", capabilities.e2ee_forced_private),
        ("io.element.e2ee_forced.public", capabilities.e2ee_forced_public),
        ("io.element.e2ee_forced.trusted_private", capabilities.e2ee_forced_private),
        ("io.element.msc4502", experimental.msc4502),
        ("org.matrix.msc3026.busy_presence", experimental.msc3026),
        ("org.matrix.msc3391", experimental.msc3391),
        ("org.matrix.msc3773", experimental.msc3773),
        ("org.matrix.msc3874", experimental.msc3874),
        ("org.matrix.msc3881", experimental.msc3881),
        ("org.matrix.msc3882", capabilities.get_login_token),
        ("org.matrix.msc3912", experimental.msc3912),
        ("org.matrix.msc4028", experimental.msc4028),
        ("org.matrix.msc4069", experimental.msc4069),
        ("org.matrix.msc4108", experimental.msc4108),
        ("org.matrix.msc4140", delayed_events),
        ("org.matrix.msc4143", experimental.msc4143),
        ("org.matrix.msc4155", experimental.msc4155),
        ("org.matrix.msc4262", config.server.include_profile_updates_in_sync),
        ("org.matrix.msc4306", experimental.msc4306),
        ("org.matrix.msc4354", experimental.msc4354),
        ("org.matrix.msc4429", config.server.include_profile_updates_in_sync),
        ("org.matrix.simplified_msc3575", experimental.msc3575),
        ("uk.tcpip.msc4133", experimental.msc4133),
        ("uk.timedout.msc4491.create_room_invite_reasons", experimental.msc4491),
        // Stable under this name, whatever the switch of the unstable one.
        ("uk.tcpip.msc4133.stable", true),
    ];
    let always = ALWAYS.into_iter().map(|name| (name, true));
    configured.into_iter().chain(always).map(|(name, on)| (name.to_owned(), on.into())).collect()
}
