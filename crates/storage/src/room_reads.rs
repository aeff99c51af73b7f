//! Reads of rooms within bounds: what callers ask of many rooms at once becomes one statement, and callers with the
//! same bounds (everybody woken by one message) share the answer. Synapse has no such caches: rows at or before a
//! position never change but by deletion of events, or when an outlier becomes an ordinary event. Either way
//! the room is named to the caches stream or the events stream, and then nothing kept of it is used any more.

use std::sync::Arc;

use myelin_caches::{Epochs, Registry};
use myelin_model::{MultiWriterPosition, RoomToken};

use crate::state_deltas::StateDelta;
use crate::stream::Page;
use crate::{CacheSizes, Loader, Storage};

/// Rooms with reads that are kept.
const MAX_ROOMS: usize = 100_000;

/// A room as it is known now: after an invalidation another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Room {
    pub id: Arc<str>,
    epoch: u64,
}

/// (`lower`, `upper`] of a room; without a lower bound from its beginning.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Range {
    pub room: Room,
    pub lower: Option<MultiWriterPosition>,
    pub upper: MultiWriterPosition,
}

/// The last event at or before a position.
type LastBefore = Loader<(Room, MultiWriterPosition), Option<Arc<str>>>;

pub(crate) struct RoomReads {
    epochs: Arc<Epochs<Arc<str>>>,
    /// With the limit.
    pub(crate) by_stream: Arc<Loader<(Range, usize), Page>>,
    /// From the token backwards, with the limit.
    pub(crate) by_depth: Arc<Loader<(Room, RoomToken, usize), Page>>,
    pub(crate) last_before: Arc<LastBefore>,
    pub(crate) gaps: Arc<Loader<Range, Option<MultiWriterPosition>>>,
    pub(crate) deltas: Arc<Loader<Range, Arc<[StateDelta]>>>,
    /// Those that are in current state. Nothing tells when this changes without the room's name.
    pub(crate) current: Arc<Loader<Arc<str>, ()>>,
}

impl RoomReads {
    pub(crate) fn new(sizes: &CacheSizes, registry: &Registry) -> Self {
        const BYTES_PER_KEY: usize = 250;
        let bytes = sizes.bytes(8 << 20);
        let reads = Self {
            epochs: Arc::new(Epochs::new(MAX_ROOMS)),
            by_stream: Arc::new(Loader::new(bytes, |_, page| BYTES_PER_KEY + page.weight())),
            by_depth: Arc::new(Loader::new(bytes, |_, page| BYTES_PER_KEY + page.weight())),
            last_before: Arc::new(Loader::new(bytes, |_, _| BYTES_PER_KEY + 100)),
            gaps: Arc::new(Loader::new(bytes, |_, _| BYTES_PER_KEY)),
            deltas: Arc::new(Loader::new(bytes, |_, deltas| BYTES_PER_KEY + deltas.len() * 200)),
            current: Arc::new(Loader::uncached()),
        };
        let epochs = Arc::clone(&reads.epochs);
        registry.register("_invalidate_local_get_event_cache_room_id", move |keys| match keys {
            Some([room_id, ..]) => epochs.invalidate(&Arc::from(*room_id)),
            _ => epochs.clear(),
        });
        reads
    }
}

impl Storage {
    pub(crate) fn room(&self, room_id: &str) -> Room {
        let id: Arc<str> = Arc::from(room_id);
        let epoch = self.room_reads().epochs.of(&id);
        Room { id, epoch }
    }

    /// Something was added to the room's past.
    pub(crate) fn forget_room_reads(&self, room_id: &Arc<str>) {
        self.room_reads().epochs.invalidate(room_id);
    }
}
