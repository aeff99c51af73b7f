//! `/sync` and pagination tokens. Answers to `StreamToken` and `RoomStreamToken` in `synapse/types/__init__.py`.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use hashbrown::HashMap;

use crate::Event;
use crate::position::MultiWriterPosition;

/// Table `instance_map`: tokens name a writer by its id there.
#[derive(Clone, Debug, Default)]
pub struct Instances {
    by_id: HashMap<i64, Arc<str>>,
    by_name: HashMap<Arc<str>, i64>,
}

impl Instances {
    pub fn name(&self, id: i64) -> Option<Arc<str>> {
        self.by_id.get(&id).cloned()
    }

    pub fn id(&self, name: &str) -> Option<i64> {
        self.by_name.get(name).copied()
    }

    pub fn insert(&mut self, id: i64, name: Arc<str>) {
        self.by_id.insert(id, Arc::clone(&name));
        self.by_name.insert(name, id);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("malformed token")]
    Malformed,
    /// The id may have been added since `instance_map` was last read.
    #[error("unknown instance id {0}")]
    UnknownInstance(i64),
}

/// A writer that has no row in `instance_map` yet: one must be inserted before the token can be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instance {0} has no id yet")]
pub struct UnknownInstance(pub Arc<str>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RoomToken {
    /// `s5` or `m5~1.7`: a point in the order of arrival.
    Live(MultiWriterPosition),
    /// `t12-5`: a point in the room's own (depth) order.
    Topological { depth: i64, stream: i64 },
}

impl RoomToken {
    /// The stream part; for a live token that of the slowest writer.
    pub fn stream(&self) -> i64 {
        match self {
            Self::Live(position) => position.base,
            Self::Topological { stream, .. } => *stream,
        }
    }

    /// The token as positions of writers; a topological one stands for its stream part.
    pub fn position(&self) -> MultiWriterPosition {
        match self {
            Self::Live(position) => position.clone(),
            Self::Topological { stream, .. } => (*stream).into(),
        }
    }

    /// The token at an event, from which paginating backwards starts with the event itself.
    pub fn at(event: &Event) -> Self {
        Self::Topological { depth: event.depth, stream: event.position.stream }
    }

    /// `is_before_or_eq`, which looks at the order of arrival alone.
    pub fn is_before_or_eq(&self, other: &Self) -> bool {
        self.position().at_most(&other.position())
    }

    pub fn parse(text: &str, instances: &Instances) -> Result<Self, TokenError> {
        let rest = text.get(1..).ok_or(TokenError::Malformed)?;
        match text.as_bytes()[0] {
            b's' => Ok(Self::Live(int(rest)?.into())),
            b'm' => multi_writer(text, instances).map(Self::Live),
            b't' => {
                let (depth, stream) = rest.split_once('-').ok_or(TokenError::Malformed)?;
                Ok(Self::Topological { depth: int(depth)?, stream: int(stream)? })
            }
            _ => Err(TokenError::Malformed),
        }
    }

    pub fn write(&self, instances: &Instances) -> Result<String, UnknownInstance> {
        match self {
            Self::Topological { depth, stream } => Ok(format!("t{depth}-{stream}")),
            Self::Live(position) if position.writers.is_empty() => Ok(format!("s{}", position.base)),
            Self::Live(position) => write_multi_writer(position, instances),
        }
    }
}

/// The 14 fields of 1.163. Every few versions Synapse adds one at the end: older tokens have fewer, which are 0, and a
/// main process or worker that was upgraded first gives out tokens with more. Python refuses those; here they are
/// kept as they came and given back in `next_batch`, so that a client that comes by loses nothing of the new stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamToken {
    pub room: RoomToken,
    pub presence: i64,
    pub typing: i64,
    pub receipt: MultiWriterPosition,
    pub account_data: i64,
    pub push_rules: i64,
    pub to_device: i64,
    pub device_list: MultiWriterPosition,
    pub groups: i64,
    pub un_partial_stated_rooms: i64,
    pub thread_subscriptions: i64,
    pub sticky_events: MultiWriterPosition,
    pub quarantined_media: MultiWriterPosition,
    pub profile_updates: i64,
    /// Fields of a newer Synapse with the `_` between them. Compared with nothing.
    pub newer: Option<Arc<str>>,
}

/// Fields of this version, the room's included.
const FIELDS: usize = 14;
/// Room for a few fields with many writers.
const MAX_NEWER: usize = 1_000;

