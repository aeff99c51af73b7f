//! Who may federate, how often, and our keys. Answers to `synapse/config/federation.py`, `key.py` and `ratelimiting.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use crate::error::ConfigError;
use crate::federation_client::{self, FederationClient};
use crate::section::Section;
use crate::worker::InstanceLocation;

#[derive(Clone, Debug)]
pub struct Federation {
    /// The only servers to talk with; without it, all.
    pub domain_whitelist: Option<BTreeSet<String>>,
    pub allow_profile_lookup: bool,
    /// Other servers are told the names of devices.
    pub allow_device_name_lookup: bool,
    pub allow_public_rooms: bool,
    pub rate: FederationRate,
    pub keys: Keys,
    pub client: FederationClient,
}

/// `rc_federation`, of one server. Times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FederationRate {
    pub window_size: i64,
    /// With more requests within a window each of them waits for `sleep_delay`.
    pub sleep_limit: usize,
    pub sleep_delay: u64,
    /// With more that wait, the next is refused.
    pub reject_limit: usize,
    /// Requests that are worked on at once.
    pub concurrent: usize,
}

#[derive(Clone, Debug)]
pub struct Keys {
    /// The first is the one that our requests and events are signed with. None: there is no key in the configuration.
    pub signing: Vec<Key>,
    pub old: Vec<OldKey>,
    /// What keys of others are signed with: `key_server_signing_keys_path`.
    pub notary: Vec<Key>,
    /// Milliseconds.
    pub refresh_interval: i64,
}

/// A key to sign with. The id has its algorithm: `ed25519:a_abcd`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    pub id: String,
    pub seed: [u8; 32],
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A public key that is no longer in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldKey {
    pub id: String,
    pub public: [u8; 32],
    /// Milliseconds since the epoch.
    pub expired_ts: i64,
}

/// `folder`: where the configuration lies.
pub fn read(
    root: &Section<'_>,
    folder: &Path,
    instance_map: &BTreeMap<String, InstanceLocation>,
) -> Result<Federation, ConfigError> {
    const OLD: &str = "restrict_public_rooms_to_local_users";
    let whitelist = root.texts("federation_domain_whitelist")?;
    Ok(Federation {
        domain_whitelist: root.has("federation_domain_whitelist").then(|| whitelist.into_iter().collect()),
        allow_profile_lookup: root.flag("allow_profile_lookup_over_federation", true),
        allow_device_name_lookup: root.flag("allow_device_name_lookup_over_federation", false),
        allow_public_rooms: !root.flag(OLD, false) && root.flag("allow_public_rooms_over_federation", false),
        rate: read_rate(root)?,
        keys: read_keys(root, folder)?,
        client: federation_client::read(root, instance_map)?,
    })
}

fn read_rate(root: &Section<'_>) -> Result<FederationRate, ConfigError> {
    // Without the section, the older keys of the whole file count.
    let (section, prefix) =
        if root.has("rc_federation") { (&root.section("rc_federation")?, "") } else { (root, "federation_rc_") };
    let number = |key: &str, default: i64| {
        let key = format!("{prefix}{key}");
        let number = section.integer(&key)?.unwrap_or(default);
        if number < 0 { Err(section.fault(&key, "must not be negative")) } else { Ok(number) }
    };
    let count = |key: &str, default: i64| Ok(usize::try_from(number(key, default)?).unwrap_or(usize::MAX));
    Ok(FederationRate {
        window_size: number("window_size", 1000)?,
        sleep_limit: count("sleep_limit", 10)?,
        sleep_delay: number("sleep_delay", 500)?.unsigned_abs(),
        reject_limit: count("reject_limit", 50)?,
        concurrent: count("concurrent", 3)?,
    })
}

fn read_keys(root: &Section<'_>, folder: &Path) -> Result<Keys, ConfigError> {
    let signing = if let Some(inline) = root.text("signing_key")? {
        keys(&inline).map_err(|reason| root.fault("signing_key", reason))?
    } else {
        let default = format!("{}.signing.key", root.required_text("server_name")?);
        let given = root.text("signing_key_path")?;
        match std::fs::read_to_string(given.map_or_else(|| folder.join(default), Into::into)) {
            Ok(text) => keys(&text).map_err(|reason| root.fault("signing_key_path", reason))?,
            // Nothing but federation needs it: what does is left to the fallback.
            Err(_) => Vec::new(),
        }
    };
    let notary = match root.text("key_server_signing_keys_path")?.filter(|path| !path.is_empty()) {
        None => signing.clone(),
        Some(path) => {
            let fault = |reason: String| root.fault("key_server_signing_keys_path", reason);
            let text = std::fs::read_to_string(&path).map_err(|error| fault(format!("cannot read {path}: {error}")))?;
            keys(&text).map_err(fault)?
        }
    };
    Ok(Keys {
        signing,
        old: old_keys(root)?,
        notary,
        refresh_interval: root.duration_ms("key_refresh_interval", 86_400_000)?,
    })
}

/// Lines of algorithm, version and seed.
fn keys(text: &str) -> Result<Vec<Key>, String> {
    let key = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [algorithm, version, seed] = words[..] else { return Err("a key has three words".to_owned()) };
        if algorithm != "ed25519" {
            return Err(format!("the algorithm {algorithm} is not known"));
        }
        let seed = decode_key(seed).ok_or_else(|| format!("the key {version} is not 32 bytes of base64"))?;
        Ok(Key { id: format!("{algorithm}:{version}"), seed })
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(key).collect()
}

fn old_keys(root: &Section<'_>) -> Result<Vec<OldKey>, ConfigError> {
    let section = root.section("old_signing_keys")?;
    let mut old = Vec::new();
    for id in section.keys() {
        let key = section.section(id)?;
        if !id.starts_with("ed25519:") {
            return Err(section.fault(id, "is of an unknown algorithm"));
        }
        let public = decode_key(&key.required_text("key")?);
        old.push(OldKey {
            id: id.to_owned(),
            public: public.ok_or_else(|| key.fault("key", "is not 32 bytes of base64"))?,
            expired_ts: key.integer("expired_ts")?.ok_or_else(|| key.fault("expired_ts", "is required"))?,
        });
    }
    Ok(old)
}

/// A key in base64.
pub(crate) fn decode_key(text: &str) -> Option<[u8; 32]> {
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    BASE64.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_keys() {
        let seed = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";
        let found = keys(&format!("ed25519 a_1 {seed}\n\n ed25519 b {seed}=\n")).unwrap();
        assert_eq!(found.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["ed25519:a_1", "ed25519:b"]);
        assert_eq!(found[0].seed, found[1].seed);
        assert_eq!(keys("ed25519 a_1").unwrap_err(), "a key has three words");
        assert_eq!(keys("rsa a_1 x").unwrap_err(), "the algorithm rsa is not known");
        assert!(keys("ed25519 a_1 AAAA").is_err());
        assert!(!format!("{:?}", found[0]).contains(&format!("{}", found[0].seed[0])));
    }
}
