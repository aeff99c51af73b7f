//! An event's JSON as text, cut into what clients see and what they do not.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Top-level keys and the text of their values.
pub(super) type RawKeys<'a> = BTreeMap<Key<'a>, &'a RawValue>;

const CONTENT: &str = r#""content":"#;

/// Never sent to clients.
pub(super) const SERVER_KEYS: [&str; 8] =
    ["auth_events", "prev_events", "hashes", "signatures", "depth", "origin", "prev_state", "unsigned"];

/// Written by some client format itself: an event that has them at its top level is rendered key by key.
pub(super) const ODD_KEYS: [&str; 7] =
    ["user_id", "age", "redacted_because", "replaces_state", "prev_content", "invite_room_state", "knock_room_state"];

#[derive(Clone, Debug)]
pub(super) struct Text {
    /// The members of the object that clients get, without its braces: `content` first, then `event_id`.
    /// `room_id` and `unsigned` are missing: they differ from answer to answer.
    client: Arc<str>,
    content: usize,
    /// Where in `client` the ids end that are written after `content`.
    ids: usize,
    /// Of a redaction: `"content":…` and `"redacts":…` as they were signed.
    signed: Option<Arc<str>>,
    /// An object of all other members.
    server: Arc<str>,
    /// `server` has keys that clients may get, too.
    pub odd: bool,
}

impl Text {
    /// `keys`: all but `content` and `unsigned`. `redacts`: of a redaction, which has it in both places whatever its
    /// room's version.
    pub fn new(event_id: &str, content: &str, keys: &RawKeys<'_>, redacts: Option<&str>) -> Self {
        let signed = redacts.map(|_| signed_members(content, keys));
        let mut client = Vec::with_capacity(content.len() + 300);
        client.extend_from_slice(CONTENT.as_bytes());
        match redacts {
            Some(redacts) => write_with_redacts(&mut client, content, redacts),
            None => client.extend_from_slice(content.as_bytes()),
        }
        let content = client.len();
        write_member(&mut client, "event_id", event_id);
        if let Some(redacts) = redacts {
            write_member(&mut client, "redacts", redacts);
        }
        let ids = client.len();
        let mut server = vec![b'{'];
        let mut odd = false;
        for (key, value) in keys {
            let key = &**key;
            if matches!(key, "event_id" | "room_id") || (key == "redacts" && redacts.is_some()) {
                continue;
            }
            odd |= ODD_KEYS.contains(&key);
            if SERVER_KEYS.contains(&key) || ODD_KEYS.contains(&key) {
                if server.len() > 1 {
                    server.push(b',');
                }
                write_key(&mut server, key);
                server.extend_from_slice(value.get().as_bytes());
            } else {
                client.push(b',');
                write_key(&mut client, key);
                client.extend_from_slice(value.get().as_bytes());
            }
        }
        server.push(b'}');
        Self { client: text(client), content, ids, signed, server: text(server), odd }
    }

    /// The same event with other content, and of its other keys those that `keep` names.
    pub fn pruned(&self, event_id: &str, content: &str, redacts: Option<&str>, keep: impl Fn(&str) -> bool) -> Self {
        let client = format!("{{{}}}", self.client);
        let mut keys: RawKeys<'_> = serde_json::from_str(&client).unwrap_or_default();
        keys.extend(self.server_keys());
        keys.retain(|key, _| keep(key) && !matches!(&**key, "content" | "unsigned"));
        Self::new(event_id, content, &keys, redacts)
    }

    pub fn content(&self) -> &str {
        self.client.get(CONTENT.len()..self.content).unwrap_or("{}")
    }

    pub fn client(&self) -> &str {
        &self.client
    }

    /// What of `client` other servers get, in two pieces: no id that is not in the event itself.
    pub fn shared(&self) -> (&str, &str) {
        let content = self.client.get(..self.content).unwrap_or_default();
        (self.signed.as_deref().unwrap_or(content), self.client.get(self.ids..).unwrap_or_default())
    }

    /// The members of the rest, without braces.
    pub fn server(&self) -> &str {
        self.server.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default()
    }

    pub fn server_keys(&self) -> RawKeys<'_> {
        serde_json::from_str(&self.server).unwrap_or_default()
    }

    /// `[id, …]`, or `[[id, {hashes}], …]` in rooms of version 1 and 2.
    pub fn references(&self, key: &str) -> Vec<Arc<str>> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Reference {
            Id(Arc<str>),
            IdAndHashes(Arc<str>, IgnoredAny),
        }
        let references: Vec<Reference> = field(&self.server, key).unwrap_or_default();
        let id = |reference| match reference {
            Reference::Id(id) | Reference::IdAndHashes(id, _) => id,
        };
        references.into_iter().map(id).collect()
    }

    pub fn len(&self) -> usize {
        self.client.len() + self.server.len() + self.signed.as_ref().map_or(0, |signed| signed.len())
    }
}

/// One member of the object `json`; the last, should there be several.
pub(super) fn field<'a, T: Deserialize<'a>>(json: &'a str, key: &str) -> Option<T> {
    struct Find<'k>(&'k str);
    impl<'de> Visitor<'de> for Find<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(key) = map.next_key::<Key<'_>>()? {
                if &*key == self.0 {
                    found = Some(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let found = deserializer.deserialize_map(Find(key)).ok()??;
    serde_json::from_str(found.get()).ok()
}

/// A key, borrowed unless it has escapes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
pub(super) struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Key<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Key<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    // Writing a text to a Vec cannot fail.
    drop(serde_json::to_writer(out, text));
}

pub(super) fn write_key(out: &mut Vec<u8>, key: &str) {
    write_text(out, key);
    out.push(b':');
}

/// `,"key":"value"`
pub(super) fn write_member(out: &mut Vec<u8>, key: &str, value: &str) {
    out.push(b',');
    write_key(out, key);
    write_text(out, value);
}

fn write_with_redacts(out: &mut Vec<u8>, content: &str, redacts: &str) {
    let mut keys: RawKeys<'_> = serde_json::from_str(content).unwrap_or_default();
    keys.remove("redacts");
    out.extend_from_slice(br#"{"redacts":"#);
    write_text(out, redacts);
    for (key, value) in keys {
        out.push(b',');
        write_key(out, &key);
        out.extend_from_slice(value.get().as_bytes());
    }
    out.push(b'}');
}

fn signed_members(content: &str, keys: &RawKeys<'_>) -> Arc<str> {
    match keys.get("redacts") {
        Some(redacts) => format!("{CONTENT}{content},\"redacts\":{redacts}").into(),
        None => format!("{CONTENT}{content}").into(),
    }
}

fn text(json: Vec<u8>) -> Arc<str> {
    // Made of texts.
    String::from_utf8(json).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_among_others() {
        let json = r#"{"a":{"b":1},"b":"x","\u0062":"y","c":[1,2]}"#;
        assert_eq!(field::<String>(json, "b").as_deref(), Some("y"));
        assert_eq!((field::<String>(json, "a"), field::<String>(json, "d")), (None, None));
        assert_eq!(field::<Vec<i64>>(json, "c"), Some(vec![1, 2]));
        assert_eq!(field::<String>("[]", "b"), None);
    }
}
