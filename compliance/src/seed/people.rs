//! Users, devices, keys, an application service's puppet and a guest.

use anyhow::{Context, Result};
use myelin_testkit::synapse::Synapse;
use serde_json::{Value, json};

use super::Seed;
use crate::stack::{AS_TOKEN, expect_ok};

const USERS: [&str; 19] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory", "nina", "locked",
    "root", // These are in no room, and write: what they change is seen by nobody else.
    "olga", "oscar", "otto", "paula", "peggy",
];

impl Seed {
    pub(super) fn people(&mut self) -> Result<()> {
        for user in USERS {
            self.register(user)?;
        }
        self.login("alice2", "alice")?;
        self.login("bob2", "bob")?;
        self.bridge()?;
        self.guest()?;
        for (user, name) in [("alice", "Alice"), ("bob", "Bob the Builder"), ("carol", "Carol ❤")] {
            self.ask(user, "PUT", &format!("v3/profile/<@{user}>/displayname"), &json!({"displayname": name}))?;
        }
        let avatar = json!({"avatar_url": "mxc://myelin.test/abcdef"});
        self.ask("alice", "PUT", "v3/profile/<@alice>/avatar_url", &avatar)?;
        for (field, value) in [("org.example.field", json!({"a": [1.5, "ä"]})), ("org.example.null", json!(null))] {
            self.ask("carol", "PUT", &format!("v3/profile/<@carol>/{field}"), &json!({field: value}))?;
        }
        for user in ["alice", "alice2", "bob"] {
            self.upload_keys(user, 1)?;
        }
        self.login("gone", "grace")?;
        self.ask("gone", "POST", "v3/logout", &json!({}))?;
        Ok(())
    }

    /// The first administrator is made in the database; there is no other way without a shared secret.
    pub(super) fn admin(&mut self, synapse: &Synapse) -> Result<()> {
        let script = synapse.folder.join("admin.sql");
        std::fs::write(&script, format!("UPDATE users SET admin = 1 WHERE name = '{}';", self.names.get("@root")?))?;
        synapse.postgres.run_script("synapse", &script, &[])?;
        let threepids = json!([{"medium": "email", "address": "alice@myelin.test"},
            {"medium": "msisdn", "address": "491234567"}]);
        self.ask("root", "PUT", "/_synapse/admin/v2/users/<@alice>", &json!({"threepids": threepids}))?;
        self.ask("root", "PUT", "/_synapse/admin/v2/users/<@locked>", &json!({"locked": true})).map(drop)
    }

    /// Of several scripts, in a room that anybody may enter: so everybody finds them.
    pub(super) fn names_of_all_kinds(&mut self) -> Result<()> {
        let names = [
            ("taro", "\u{5c71}\u{7530}\u{592a}\u{90ce}"),
            ("somchai", "สมชาย ใจดี"),
            ("elodie", "Élodie d’Été"),
            ("smiley", "\u{1f600} smile_y ①"),
            ("oneil", "O’Neil “Q”"),
            ("cheolsu", "김철수"),
        ];
        self.register("taro")?;
        self.room("taro", "names", &json!({"preset": "public_chat"}))?;
        for (user, name) in names {
            if user != "taro" {
                self.register(user)?;
                self.join("names", &[user])?;
            }
            self.ask(user, "PUT", &format!("v3/profile/<@{user}>/displayname"), &json!({"displayname": name}))?;
        }
        Ok(())
    }

    /// Two who may not do all that others may, in a room of theirs alone: what they write is seen by nobody else.
    pub(super) fn punished(&mut self) -> Result<()> {
        self.register("suspended")?;
        self.register("shadow")?;
        self.room("suspended", "punished", &json!({"preset": "public_chat", "name": "Punished"}))?;
        self.join("punished", &["shadow"])?;
        self.say("suspended", "punished", "first", "not punished yet")?;
        self.say("shadow", "punished", "second", "nor am I")?;
        self.ask("root", "PUT", "/_synapse/admin/v1/suspend/<@suspended>", &json!({"suspend": true}))?;
        self.ask("root", "POST", "/_synapse/admin/v1/users/<@shadow>/shadow_ban", &json!({})).map(drop)
    }

