//! Keys that nobody could upload without real signatures, and what is known of another server's users.

use anyhow::Result;
use myelin_testkit::synapse::Synapse;
use serde_json::{Value, json};

use super::Seed;

impl Seed {
    /// Nobody has asked for any of it yet.
    pub(super) fn keys(&mut self, synapse: &Synapse) -> Result<()> {
        let alice = self.names.get("@alice")?.to_owned();
        let (bob, device) = (self.names.get("@bob")?.to_owned(), self.names.get("device:alice")?.to_owned());
        let mut sql = Vec::new();
        for kind in ["master", "self_signing", "user_signing"] {
            sql.push(key(&alice, kind, &format!("alice-{kind}")));
        }
        // The later one counts.
        for public in ["bob-old", "bob-new"] {
            sql.push(key(&bob, "master", public));
        }
        for (by, signer, target, of) in [
            (&alice, "alice-self_signing", &alice, &*device),
            (&alice, "alice-device", &alice, "alice-master"),
            (&bob, "bob-user", &alice, "alice-master"),
            (&bob, "bob-user", &alice, &*device),
            (&alice, "alice-user_signing", &bob, "bob-new"),
        ] {
            sql.push(format!(
                "INSERT INTO e2e_cross_signing_signatures VALUES ('{by}', 'ed25519:{signer}', '{target}', '{of}', \
                 'signature of {signer}');\n"
            ));
        }
        for (name, has_both) in [("remote", true), ("half", false), ("gone", true), ("stale", true)] {
            sql.extend(remote(&format!("@{name}:other.test"), has_both, name != "gone", name == "stale"));
        }
        let script = synapse.folder.join("keys.sql");
        std::fs::write(&script, sql.concat())?;
        synapse.postgres.run_script("synapse", &script, &[])
    }
}

fn key(user_id: &str, kind: &str, public: &str) -> String {
    let id = format!("ed25519:{public}");
    let json = json!({"user_id": user_id, "usage": [kind], "keys": {id: public},
        "signatures": {"@x:myelin.test": {"ed25519:x": "y"}}});
    format!(
        "INSERT INTO e2e_cross_signing_keys (user_id, keytype, keydata, stream_id) \
         VALUES ('{user_id}', '{kind}', '{json}', nextval('e2e_cross_signing_keys_sequence'));\n"
    )
}

/// A user of a server that does not exist, with two devices, in a room that nobody else is in.
fn remote(user_id: &str, has_both: bool, is_in_a_room: bool, must_be_fetched: bool) -> Vec<String> {
    let mut sql = vec![key(user_id, "master", &format!("{user_id}-master"))];
    if has_both {
        sql.push(key(user_id, "self_signing", &format!("{user_id}-self_signing")));
    }
    let keys = json!({"user_id": user_id, "keys": {"ed25519:R1": "x"}, "unsigned": {"old": 1}});
    for (device_id, content) in
        [("R1", json!({"device_id": "R1", "device_display_name": "Far", "keys": keys})), ("R2", Value::default())]
    {
        let content = if content.is_null() { json!({"device_id": device_id}) } else { content };
        sql.push(format!("INSERT INTO device_lists_remote_cache VALUES ('{user_id}', '{device_id}', '{content}');\n"));
    }
    sql.push(format!("INSERT INTO device_lists_remote_extremeties VALUES ('{user_id}', '5');\n"));
    if is_in_a_room {
        sql.push(format!(
            "INSERT INTO current_state_events (event_id, room_id, type, state_key, membership) \
             VALUES ('$of{user_id}', '!elsewhere:other.test', 'm.room.member', '{user_id}', 'join');\n"
        ));
    }
    if must_be_fetched {
        sql.push(format!("INSERT INTO device_lists_remote_resync VALUES ('{user_id}', 1);\n"));
    }
    sql
}
