//! Whose invites a user does not want to see: those of ignored users, and with MSC4155 those that the user's rules
//! name. Answers to `synapse/storage/invite_rule.py` and `get_invite_config_for_user`.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{Handlers, Result};

/// Blocks all invites or none (MSC4380); where it is, there are no other rules.
const BLOCKING: &str = "m.invite_permission_config";
const RULES: &str = "org.matrix.msc4155.invite_permission_config";
/// A user id has no more bytes.
const LONGEST_GLOB: usize = 255;
/// The first list that matches decides: what it looks at, its key, whether it hides the invite.
const LISTS: [(Subject, &str, bool); 6] = [
    (Subject::User, "allowed_users", false),
    (Subject::User, "ignored_users", true),
    (Subject::User, "blocked_users", false),
    (Subject::Server, "allowed_servers", false),
    (Subject::Server, "ignored_servers", true),
    (Subject::Server, "blocked_servers", false),
];

#[derive(Clone, Copy, PartialEq)]
enum Subject {
    User,
    Server,
}

pub(crate) struct UnwantedInvites {
    ignored_users: Arc<HashSet<Arc<str>>>,
    rules: Map<String, Value>,
}

impl UnwantedInvites {
    pub fn are_from(&self, user_id: &str) -> bool {
        self.ignored_users.contains(user_id) || hides(&self.rules, user_id)
    }
}

impl Handlers {
    pub(crate) async fn unwanted_invites(&self, user_id: &str) -> Result<UnwantedInvites> {
        let ignored_users = self.storage.ignored_users(user_id).await?;
        let mut rules = Map::new();
        if self.config.server.experimental.msc4155 {
            let data = self.storage.get_global_account_data_for_user(user_id).await?;
            let of = |wanted: &str| data.iter().find(|(kind, _)| &**kind == wanted);
            if let (None, Some((_, content))) = (of(BLOCKING), of(RULES)) {
                rules = serde_json::from_str(content).unwrap_or_default();
            }
        }
        Ok(UnwantedInvites { ignored_users, rules })
    }
}

fn hides(rules: &Map<String, Value>, user_id: &str) -> bool {
    let server = user_id.split_once(':').map_or("", |(_, server)| server);
    let matches = |subject: Subject, key: &str| {
        let text = if subject == Subject::User { user_id } else { server };
        let globs = rules.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let globs = globs.iter().filter_map(Value::as_str);
        globs.filter(|glob| !glob.is_empty() && glob.chars().count() <= LONGEST_GLOB).any(|glob| is_match(glob, text))
    };
    LISTS.iter().find(|(subject, key, _)| matches(*subject, key)).is_some_and(|(_, _, hides)| *hides)
}

/// `glob_to_regex`: `*` stands for anything, `?` for one character; the case does not matter.
fn is_match(glob: &str, text: &str) -> bool {
    let [glob, text] = [glob, text].map(|text| text.to_lowercase().chars().collect::<Vec<char>>());
    let (mut at, mut in_glob) = (0, 0);
    // Where the last `*` was, and up to where it reaches.
    let mut star = None;
    while let Some(found) = text.get(at) {
        match (glob.get(in_glob), star) {
            (Some('*'), _) => {
                star = Some((in_glob, at));
                in_glob += 1;
            }
            (Some(wanted), _) if *wanted == '?' || wanted == found => {
                at += 1;
                in_glob += 1;
            }
            (_, Some((after, reached))) => {
                star = Some((after, reached + 1));
                (in_glob, at) = (after + 1, reached + 1);
            }
            (_, None) => return false,
        }
    }
    glob.iter().skip(in_glob).all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn globs() {
        for (glob, text, matches) in [
            ("@a:t", "@A:T", true),
            ("@a:t", "@a:tt", false),
            ("*", "", true),
            ("@*:t", "@:t", true),
            ("@a*b*c", "@abxbc", true),
            ("@a*b*c", "@abxb", false),
            ("@?:t", "@ä:t", true),
            ("@?:t", "@:t", false),
            ("?**?", "a", false),
            ("?**?", "ab", true),
            ("@[a]:t", "@a:t", false),
        ] {
            assert_eq!(is_match(glob, text), matches, "{glob} {text}");
        }
    }

    #[test]
    fn the_first_list_that_matches_decides() {
        let rules = json!({
            "allowed_users": ["@good:bad.org", 1], "ignored_users": ["@spam*", "@good:*", ""],
            "blocked_users": ["@blocked:bad.org"], "ignored_servers": ["*bad.org"], "allowed_servers": "x",
        });
        let rules = rules.as_object().unwrap();
        for (user_id, hidden) in [
            ("@good:bad.org", false),
            ("@good:other", true),
            ("@spammer:t", true),
            ("@blocked:bad.org", false),
            ("@x:very.bad.org", true),
            ("@x:t", false),
        ] {
            assert_eq!(hides(rules, user_id), hidden, "{user_id}");
        }
        assert!(!hides(&Map::new(), "@a:t"));
    }
}
