//! What few clients ask for: events to be sent later, threads that are followed, tokens for new accounts.

use anyhow::{Context, Result};
use myelin_testkit::synapse::Synapse;
use serde_json::json;

use super::Seed;

impl Seed {
    /// Bob has three delayed events, one of them state; nobody is there long enough to see them.
    pub(super) fn delayed_events(&mut self) -> Result<()> {
        const DELAY: &str = "org.matrix.msc4140.delay";
        for (name, path) in [
            ("later", format!("send/m.room.message/later1?{DELAY}=3600000")),
            ("sooner", format!("send/m.room.message/later2?{DELAY}=1800000")),
            ("state", format!("state/my.state/later?{DELAY}=7200000")),
        ] {
            let content = json!({"msgtype": "m.text", "body": "ä", "float": 1.5, "name": name});
            let answer = self.ask("bob", "PUT", &format!("v3/rooms/<busy>/{path}"), &content)?;
            self.names.set(&format!("delayed:{name}"), answer["delay_id"].as_str().context("no delay_id")?);
        }
        Ok(())
    }

    /// Bob follows two threads, one of them by chance, and a third no more; alice follows one.
    pub(super) fn thread_subscriptions(&mut self) -> Result<()> {
        let path =
            |root: &str| format!("unstable/io.element.msc4306/rooms/<threads>/thread/<threads:{root}>/subscription");
        let automatic = json!({"automatic": self.names.get("threads:reply 1")?});
        self.ask("bob", "PUT", &path("root"), &automatic)?;
        self.ask("bob", "PUT", &path("second root"), &json!({}))?;
        self.ask("bob", "PUT", &path("lonely root"), &json!({}))?;
        self.ask("bob", "DELETE", &path("lonely root"), &json!({}))?;
        self.ask("alice", "PUT", &path("second root"), &json!({})).map(drop)
    }

    /// Bob is in a room that the administrator has closed.
    pub(super) fn blocked_room(&mut self) -> Result<()> {
        self.room("alice", "blocked", &json!({"preset": "public_chat", "name": "Blocked"}))?;
        self.join("blocked", &["bob"])?;
        let body = json!({"block": true});
        self.ask("root", "PUT", "/_synapse/admin/v1/rooms/<blocked>/block", &body).map(drop)
    }

    /// A room with fruit in it, after one that was upgraded, which carol has left since. All ranks are different.
    pub(super) fn fruit(&mut self) -> Result<()> {
        self.room("alice", "old fruit", &json!({"preset": "public_chat", "name": "Fruit"}))?;
        self.join("old fruit", &["bob", "carol"])?;
        self.say("bob", "old fruit", "pear", "one pear, two pears, three pears and a pear tree")?;
        let new = self.ask("alice", "POST", "v3/rooms/<old fruit>/upgrade", &json!({"new_version": "11"}))?;
        self.names.set("fruit", new["replacement_room"].as_str().context("no replacement_room")?);
        self.join("fruit", &["bob", "carol", "mallory"])?;
        for number in 1..=25 {
            let text = format!("{}of <fruit> number {number}", "mango ".repeat(number));
            self.say(["alice", "bob", "carol"][number % 3], "fruit", &format!("mango {number}"), &text)?;
        }
        self.say("alice", "fruit", "pears", "pear, and another pear")?;
        self.say("carol", "fruit", "plum", "a plum pudding — Übergröße, naïve, 苹果, running runners run")?;
        self.say("mallory", "fruit", "unwanted", "a pear that bob does not want to see")?;
        self.say("alice", "fruit", "gone", "a pear that was eaten")?;
        self.redact("alice", "fruit", "gone")?;
        self.state("alice", "fruit", "topic", "m.room.topic", &json!({"topic": "all about the pear"}))?;
        let thread = json!({"rel_type": "m.thread", "event_id": "<fruit:plum>"});
        self.relate("bob", "fruit", "in a thread", &thread, "a plum in a thread")?;
        self.leave("carol", "fruit")?;
        self.say("alice", "fruit", "late", "a late pear for those who stayed")
    }

    /// Good ones, and such as are used up or too old.
    pub(super) fn registration_tokens(synapse: &Synapse) -> Result<()> {
        let script = synapse.folder.join("tokens.sql");
        let values = "('open', NULL, 0, 0, NULL), ('last', 2, 0, 1, NULL), ('taken', 2, 1, 1, NULL), \
                      ('old', NULL, 0, 0, 1), ('young', NULL, 0, 0, 9000000000000), ('zero', 0, 0, 3, 0)";
        std::fs::write(&script, format!("INSERT INTO registration_tokens VALUES {values};"))?;
        synapse.postgres.run_script("synapse", &script, &[])
    }
}
