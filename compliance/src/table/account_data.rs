//! `GET /user/{user_id}/…/account_data/{type}` and `/tags`.

use crate::row::{Row, get};

fn global(name: &str, user: &str, kind: &str) -> Row {
    let path = format!("/_matrix/client/v3/user/<@{user}>/account_data/{kind}");
    get(&format!("account_data/{name}"), &path)
}

fn room(name: &str, user: &str, room: &str, kind: &str) -> Row {
    let path = format!("/_matrix/client/v3/user/<@{user}>/rooms/{room}/account_data/{kind}");
    get(&format!("account_data/{name}"), &path)
}

fn tags(name: &str, user: &str, room: &str) -> Row {
    get(&format!("tags/{name}"), &format!("/_matrix/client/v3/user/<@{user}>/rooms/{room}/tags"))
}

pub fn rows() -> Vec<Row> {
    vec![
        global("settings", "bob", "my.settings").by("bob").has("/changed"),
        global("empty", "bob", "my.deleted").by("bob"),
        global("ignored users", "bob", "m.ignored_user_list").by("bob").has("/ignored_users"),
        global("push rules", "bob", "m.push_rules").by("bob").has("/global"),
        global("push rules of all", "carol", "m.push_rules").by("carol").has("/global"),
        global("fully read", "bob", "m.fully_read").by("bob").status(404),
        global("unknown", "bob", "my.unknown").by("bob").status(404),
        global("no type", "bob", "").by("bob").status(404),
        global("of another", "alice", "my.settings").by("bob").status(403),
        global("other device", "bob", "my.settings").by("bob2").has("/changed"),
        global("guest", "guest", "my.settings").by("guest").status(403),
        global("puppet", "puppet", "my.settings").by("bridge").query("user_id", "<@puppet>").status(404),
        global("nobody", "bob", "my.settings").status(401),
        global("slash", "bob", "my.settings/").by("bob").status(404),
        get("account_data/r0", "/_matrix/client/r0/user/<@bob>/account_data/my.settings").by("bob"),
        get("account_data/api v1", "/_matrix/client/api/v1/user/<@bob>/account_data/my.settings").by("bob").status(404),
        get("account_data/no user", "/_matrix/client/v3/user/bob/account_data/my.settings").by("bob").status(403),
        room("of a room", "bob", "<general>", "my.room").by("bob").has("/colour"),
        room("fully read of a room", "bob", "<general>", "m.fully_read").by("bob").has("/event_id"),
        room("push rules of a room", "bob", "<general>", "m.push_rules").by("bob"),
        room("tags as data", "bob", "<general>", "m.tag").by("bob").status(404),
        room("empty of a room", "bob", "<general>", "m.fully_read.not").by("bob"),
        room("unknown of a room", "bob", "<general>", "my.unknown").by("bob").status(404),
        room("of another room", "bob", "<busy>", "my.room").by("bob").status(404),
        room("of no room", "bob", "nonsense", "my.room").by("bob").status(400),
        room("of an alias", "bob", "%23general:myelin.test", "my.room").by("bob").status(400),
        room("of an unknown room", "bob", "!no:myelin.test", "my.room").by("bob").status(404),
        room("of another in a room", "alice", "<general>", "my.room").by("bob").status(403),
        room("of another in no room", "alice", "nonsense", "my.room").by("bob").status(403),
        room("guest in a room", "guest", "<general>", "my.room").by("guest").status(403),
        room("nobody in a room", "bob", "<general>", "my.room").status(401),
        tags("two", "bob", "<general>").by("bob").has("/tags/m.favourite"),
        tags("taken away", "bob", "<busy>").by("bob"),
        tags("none", "carol", "<general>").by("carol").has("/tags"),
        tags("no room", "bob", "nonsense").by("bob").has("/tags"),
        tags("of another", "alice", "<general>").by("bob").status(403),
        tags("guest", "guest", "<general>").by("guest").status(403),
        tags("nobody", "bob", "<general>").status(401),
        tags("slash", "bob", "<general>/").by("bob").status(404),
    ]
}
