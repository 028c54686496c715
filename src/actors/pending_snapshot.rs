//! A snapshot of a live entity, taken after one of its events and written while the entity goes on.
//!
//! May depend on `storage` and `domain`.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{runtime::Handle, task::JoinHandle};

use super::records::{self, SNAPSHOT_VERSION};
use crate::{
    domain::{
        entity::{Entity, Timestamp},
        idempotency::Executed,
    },
    storage::{Journal, Snapshot, Stream},
};

/// Stands in place of a snapshot's size while the snapshot is being written, so that none is due meanwhile.
pub(super) const BEING_WRITTEN: usize = usize::MAX;

/// The state of an entity after one of its events, to be written when that event is durable.
pub(super) struct PendingSnapshot<E: Entity> {
    pub(super) entity: E,
    pub(super) executed: Executed,
    /// When its last event happened.
    pub(super) time: Timestamp,
    /// The sequence number of the last event in it.
    pub(super) sequence: u64,
    pub(super) journal: Journal,
    pub(super) stream: Stream,
    /// Receives the snapshot's size when it is written.
    pub(super) bytes: Arc<AtomicUsize>,
}

impl<E: Entity> PendingSnapshot<E> {
    /// Writes the snapshot on this thread. To be called when its last event is durable.
    pub(super) fn write(self) {
        let Self { entity, executed, time, sequence, journal, stream, bytes: written } = self;
        let bytes = records::encode_snapshot(time, &entity, &executed);
        written.store(bytes.len(), Ordering::Release);
        journal.offer_snapshot(&stream, Snapshot { sequence, version: SNAPSHOT_VERSION, bytes: bytes.into() });
    }

    /// Writes the snapshot on a blocking thread: the largest have some 100 MB.
    pub(super) fn write_beside(self, runtime: &Handle) -> JoinHandle<()> {
        runtime.spawn_blocking(move || self.write())
    }
}
