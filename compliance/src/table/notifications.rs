//! `GET /notifications`.

use crate::row::{Row, get};

fn notifications(name: &str) -> Row {
    get(&format!("notifications/{name}"), "/_matrix/client/v3/notifications")
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        notifications("one").by("bob").query("limit", "1").keep("notifications:next", "/next_token"),
        notifications("the next").by("bob").query("limit", "3").query("from", "<notifications:next>"),
        notifications("limit 0").by("bob").query("limit", "0").has("/next_token"),
        notifications("limit 1000").by("bob").query("limit", "1000").has("/notifications/1"),
        notifications("negative limit").by("bob").query("limit", "-1").status(400),
        notifications("odd limit").by("bob").query("limit", "x").status(400),
        notifications("from 0").by("bob").query("from", "0").has("/notifications/1"),
        notifications("from below").by("bob").query("from", "-5"),
        notifications("from nonsense").by("bob").query("from", "x").status(400),
        notifications("from empty").by("bob").query("from", "").status(400),
        notifications("highlights").by("bob").query("only", "highlight").has("/notifications/0"),
        notifications("only nonsense").by("bob").query("only", "x").has("/notifications/1"),
        notifications("guest").by("guest").status(403),
        notifications("nobody").status(401),
    ];
    for user in ["alice", "bob", "carol", "grace", "erin", "ivan"] {
        rows.push(notifications(&format!("of {user}")).by(user).query("limit", "200"));
    }
    rows
}
