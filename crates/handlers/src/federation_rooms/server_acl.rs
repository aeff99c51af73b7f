//! Which servers may take part in a room. Answers to `server_acl_evaluator_from_event` in
//! `synapse/storage/controllers/state.py` and to the native evaluator behind it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use myelin_caches::Cache;
use myelin_model::Event;
use serde_json::Value;

/// Bytes of lists that are kept: large rooms have some of a thousand patterns.
const MAX_BYTES: usize = 4 << 20;

/// The lists of rooms, ready to be asked. An event's list changes only when it is redacted.
pub(super) struct ServerAcls(Cache<(Arc<str>, bool), Arc<ServerAcl>>);

impl ServerAcls {
    pub fn new() -> Self {
        Self(Cache::new(MAX_BYTES, |_, acl| acl.weight()))
    }

    pub fn of(&self, event: &Event) -> Arc<ServerAcl> {
        let key = (Arc::clone(&event.event_id), event.redacted_by.is_some());
        self.0.get(&key).unwrap_or_else(|| {
            let acl = Arc::new(ServerAcl::of(event));
            self.0.insert(key, Arc::clone(&acl));
            acl
        })
    }
}

/// The content of `m.room.server_acl`; patterns are in lower case, and what is none is left out.
#[derive(Debug)]
pub(super) struct ServerAcl {
    allow_ip_literals: bool,
    allow: Box<[Box<str>]>,
    deny: Box<[Box<str>]>,
}

impl ServerAcl {
    fn of(event: &Event) -> Self {
        let patterns = |key: &str| {
            let list: Vec<Value> = event.content_field(key).unwrap_or_default();
            list.iter().filter_map(Value::as_str).map(|pattern| pattern.to_lowercase().into()).collect()
        };
        Self {
            allow_ip_literals: event.content_field("allow_ip_literals").unwrap_or(true),
            allow: patterns("allow"),
            deny: patterns("deny"),
        }
    }

    fn weight(&self) -> usize {
        200 + self.allow.iter().chain(&self.deny).map(|pattern| pattern.len() + 32).sum::<usize>()
    }

    /// `server_matches_acl_event`; `host` without a port.
    pub fn allows(&self, host: &str) -> bool {
        let is_literal = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
        if is_literal && !self.allow_ip_literals {
            return false;
        }
        let host: Vec<char> = host.to_lowercase().chars().collect();
        let any = |patterns: &[Box<str>]| patterns.iter().any(|pattern| matches(pattern, &host));
        !any(&self.deny) && any(&self.allow)
    }
}

/// `*` stands for any characters, `?` for one; neither for the end of a line.
fn matches(pattern: &str, text: &[char]) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let (mut at, mut from) = (0, 0);
    // The last `*`, and where what it stands for ends.
    let mut star = None;
    while from < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&wanted) if wanted == text[from] || (wanted == '?' && text[from] != '\n') => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((star_at, end)) if text[end] != '\n' => {
                    star = Some((star_at, end + 1));
                    at = star_at + 1;
                    from = end + 1;
                }
                _ => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(allow_ip_literals: bool, allow: &[&str], deny: &[&str]) -> ServerAcl {
        let patterns = |list: &[&str]| list.iter().map(|pattern| pattern.to_lowercase().into()).collect();
        ServerAcl { allow_ip_literals, allow: patterns(allow), deny: patterns(deny) }
    }

    /// What Synapse 1.163.2 answers, with and without IP literals.
    #[test]
    fn as_synapse_says() {
        for (host, allow, deny, with, without) in [
            ("h", "*", "", true, true),
            ("1.2.3.4", "*", "", true, false),
            ("[::1]", "*", "", true, false),
            ("::1", "*", "", true, true),
            ("01.2.3.4", "*", "", true, true),
            ("1.2.3", "*", "", true, true),
            ("[zz]", "*", "", true, false),
            ("EVIL.com", "*", "evil.com", false, false),
            ("evil.com", "*", "EVIL.*", false, false),
            ("e\nvil", "*", "", false, false),
            ("aXb", "a?b", "", true, true),
            ("ab", "a?b", "", false, false),
            ("a.b", "a*", "*.b", false, false),
            ("é.com", "É.com", "", true, true),
            ("a", "[a]", "", false, false),
            ("", "*", "", true, true),
            ("a.b.c.d", "a*.c.*", "", true, true),
            ("a.b", "", "", false, false),
        ] {
            let deny: Vec<&str> = Some(deny).filter(|deny| !deny.is_empty()).into_iter().collect();
            let allow: Vec<&str> = Some(allow).filter(|allow| !allow.is_empty()).into_iter().collect();
            let answers = [true, false].map(|literals| acl(literals, &allow, &deny).allows(host));
            assert_eq!(answers, [with, without], "{host}");
        }
    }

    #[test]
    fn patterns_end_soon() {
        let text: Vec<char> = "a".repeat(5_000).chars().collect();
        assert!(!matches(&format!("{}b", "*a".repeat(200)), &text));
    }
}