impl StreamToken {
    /// Parses a token; fields that an older Synapse did not know yet are 0.
    pub fn parse(text: &str, instances: &Instances) -> Result<Self, TokenError> {
        let mut fields = text.splitn(FIELDS + 1, '_');
        let room = RoomToken::parse(fields.next().unwrap_or_default(), instances)?;
        let mut next = || fields.next().unwrap_or("0");
        let token = Self {
            room,
            presence: int(next())?,
            typing: int(next())?,
            receipt: multi_writer(next(), instances)?,
            account_data: int(next())?,
            push_rules: int(next())?,
            to_device: int(next())?,
            device_list: multi_writer(next(), instances)?,
            groups: int(next())?,
            un_partial_stated_rooms: int(next())?,
            thread_subscriptions: int(next())?,
            sticky_events: multi_writer(next(), instances)?,
            quarantined_media: multi_writer(next(), instances)?,
            profile_updates: int(next())?,
            newer: None,
        };
        match fields.next() {
            None => Ok(token),
            Some(newer) if is_like_fields(newer) => Ok(Self { newer: Some(newer.into()), ..token }),
            Some(_) => Err(TokenError::Malformed),
        }
    }

    pub fn write(&self, instances: &Instances) -> Result<String, UnknownInstance> {
        let mut out = self.room.write(instances)?;
        let multi = |position: &MultiWriterPosition| write_multi_writer(position, instances);
        let fields = [
            self.presence.to_string(),
            self.typing.to_string(),
            multi(&self.receipt)?,
            self.account_data.to_string(),
            self.push_rules.to_string(),
            self.to_device.to_string(),
            multi(&self.device_list)?,
            self.groups.to_string(),
            self.un_partial_stated_rooms.to_string(),
            self.thread_subscriptions.to_string(),
            multi(&self.sticky_events)?,
            multi(&self.quarantined_media)?,
            self.profile_updates.to_string(),
        ];
        for field in &fields {
            out.push('_');
            out.push_str(field);
        }
        if let Some(newer) = &self.newer {
            out.push('_');
            out.push_str(newer);
        }
        Ok(out)
    }

    /// `START`: before everything. Where only the room's part counts, the others are left at this.
    pub fn start() -> Self {
        Self {
            room: RoomToken::Live(0.into()),
            presence: 0,
            typing: 0,
            receipt: 0.into(),
            account_data: 0,
            push_rules: 0,
            to_device: 0,
            device_list: 0.into(),
            groups: 0,
            un_partial_stated_rooms: 0,
            thread_subscriptions: 0,
            sticky_events: 0.into(),
            quarantined_media: 0.into(),
            profile_updates: 0,
            newer: None,
        }
    }

    /// This token with another room part, as `prev_batch` and `/messages` want it.
    #[must_use]
    pub fn with_room(&self, room: RoomToken) -> Self {
        Self { room, ..self.clone() }
    }

    /// Synapse's `is_before_or_eq`: every field but typing, whose serial restarts with its writer.
    pub fn at_most(&self, other: &Self) -> bool {
        self.room.position().at_most(&other.room.position())
            && self.presence <= other.presence
            && self.receipt.at_most(&other.receipt)
            && self.account_data <= other.account_data
            && self.push_rules <= other.push_rules
            && self.to_device <= other.to_device
            && self.device_list.at_most(&other.device_list)
            && self.groups <= other.groups
            && self.un_partial_stated_rooms <= other.un_partial_stated_rooms
            && self.thread_subscriptions <= other.thread_subscriptions
            && self.sticky_events.at_most(&other.sticky_events)
            && self.quarantined_media.at_most(&other.quarantined_media)
            && self.profile_updates <= other.profile_updates
    }
}

/// As Python prints it; error messages contain it.
impl fmt::Display for StreamToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "StreamToken(room: {}, presence: {}, typing: {}, receipt: {}, account_data: {}, push_rules: {}, \
             to_device: {}, device_list: {}, groups: {}, un_partial_stated_rooms: {}, thread_subscriptions: {}, \
             sticky_events: {}, quarantined_media: {}, profile_updates: {})",
            RoomText(&self.room),
            self.presence,
            self.typing,
            MultiWriterText(&self.receipt),
            self.account_data,
            self.push_rules,
            self.to_device,
            MultiWriterText(&self.device_list),
            self.groups,
            self.un_partial_stated_rooms,
            self.thread_subscriptions,
            MultiWriterText(&self.sticky_events),
            MultiWriterText(&self.quarantined_media),
            self.profile_updates,
        )
    }
}

struct RoomText<'a>(&'a RoomToken);

impl fmt::Display for RoomText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            RoomToken::Live(position) => {
                let (stream, writers) = (position.base, writers(position));
                write!(f, "RoomStreamToken(stream: {stream}, topological: None, instances: {{{writers}}})")
            }
            RoomToken::Topological { depth, stream } => {
                write!(f, "RoomStreamToken(stream: {stream}, topological: {depth}, instances: {{}})")
            }
        }
    }
}

struct MultiWriterText<'a>(&'a MultiWriterPosition);

