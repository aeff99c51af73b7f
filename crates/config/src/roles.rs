//! Roles that write or act on their own: with Myelin in that place nobody would play them, so that it refuses to
//! start. Answers to `_worker_names_performing_this_duty` and `_should_this_worker_perform_duty` in
//! `synapse/config/workers.py` and to `synapse/config/repository.py`.

use std::collections::BTreeMap;

use crate::error::ConfigError;
use crate::listener::Listener;
use crate::section::Section;
use crate::worker::InstanceLocation;

/// What Myelin would be.
pub struct Place<'a> {
    pub app: &'a str,
    pub name: &'a str,
    pub listeners: &'a [Listener],
    pub has_fallback: bool,
}

/// Key, what its instances do, the old worker app that did it, and whether the key takes the duty away from that app.
const ROLES: [(&str, &str, &str, bool); 7] = [
    ("federation_sender_instances", "sends federation traffic", "synapse.app.federation_sender", true),
    ("pusher_instances", "sends push notifications", "synapse.app.pusher", true),
    ("notify_appservices_from_worker", "notifies application services", "synapse.app.appservice", false),
    ("update_user_directory_from_worker", "updates the user directory", "synapse.app.user_dir", false),
    ("media_instance_running_background_jobs", "looks after media", "synapse.app.media_repository", false),
    ("run_background_tasks_on", "runs background tasks", "", false),
    ("outbound_federation_restricted_to", "sends federation requests for others", "", false),
];

pub fn refuse(root: &Section<'_>, place: &Place<'_>) -> Result<(), ConfigError> {
    let name = place.name;
    for (key, role, app, moves) in ROLES {
        if root.texts(key)?.iter().any(|instance| instance == name) {
            return Err(root.fault(key, format!("{name} is named: it {role}, which Myelin cannot do")));
        }
        if place.app == app && !(moves && root.has(key)) {
            return Err(root.fault("worker_app", format!("{app} {role}, which Myelin cannot do")));
        }
    }
    let serves_media = place.listeners.iter().any(|listener| listener.resources.iter().any(|name| name == "media"));
    if serves_media && !place.has_fallback && root.flag("enable_media_repo", true) {
        let reason = "the resource media is named, which Myelin cannot serve: without myelin.fallback nobody would";
        return Err(root.fault("worker_listeners", reason));
    }
    Ok(())
}

/// Synapse refuses a map without them, and requests between instances without a secret.
pub fn check_outbound(
    root: &Section<'_>,
    instance_map: &BTreeMap<String, InstanceLocation>,
) -> Result<(), ConfigError> {
    const KEY: &str = "outbound_federation_restricted_to";
    let instances = root.texts(KEY)?;
    if !instances.is_empty() && root.secret("worker_replication_secret")?.is_none() {
        return Err(root.fault(KEY, "needs worker_replication_secret"));
    }
    match instances.iter().find(|name| !instance_map.contains_key(if *name == "main" { "master" } else { name })) {
        Some(unknown) => Err(root.fault(KEY, format!("{unknown} is not in instance_map"))),
        None => Ok(()),
    }
}