    /// Leaves every room and takes the messages along.
    pub(super) fn erase(&mut self, user: &str) -> Result<()> {
        let identifier = json!({"type": "m.id.user", "user": self.names.get(&format!("@{user}"))?});
        let auth = json!({"type": "m.login.password", "identifier": identifier, "password": "pw-for-tests"});
        self.ask(user, "POST", "v3/account/deactivate", &json!({"erase": true, "auth": auth})).map(drop)
    }

    pub(crate) fn register(&mut self, user: &str) -> Result<()> {
        let body = json!({"username": user, "password": "pw-for-tests", "auth": {"type": "m.login.dummy"}});
        let answer = self.main.send("POST", "/_matrix/client/v3/register", Some(&body))?;
        self.remember(user, &expect_ok(&answer, "register")?)
    }

    /// Another device of a user, under a name of its own.
    fn login(&mut self, name: &str, user: &str) -> Result<()> {
        let identifier = json!({"type": "m.id.user", "user": user});
        let body = json!({"type": "m.login.password", "identifier": identifier, "password": "pw-for-tests",
            "initial_device_display_name": format!("device of {name}")});
        let answer = self.main.send("POST", "/_matrix/client/v3/login", Some(&body))?;
        self.remember(name, &expect_ok(&answer, "login")?)
    }

    fn remember(&mut self, name: &str, answer: &Value) -> Result<()> {
        for (kind, key) in [("@", "user_id"), ("token:", "access_token"), ("device:", "device_id")] {
            let value = answer[key].as_str().with_context(|| format!("no {key}"))?;
            self.names.set(&format!("{kind}{name}"), value);
        }
        Ok(())
    }

    fn bridge(&mut self) -> Result<()> {
        self.names.set("token:bridge", AS_TOKEN);
        self.names.set("@bridge", "@bridge:myelin.test");
        let body = json!({"type": "m.login.application_service", "username": "bridge_one"});
        let answer = self.ask("bridge", "POST", "v3/register", &body)?;
        self.remember("puppet", &answer)
    }

    fn guest(&mut self) -> Result<()> {
        let answer = self.main.send("POST", "/_matrix/client/v3/register?kind=guest", Some(&json!({})))?;
        self.remember("guest", &expect_ok(&answer, "register a guest")?)
    }

    /// Device keys, one-time keys and a fallback key. Nobody checks the signatures here.
    pub(super) fn upload_keys(&mut self, name: &str, round: u32) -> Result<()> {
        let (user, device) = (self.names.get(&format!("@{name}"))?, self.names.get(&format!("device:{name}"))?);
        let curve = format!("curve25519:{device}");
        let device_keys = json!({
            "user_id": user, "device_id": device, "keys": {curve: format!("key{round}")},
            "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "signatures": {user: {format!("ed25519:{device}"): "signature"}},
        });
        let signed = |id: &str| json!({"key": id, "signatures": {user: {format!("ed25519:{device}"): "x"}}});
        let one_time: Value = (0..3)
            .map(|at| (format!("signed_curve25519:{round}{at}"), signed(&format!("one-time-{round}-{at}"))))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let fallback = json!({"signed_curve25519:fb": {"key": "fallback", "fallback": true,
            "signatures": {user: {format!("ed25519:{device}"): "x"}}}});
        let body = json!({"device_keys": device_keys, "one_time_keys": one_time, "fallback_keys": fallback});
        self.ask(name, "POST", "v3/keys/upload", &body).map(drop)
    }

    /// Somebody with two devices and a room of two messages, `<room:name>`, that carol is in as well.
    pub(crate) fn newcomer(&mut self, name: &str) -> Result<()> {
        self.register(name)?;
        self.login(&format!("{name}2"), name)?;
        let room = format!("room:{name}");
        self.room(name, &room, &json!({"preset": "public_chat"}))?;
        self.join(&room, &["carol"])?;
        for event in ["first", "second"] {
            self.say("carol", &room, event, event)?;
        }
        Ok(())
    }
}