impl fmt::Display for MultiWriterText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MultiWriterStreamToken(stream: {}, instances: {{{}}})", self.0.base, writers(self.0))
    }
}

fn writers(position: &MultiWriterPosition) -> String {
    let texts: Vec<_> = position.writers.iter().map(|(name, stream)| format!("{name}: {stream}")).collect();
    texts.join(", ")
}

/// Positions of one or many writers, whatever they count.
fn is_like_fields(text: &str) -> bool {
    let is_field = |field: &str| {
        !field.is_empty()
            && field.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'm' | b'~' | b'.' | b'-'))
    };
    text.len() <= MAX_NEWER && text.split('_').all(is_field)
}

/// Python's `int()` as far as a token may use it: an optional sign and digits, surrounded by blanks.
fn int(text: &str) -> Result<i64, TokenError> {
    text.trim().parse().map_err(|_| TokenError::Malformed)
}

/// `42` or `m42~<instance id>.<position>~…`; `m42~` is an empty map.
fn multi_writer(text: &str, instances: &Instances) -> Result<MultiWriterPosition, TokenError> {
    let Some(text) = text.strip_prefix('m') else { return Ok(int(text)?.into()) };
    let mut parts = text.split('~');
    let base = int(parts.next().unwrap_or_default())?;
    let mut writers = Vec::new();
    for part in parts.filter(|part| !part.is_empty()) {
        let (id, position) = part.split_once('.').ok_or(TokenError::Malformed)?;
        let id = int(id)?;
        let name = instances.name(id).ok_or(TokenError::UnknownInstance(id))?;
        writers.push((name, int(position)?));
    }
    Ok(MultiWriterPosition::new(base, writers))
}

fn write_multi_writer(position: &MultiWriterPosition, instances: &Instances) -> Result<String, UnknownInstance> {
    if position.writers.is_empty() {
        return Ok(position.base.to_string());
    }
    let mut out = format!("m{}", position.base);
    for (name, stream) in &position.writers {
        let id = instances.id(name).ok_or_else(|| UnknownInstance(Arc::clone(name)))?;
        // Writing to a String cannot fail.
        let _ = write!(out, "~{id}.{stream}");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances() -> Instances {
        let mut map = Instances::default();
        map.insert(1, Arc::from("w1"));
        map.insert(2, Arc::from("w2"));
        map
    }

    #[test]
    fn real_tokens_survive() {
        for text in [
            "s11_7_2_2_4_2_2_4_0_1_2_1_1_1",
            "m23~1.25_29_2_4_7_2_3_8_0_1_2_1_1_1",
            "t16-23_0_0_0_0_0_0_0_0_0_0_0_0_0",
            "s1_1_1_m4~2.9_1_1_1_1_0_1_1_1_1_1",
            "s1_1_1_m4~2.9_1_1_1_1_0_1_1_1_1_1_7",
            "s1_1_1_m4~2.9_1_1_1_1_0_1_1_1_1_1_7_m8~9.12_0",
        ] {
            let token = StreamToken::parse(text, &instances()).unwrap();
            assert_eq!(token.write(&instances()).unwrap(), text);
        }
    }

    #[test]
    fn short_tokens_are_padded_and_bad_ones_refused() {
        let token = StreamToken::parse("s5_1", &instances()).unwrap();
        assert_eq!(token.write(&instances()).unwrap(), "s5_1_0_0_0_0_0_0_0_0_0_0_0_0");
        for bad in [
            "",
            "s1_1_1_1_1_1_1_1_1_1_1_1_1_1_",
            "s1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_x",
            "zzz",
            "s",
            "sx_1",
            "s1_x",
            "m1~9_1",
            "é",
            "s5_",
        ] {
            assert!(StreamToken::parse(bad, &instances()).is_err(), "{bad}");
        }
        assert_eq!(StreamToken::parse("m1~9.4", &instances()), Err(TokenError::UnknownInstance(9)));
        assert!(StreamToken::parse("m5~", &instances()).is_ok());
    }

    #[test]
    fn errors_show_tokens_as_python_does() {
        let token = StreamToken::parse("m5~1.7_1", &instances()).unwrap().to_string();
        let start = "StreamToken(room: RoomStreamToken(stream: 5, topological: None, instances: {w1: 7}), presence: 1, \
                     typing: 0, receipt: MultiWriterStreamToken(stream: 0, instances: {}), account_data: 0, ";
        assert!(token.starts_with(start), "{token}");
    }

    #[test]
    fn typing_is_not_compared() {
        let a = StreamToken::parse("s5_1_9", &instances()).unwrap();
        let b = StreamToken::parse("s5_1_2", &instances()).unwrap();
        assert!(a.at_most(&b) && b.at_most(&a));
    }
}
