//! What a room version changes for a reader. Answers to `synapse/api/room_versions.py`.

use std::sync::Arc;

/// The rules a reader needs; auth rules and state resolution belong to the writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent rule of the specification")]
pub struct RoomVersion {
    pub id: &'static str,
    /// 1: event ids are in the event; 2: hash in standard base64; 3: URL-safe; 4: MSC4291 room ids as well.
    pub event_format: u8,
    /// Rooms may be knocked at (v7, MSC2403).
    pub knock_join_rule: bool,
    /// m.room.aliases has its `aliases` kept by redaction (v1 to v5).
    pub special_case_aliases_auth: bool,
    /// Redaction keeps `allow` of join rules (v8, MSC3083).
    pub restricted_join_rule: bool,
    /// Redaction keeps `join_authorised_via_users_server` (v9, MSC3375).
    pub restricted_join_rule_fix: bool,
    /// Or let in members of other rooms as well (v10, MSC3787).
    pub knock_restricted_join_rule: bool,
    /// Redaction rules of v11 (MSC2174, MSC2176, MSC3989).
    pub updated_redaction_rules: bool,
    /// The room id is the create event's hash, and the create event has no room id (v12, MSC4291).
    pub room_id_from_create: bool,
}

const fn version(id: &'static str, number: u8) -> RoomVersion {
    RoomVersion {
        id,
        event_format: match number {
            0..=2 => 1,
            3 => 2,
            4..=11 => 3,
            _ => 4,
        },
        knock_join_rule: number >= 7,
        special_case_aliases_auth: number <= 5,
        restricted_join_rule: number >= 8,
        restricted_join_rule_fix: number >= 9,
        knock_restricted_join_rule: number >= 10,
        updated_redaction_rules: number >= 11,
        room_id_from_create: number >= 12,
    }
}

static KNOWN: [RoomVersion; 12] = [
    version("1", 1),
    version("2", 2),
    version("3", 3),
    version("4", 4),
    version("5", 5),
    version("6", 6),
    version("7", 7),
    version("8", 8),
    version("9", 9),
    version("10", 10),
    version("11", 11),
    version("12", 12),
];

/// Unstable versions by the stable rules they share, as far as a reader can tell them apart.
static UNSTABLE: [RoomVersion; 3] =
    [version("org.matrix.msc3757.10", 10), version("org.matrix.msc3757.11", 11), version("org.matrix.hydra.11", 12)];

impl RoomVersion {
    /// `None` for a version that this Synapse does not know: its events are not shown.
    pub fn find(id: &str) -> Option<&'static Self> {
        KNOWN.iter().chain(&UNSTABLE).find(|known| known.id == id)
    }
}

/// Shared text: ids are cloned often and never changed.
pub type Id = Arc<str>;
