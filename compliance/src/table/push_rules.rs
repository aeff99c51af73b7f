//! `GET /pushrules/…`.

use crate::row::{Row, get};

fn rules(name: &str, path: &str) -> Row {
    get(&format!("push_rules/{name}"), &format!("/_matrix/client/v3/pushrules{path}"))
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        rules("all", "/").by("bob").has("/global/content/0"),
        rules("of everybody", "/").by("carol").has("/global/override/0"),
        rules("without a slash", "").by("bob").status(404),
        rules("global", "/global/").by("bob").has("/override"),
        rules("global without a slash", "/global").by("bob").status(400),
        rules("global and more", "/global//x").by("bob").has("/override"),
        rules("device", "/device/").by("bob").status(400),
        rules("unknown kind", "/global/nonsense/").by("bob").status(400),
        rules("unknown rule", "/global/override/nonsense").by("bob").status(404),
        rules("unknown attribute", "/global/override/.m.rule.master/nonsense").by("bob").status(400),
        rules("empty attribute", "/global/override/.m.rule.master/").by("bob").status(400),
        rules("own rule", "/global/content/cake").by("bob").has("/pattern"),
        rules("own actions", "/global/content/cake/actions").by("bob").has("/actions"),
        rules("room rule", "/global/room/<busy>").by("bob").has("/rule_id"),
        rules("encoded slash", "/global%2Foverride%2F.m.rule.master").by("bob"),
        rules("encoded scope", "/%67lobal/").by("bob"),
        rules("more", "/global/override/.m.rule.master/enabled/more").by("bob"),
        rules("puppet", "/").by("bridge").query("user_id", "<@puppet>"),
        rules("guest", "/").by("guest").status(403),
        rules("nobody", "/").status(401),
        rules("nobody without a slash", "").status(404),
        get("push_rules/api v1", "/_matrix/client/api/v1/pushrules/").by("bob"),
    ];
    for kind in ["override", "content", "room", "sender", "underride", "postcontent"] {
        rows.push(rules(&format!("kind {kind}"), &format!("/global/{kind}/")).by("bob"));
        rows.push(rules(&format!("kind {kind} without a slash"), &format!("/global/{kind}")).by("bob").status(400));
    }
    for attribute in ["enabled", "actions", "conditions", "rule_id", "default"] {
        let path = format!("/global/override/.m.rule.master/{attribute}");
        rows.push(rules(&format!("attribute {attribute}"), &path).by("bob").has(&format!("/{attribute}")));
    }
    rows
}
