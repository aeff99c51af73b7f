//! Where the streams stand when a process starts. Answers to the start of `MultiWriterIdGenerator`
//! in `synapse/storage/util/id_generators.py`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::stream::StreamName;

/// One entry per stream that lives in the database. Ids of `backfill` are positive here, as on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitialPositions {
    pub streams: BTreeMap<StreamName, InitialPosition>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitialPosition {
    /// Everything up to here is committed.
    pub persisted_upto: i64,
    /// Each configured writer, also those that never wrote.
    pub writers: BTreeMap<Arc<str>, i64>,
    /// Committed ids above `persisted_upto`, ascending: the heap that lets the minimum jump later.
    pub known: Vec<i64>,
}
