//! `GET /rooms/{room_id}/thread/{thread_root_id}/subscription` and `/thread_subscriptions`.

use crate::row::{Row, get};

fn one(name: &str, room: &str, root: &str) -> Row {
    let path = format!("/_matrix/client/unstable/io.element.msc4306/rooms/{room}/thread/{root}/subscription");
    get(&format!("thread_subscriptions/one, {name}"), &path)
}

fn all(name: &str) -> Row {
    let path = "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions";
    get(&format!("thread_subscriptions/all, {name}"), path)
}

pub fn rows() -> Vec<Row> {
    let pages = "thread_subscriptions/all, first page";
    let mut rows = vec![
        one("automatic", "<threads>", "<threads:root>").by("bob").has("/automatic"),
        one("by hand", "<threads>", "<threads:second root>").by("bob").has("/automatic"),
        one("no more", "<threads>", "<threads:lonely root>").by("bob").status(404),
        one("never", "<threads>", "<threads:edited>").by("bob").status(404),
        one("of another user", "<threads>", "<threads:root>").by("alice").status(404),
        one("of another user who has one", "<threads>", "<threads:second root>").by("alice"),
        one("not a member", "<threads>", "<threads:root>").by("heidi").status(404),
        one("another room's", "<general>", "<threads:root>").by("bob").status(404),
        one("unknown root", "<threads>", "$nonsense").by("bob").status(404),
        one("no event id", "<threads>", "nonsense").by("bob").status(400),
        one("no room id", "nonsense", "<threads:root>").by("bob").status(400),
        one("a room id without a server", "!nonsense", "<threads:root>").by("bob").status(400),
        one("no room id, nobody", "nonsense", "<threads:root>").status(400),
        one("guest", "<threads>", "<threads:root>").by("guest").status(403),
        one("nobody", "<threads>", "<threads:root>").status(401),
        all("both kinds").by("bob").query("dir", "b").has("/subscribed/<threads>").has("/unsubscribed/<threads>"),
        all("another user's").by("alice").query("dir", "b").has("/subscribed/<threads>"),
        all("none").by("carol").query("dir", "b"),
        all("guest").by("guest").query("dir", "b").status(403),
        all("nobody").query("dir", "b").status(401),
        all("no direction").by("bob").status(400),
        all("forwards").by("bob").query("dir", "f").status(400),
        get(pages, "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions")
            .by("bob")
            .query("dir", "b")
            .query("limit", "2")
            .keep("threads:page", "/end"),
        all("second page").by("bob").query("dir", "b").query("limit", "2").query("from", "<threads:page>"),
        all("down to a page").by("bob").query("dir", "b").query("to", "<threads:page>").has("/subscribed"),
        all("down to a sync").by("bob").query("dir", "b").query("to", "1/<since:rooms>").has("/subscribed"),
        all("down to the end").by("bob").query("dir", "b").query("to", "7/<since:end>"),
        all("all of it").by("bob").query("dir", "b").query("limit", "3").has("/end"),
        all("many").by("bob").query("dir", "b").query("limit", "100000"),
    ];
    for (name, value) in [
        ("limit", "0"),
        ("limit", "-1"),
        ("limit", "x"),
        ("from", "x"),
        ("from", "tsx"),
        ("from", ""),
        ("to", "tsx"),
        ("to", "1/x"),
        ("to", "x/<since:end>"),
        ("to", ""),
    ] {
        rows.push(all(&format!("bad {name} {value}")).by("bob").query("dir", "b").query(name, value).status(400));
    }
    rows
}
