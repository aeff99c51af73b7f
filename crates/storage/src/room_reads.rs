//! Reads of rooms within bounds: what callers ask of many rooms at once becomes one statement, and callers with the
//! same bounds (everybody woken by one message) share the answer. Synapse has no such caches: rows at or before a
//! position never change but by deletion of events, or when an outlier becomes an ordinary event. Either way
//! the room is named to the caches stream or the events stream, and then nothing kept of it is used any more.

use std::sync::Arc;

use myelin_caches::Registry;
use myelin_model::{MultiWriterPosition, RoomToken};

use crate::state_deltas::StateDelta;
use crate::stream::Page;
use crate::{CacheSizes, Loader, Storage, StorageError};

/// A room's reads, by their bounds.
type ByRoom<K, V> = myelin_caches::Groups<Arc<str>, K, V, StorageError>;

/// (`lower`, `upper`]; without a lower bound from the room's beginning.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Between {
    pub lower: Option<MultiWriterPosition>,
    pub upper: MultiWriterPosition,
}

/// A room and which part of it.
pub(crate) type Range = (Arc<str>, Between);

pub(crate) struct RoomReads {
    /// With the limit.
    pub(crate) by_stream: ByRoom<(Between, usize), Page>,
    /// From the token backwards, with the limit.
    pub(crate) by_depth: ByRoom<(RoomToken, usize), Page>,
    /// From the token, a point in depth, forwards, with the limit.
    pub(crate) after_depth: ByRoom<(RoomToken, usize), Page>,
    pub(crate) last_before: ByRoom<MultiWriterPosition, Option<Arc<str>>>,
    pub(crate) gaps: ByRoom<Between, Option<MultiWriterPosition>>,
    pub(crate) deltas: ByRoom<Between, Arc<[StateDelta]>>,
    /// Events that are in current state. Nothing tells when this changes: it is not kept.
    pub(crate) current: Arc<Loader<Arc<str>, ()>>,
}

impl RoomReads {
    pub(crate) fn new(sizes: &CacheSizes, registry: &Registry) -> Arc<Self> {
        const KEY: usize = 250;
        let bytes = sizes.bytes(8 << 20);
        let reads = Arc::new(Self {
            by_stream: ByRoom::new(bytes, |_, page| KEY + page.weight()),
            by_depth: ByRoom::new(bytes, |_, page| KEY + page.weight()),
            after_depth: ByRoom::new(bytes, |_, page| KEY + page.weight()),
            last_before: ByRoom::new(bytes, |_, _| KEY + 100),
            gaps: ByRoom::new(bytes, |_, _| KEY),
            deltas: ByRoom::new(bytes, |_, deltas| KEY + deltas.len() * 200),
            current: Arc::new(Loader::uncached()),
        });
        let stale = Arc::clone(&reads);
        registry.register("_invalidate_local_get_event_cache_room_id", move |keys| match keys {
            Some([room_id, ..]) => stale.forget(&Arc::from(*room_id)),
            _ => stale.clear(),
        });
        reads
    }

    fn forget(&self, room_id: &Arc<str>) {
        self.by_stream.invalidate_group(room_id);
        self.by_depth.invalidate_group(room_id);
        self.after_depth.invalidate_group(room_id);
        self.last_before.invalidate_group(room_id);
        self.gaps.invalidate_group(room_id);
        self.deltas.invalidate_group(room_id);
    }

    fn clear(&self) {
        self.by_stream.clear();
        self.by_depth.clear();
        self.after_depth.clear();
        self.last_before.clear();
        self.gaps.clear();
        self.deltas.clear();
    }
}

impl Storage {
    /// An event came to the room's past.
    pub(crate) fn forget_room_reads(&self, room_id: &Arc<str>) {
        self.room_reads().forget(room_id);
    }
}
