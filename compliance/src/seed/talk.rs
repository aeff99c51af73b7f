//! Messages and what is said about them; settings; then changes for those who come back later.

use anyhow::Result;
use serde_json::json;

use super::Seed;

impl Seed {
    pub(super) fn talk(&mut self) -> Result<()> {
        self.room("alice", "busy", &json!({"preset": "public_chat", "name": "Busy"}))?;
        self.join("busy", &["bob", "carol", "grace"])?;
        for number in 0..60 {
            let by = ["alice", "bob", "carol"][number % 3];
            self.say(by, "busy", &format!("m{number}"), &format!("message {number}"))?;
        }
        self.relations()?;
        self.settings()?;
        self.backups()?;
        self.receipts()?;
        for number in 0..3 {
            self.send_to_device("alice", "bob", "bob", &json!({"number": number, "float": 1.5}))?;
        }
        self.send_to_device("alice", "bob", "bob2", &json!({"for": "the second device"}))
    }

    /// Edits, reactions, references, threads and redactions.
    fn relations(&mut self) -> Result<()> {
        self.room("alice", "threads", &json!({"preset": "public_chat", "name": "Threads"}))?;
        self.join("threads", &["bob", "carol"])?;
        for name in ["root", "edited", "reacted", "redacted", "referenced", "lonely root"] {
            self.say("alice", "threads", name, name)?;
        }
        let thread = json!({"rel_type": "m.thread", "event_id": "<threads:root>"});
        for (by, name) in [("bob", "reply 1"), ("carol", "reply 2"), ("bob", "reply 3")] {
            self.relate(by, "threads", name, &thread, name)?;
        }
        self.say("bob", "threads", "second root", "another thread")?;
        let thread = json!({"rel_type": "m.thread", "event_id": "<threads:second root>"});
        self.relate("alice", "threads", "second reply", &thread, "of another thread")?;
        let thread = json!({"rel_type": "m.thread", "event_id": "<threads:lonely root>"});
        self.relate("carol", "threads", "only reply", &thread, "will be redacted")?;
        let edit = json!({"rel_type": "m.replace", "event_id": "<threads:edited>"});
        self.relate("alice", "threads", "edit 1", &edit, "once")?;
        self.relate("alice", "threads", "edit 2", &edit, "twice")?;
        let edit = json!({"rel_type": "m.replace", "event_id": "<threads:reply 3>"});
        self.relate("bob", "threads", "edit of reply 3", &edit, "of the latest")?;
        for (by, key) in [("bob", "👍"), ("carol", "👍"), ("carol", "x")] {
            let relation = json!({"rel_type": "m.annotation", "event_id": "<threads:reacted>", "key": key});
            let name = format!("{by} {key}");
            self.send(by, "threads", &name, "m.reaction", &json!({"m.relates_to": relation}))?;
        }
        let reference = json!({"rel_type": "m.reference", "event_id": "<threads:referenced>"});
        self.relate("bob", "threads", "reference", &reference, "refers")?;
        self.redact("alice", "threads", "redacted")?;
        self.redact("carol", "threads", "only reply")?;
        self.redact("carol", "threads", "carol x")?;
        self.state("alice", "threads", "doomed state", "my.state/key", &json!({"a": 1}))?;
        self.redact("alice", "threads", "doomed state")
    }

    /// Account data, tags, push rules, ignored users.
    fn settings(&mut self) -> Result<()> {
        self.account_data("bob", "m.ignored_user_list", &json!({"ignored_users": {self.names.get("@mallory")?: {}}}))?;
        self.account_data("bob", "my.settings", &json!({"n": 12_345_678_901_234_567_u64, "f": 1.0, "t": "ä\u{2028}"}))?;
        // Its messages are hidden at once, its state is not.
        self.room("alice", "forgetful", &json!({"preset": "public_chat", "name": "Forgetful"}))?;
        self.join("forgetful", &["bob"])?;
        self.state("alice", "forgetful", "retention", "m.room.retention", &json!({"max_lifetime": 1}))?;
        self.say("alice", "forgetful", "gone", "nobody reads this")?;
        let thread = json!({"rel_type": "m.thread", "event_id": "<forgetful:gone>"});
        self.relate("bob", "forgetful", "gone too", &thread, "nobody reads this either")?;
        self.account_data("bob", "my.deleted", &json!({}))?;
        self.room_account_data("bob", "general", "my.room", &json!({"colour": "red"}))?;
        self.room_account_data("bob", "general", "m.fully_read.not", &json!({}))?;
        self.tag("bob", "general", "m.favourite", &json!({"order": 0.25}))?;
        self.tag("bob", "busy", "u.work", &json!({}))?;
        let rule = json!({"pattern": "cake", "actions": ["notify", {"set_tweak": "highlight"}]});
        self.ask("bob", "PUT", "v3/pushrules/global/content/cake", &rule)?;
        self.ask("bob", "PUT", "v3/pushrules/global/room/<busy>", &json!({"actions": []}))?;
        self.ask("bob", "PUT", "v3/pushrules/global/override/.m.rule.master/enabled", &json!({"enabled": false}))?;
        self.say("mallory", "general", "of mallory", "bob does not see this")?;
        self.say("alice", "general", "cake", "there is cake, Bob")?;
        let state = json!({"topic": "of an ignored user"});
        self.state("alice", "general", "topic", "m.room.topic", &state)
    }

