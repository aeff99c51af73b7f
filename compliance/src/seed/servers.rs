//! Other servers, of which nothing exists but their keys.

use std::fmt::Write;

use anyhow::Result;
use myelin_model::signing::encode_base64;
use myelin_testkit::synapse::{SERVER_NAME, Synapse};
use serde_json::{Value, json};

use super::Seed;
use crate::sign::key;

const DAY: i64 = 86_400_000;
/// Servers that could not be reached a while ago.
pub const RETURNING: [&str; 2] = ["back1.test", "back2.test"];

impl Seed {
    /// Their keys were fetched yesterday, that of `other.test` for three days in all; that of `expired.test`, and the first of `rotated.test`, was good until an hour ago. `unknown.test` signs, but
    /// nobody knows its key.
    pub(super) fn servers(&mut self, synapse: &Synapse) -> Result<()> {
        let own = std::fs::read_to_string(synapse.folder.join("signing.key"))?;
        self.names.set(&format!("key:{SERVER_NAME}"), own);
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?;
        let mut sql = String::new();
        for (server, valid_until) in [
            ("other.test", Some(now + 2 * DAY)),
            ("third.test", Some(now + DAY)),
            ("left.test", Some(now + DAY)),
            ("banned.test", Some(now + DAY)),
            ("acl.test", Some(now + DAY)),
            ("stranger.test", Some(now + DAY)),
            ("rotated.test", Some(now + DAY)),
            (RETURNING[0], Some(now + DAY)),
            (RETURNING[1], Some(now + DAY)),
            ("expired.test", Some(now - DAY / 24)),
            ("unknown.test", None),
        ] {
            let mut seed = [b'-'; 32];
            seed[..server.len()].copy_from_slice(server.as_bytes());
            self.names.set(&format!("key:{server}"), format!("ed25519 a_{} {}", &server[..3], encode_base64(&seed)));
            if let Some(valid_until) = valid_until {
                sql += &self.stored_key(server, server, now - DAY, valid_until)?;
            }
        }
        // The key that it had before.
        self.names.set("key:before rotated.test", format!("ed25519 b_rot {}", encode_base64(&[b'b'; 32])));
        sql += &self.stored_key("rotated.test", "before rotated.test", now - DAY, now - DAY / 24)?;
        for server in RETURNING {
            let columns = "destination, retry_last_ts, retry_interval, failure_ts";
            let at = now - 1000;
            writeln!(sql, "INSERT INTO destinations ({columns}) VALUES ('{server}', {at}, 60000, {at});")?;
        }
        self.names.set("in an hour", (now + DAY / 24).to_string());
        self.names.set("in a month", (now + 30 * DAY).to_string());
        let script = synapse.folder.join("servers.sql");
        std::fs::write(&script, sql)?;
        synapse.postgres.run_script("synapse", &script, &[])
    }

    fn stored_key(&self, server: &str, whose: &str, added: i64, valid_until: i64) -> Result<String> {
        let key = key(&self.names, whose)?;
        let id = key.id().to_owned();
        let mut object = json!({"server_name": server, "valid_until_ts": valid_until, "old_verify_keys": {},
            "verify_keys": {&id: {"key": encode_base64(&key.public())}}});
        if let Value::Object(object) = &mut object {
            key.sign_json(object, server)?;
        }
        Ok(format!(
            "INSERT INTO server_keys_json (server_name, key_id, from_server, ts_added_ms, ts_valid_until_ms, key_json) \
             VALUES ('{server}', '{id}', '{server}', {added}, {valid_until}, convert_to('{object}', 'UTF8'));\n"
        ))
    }
}
