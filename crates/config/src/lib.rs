//! The operator's own homeserver.yaml and worker yaml, as Synapse reads them.
//! Answers to `synapse/config/`.
//!
//! Architecture invariant: files are read once, at start; nothing here talks to a network.

mod appservice;
mod auth;
mod capabilities;
mod database;
mod directory;
mod discovery;
mod error;
mod federation;
mod federation_client;
mod files;
mod ip_range;
mod listener;
mod mas;
mod profile;
mod registration;
mod roles;
mod section;
mod server;
mod voip;
mod worker;
pub mod yaml;

use std::path::PathBuf;

pub use appservice::{AppService, Namespace, Namespaces};
pub use auth::{Auth, MacaroonSecret};
pub use capabilities::Capabilities;
pub use database::{Database, DatabaseArgs};
pub use directory::Directory;
pub use discovery::Discovery;
pub use error::ConfigError;
pub use federation::{Federation, FederationRate, Key, Keys, OldKey};
pub use federation_client::{FederationClient, FederationTls, TrustedKeyServer};
pub use ip_range::{IpRange, is_blocked};
pub use listener::{Bind, Listener, ListenerKind};
pub use mas::Mas;
pub use profile::Profile;
pub use registration::Registration;
pub use section::truthy;
pub use server::{Caches, Experimental, Presence, Retention, Server};
pub use voip::Voip;
pub use worker::{InstanceLocation, Redis, StreamWriters, Worker};

/// Everything Myelin needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: Server,
    pub worker: Worker,
    pub redis: Redis,
    pub databases: Vec<Database>,
    pub app_services: Vec<AppService>,
    pub auth: Auth,
    pub capabilities: Capabilities,
    pub directory: Directory,
    pub discovery: Discovery,
    pub federation: Federation,
    pub profile: Profile,
    pub registration: Registration,
    pub voip: Voip,
    /// Settings that were read but have no effect here; logged once at start.
    pub warnings: Vec<String>,
}

/// Reads the files and folders named by `-c`, in order; a top-level key of a later file replaces
/// the earlier one whole.
pub fn load(paths: &[PathBuf]) -> Result<Config, ConfigError> {
    let files = files::read(paths)?;
    let root = files.root();
    let mut warnings = Vec::new();
    let server = server::read(&root, &mut warnings)?;
    let worker = worker::read(&root, &mut warnings)?;
    Ok(Config {
        federation: federation::read(&root, files.folder(), &worker.instance_map)?,
        server,
        worker,
        redis: worker::read_redis(&root)?,
        databases: database::read(&root)?,
        app_services: appservice::read(&root)?,
        auth: auth::read(&root, files.folder(), &mut warnings)?,
        capabilities: capabilities::read(&root)?,
        directory: directory::read(&root)?,
        discovery: discovery::read(&root)?,
        profile: profile::read(&root)?,
        registration: registration::read(&root)?,
        voip: voip::read(&root)?,
        warnings,
    })
}