    /// Backups of room keys: bob has one with keys in it, carol an empty one after one that she deleted.
    fn backups(&mut self) -> Result<()> {
        let version = json!({"algorithm": "m.megolm_backup.v1", "auth_data": {"public_key": "abc", "n": 1.0}});
        for user in ["bob", "carol", "carol"] {
            self.ask(user, "POST", "v3/room_keys/version", &version)?;
        }
        self.ask("carol", "DELETE", "v3/room_keys/version/1", &json!({}))?;
        for (room, session, is_verified) in [("general", "s1", true), ("general", "s2", false), ("busy", "s3", true)] {
            let key = json!({"first_message_index": 1, "forwarded_count": 0, "is_verified": is_verified,
                "session_data": {"ciphertext": "…", "float": 1.5}});
            self.ask("bob", "PUT", &format!("v3/room_keys/keys/<{room}>/{session}?version=1"), &key)?;
        }
        Ok(())
    }

    fn receipts(&mut self) -> Result<()> {
        let main = json!({"thread_id": "main"});
        let thread = json!({"thread_id": "<threads:root>"});
        self.receipt("bob", "m.read", "busy", "m20", &json!({}))?;
        self.receipt("carol", "m.read", "busy", "m30", &json!({}))?;
        self.receipt("carol", "m.read.private", "busy", "m40", &json!({}))?;
        self.receipt("bob", "m.read.private", "busy", "m25", &json!({}))?;
        self.receipt("alice", "m.read", "threads", "reply 2", &thread)?;
        self.receipt("carol", "m.read", "threads", "lonely root", &main)?;
        self.receipt("bob", "m.read.private", "threads", "reply 1", &thread)?;
        let markers =
            json!({"m.fully_read": self.names.get("general:first")?, "m.read": self.names.get("general:first")?});
        self.ask("bob", "POST", "v3/rooms/<general>/read_markers", &markers).map(drop)
    }

    /// What bob missed.
    pub(super) fn changes(&mut self) -> Result<()> {
        self.state("alice", "general", "name", "m.room.name", &json!({"name": "General, renamed"}))?;
        self.say("alice", "general", "news", "news")?;
        self.join("general", &["heidi"])?;
        self.leave("mallory", "general")?;
        self.ask("carol", "PUT", "v3/profile/<@carol>/displayname", &json!({"displayname": "Carola"}))?;
        let bob = self.names.get("@bob")?.to_owned();
        self.room("alice", "new", &json!({"name": "New", "invite": [bob]}))?;
        self.join("new", &["bob"])?;
        self.say("alice", "new", "first", "welcome")?;
        self.room("alice", "new invite", &json!({"name": "New invite", "invite": [bob]}))?;
        self.leave("bob", "v10")?;
        self.membership("alice", "v6", "kick", "bob")?;
        self.membership("alice", "knock", "kick", "carol")?;
        for number in 60..90 {
            self.say("alice", "busy", &format!("m{number}"), &format!("message {number}"))?;
        }
        let hidden = json!({"history_visibility": "joined"});
        self.state("alice", "shared", "hidden", "m.room.history_visibility", &hidden)?;
        self.say("alice", "shared", "secret", "only for members")?;
        self.state("alice", "general", "power", "my.state/a", &json!({"value": 1}))?;
        self.state("alice", "general", "power2", "my.state/a", &json!({"value": 2}))?;
        self.redact("bob", "general", "of mallory")?;
        self.account_data("bob", "my.settings", &json!({"changed": true}))?;
        self.ask("bob", "DELETE", "v3/user/<@bob>/rooms/<busy>/tags/u.work", &json!({}))?;
        self.receipt("carol", "m.read", "general", "news", &json!({}))?;
        self.upload_keys("alice", 2)?;
        self.send_to_device("carol", "bob", "bob", &json!({"late": true}))
    }

    /// Memberships that change more than once between two syncs; an erased user; a room whose history forks.
    pub(super) fn comings_and_goings(&mut self) -> Result<()> {
        for name in ["bounced", "rejoined", "revoked", "fork"] {
            self.room("alice", name, &json!({"name": name, "preset": "public_chat"}))?;
        }
        self.say("alice", "bounced", "first", "before")?;
        self.join("bounced", &["bob"])?;
        self.say("alice", "bounced", "met", "bob is here")?;
        self.leave("bob", "bounced")?;
        self.leave("bob", "dm")?;
        self.membership("alice", "dm", "invite", "bob")?;
        self.join("dm", &["bob"])?;
        self.join("rejoined", &["bob"])?;
        self.membership("alice", "rejoined", "ban", "bob")?;
        self.membership("alice", "rejoined", "unban", "bob")?;
        self.join("rejoined", &["bob"])?;
        self.membership("alice", "revoked", "invite", "bob")?;
        self.membership("alice", "revoked", "kick", "bob")?;
        self.erase("nina")?;
        self.fork()
    }

    /// Events sent at once have the same parents.
    fn fork(&mut self) -> Result<()> {
        self.join("fork", &["bob", "carol"])?;
        let seed = &*self;
        std::thread::scope(|scope| {
            let send = |user: &'static str, at: usize| {
                let path = format!("v3/rooms/<fork>/send/m.room.message/{user}{at}");
                scope.spawn(move || seed.ask(user, "PUT", &path, &json!({"msgtype": "m.text", "body": "at once"})))
            };
            let users = ["alice", "bob", "carol"].into_iter();
            let sent: Vec<_> = users.flat_map(|user| (0..3).map(move |at| (user, at))).collect();
            let sent: Vec<_> = sent.into_iter().map(|(user, at)| send(user, at)).collect();
            sent.into_iter().try_for_each(|sent| match sent.join() {
                Ok(answer) => answer.map(drop),
                Err(_) => anyhow::bail!("a request panicked"),
            })
        })
    }

    /// The last moments: one event in one room.
    pub(super) fn late_talk(&mut self) -> Result<()> {
        self.say("carol", "general", "last", "the last word")
    }
}
