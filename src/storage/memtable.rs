//! The memtable: the durable records that are not in the state yet, in memory, by stream.
//!
//! Two generations: records go into the active one; a checkpoint freezes it, writes it into the state, then drops it.
//! Streams are spread over shards, so that readers and the writer seldom contend. Depends on `record`.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::record::{Loaded, Record, Snapshot, Stream};

/// The number of shards: several for each thread that may access the memtable.
const SHARDS: usize = 64;
/// The approximate cost of a stream beside its records, in bytes: name, map entry, vector.
const STREAM_OVERHEAD_BYTES: u64 = 192;
/// The approximate cost of a record beside its payload, in bytes: its fields and the allocation.
const RECORD_OVERHEAD_BYTES: u64 = 64;

/// A record without the name of its stream.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub sequence: u64,
    pub version: u16,
    pub payload: Bytes,
}

/// What the memtable holds of a stream: its newest snapshot, if it came since the last checkpoint, and the records
/// after it.
#[derive(Debug, Default)]
pub(super) struct StreamEntry {
    pub snapshot: Option<Snapshot>,
    pub records: Vec<Kept>,
}

impl StreamEntry {
    /// Inserts a snapshot. Returns what it replaces, and how many bytes that has: there may be many records in it, and
    /// the caller frees them after it has released the lock.
    fn replace(&mut self, snapshot: Snapshot) -> (StreamEntry, u64) {
        let kept = self.records.partition_point(|record| record.sequence <= snapshot.sequence);
        let kept = self.records.split_off(kept);
        let records = std::mem::replace(&mut self.records, kept);
        let replaced = StreamEntry { snapshot: self.snapshot.replace(snapshot), records };
        let bytes = replaced.snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes.len() as u64);
        let bytes = bytes + replaced.records.iter().map(record_bytes).sum::<u64>();
        (replaced, bytes)
    }
}

fn record_bytes(record: &Kept) -> u64 {
    RECORD_OVERHEAD_BYTES + record.payload.len() as u64
}

pub(super) type Generation = HashMap<Stream, StreamEntry, RandomState>;

#[derive(Debug, Default)]
struct Shard {
    active: Generation,
    /// The approximate size of the active generation, in bytes.
    active_bytes: u64,
    frozen: Option<Arc<Generation>>,
}

#[derive(Debug)]
pub(super) struct Memtable {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    active_bytes: AtomicU64,
    frozen_bytes: AtomicU64,
}

impl Memtable {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            active_bytes: AtomicU64::new(0),
            frozen_bytes: AtomicU64::new(0),
        }
    }

    fn shard(&self, stream: &Stream) -> &Mutex<Shard> {
        // The remainder is below SHARDS, so the conversion succeeds.
        let shard = self.hasher.hash_one(stream) % SHARDS as u64;
        &self.shards[usize::try_from(shard).unwrap_or(0)]
    }

    /// Inserts durable records of a stream. Returns `false` if one does not follow the stream's last record here.
    pub(super) fn insert(&self, stream: &Stream, records: impl IntoIterator<Item = Kept>) -> bool {
        let mut added = 0;
        let mut shard = self.shard(stream).lock();
        let memtable = match shard.active.get_mut(stream) {
            Some(memtable) => memtable,
            None => {
                added += STREAM_OVERHEAD_BYTES;
                shard.active.entry(stream.clone()).or_default()
            }
        };
        let mut last = memtable.records.last().map_or(0, |record| record.sequence);
        let mut follow = true;
        for record in records {
            added += record_bytes(&record);
            follow &= last == 0 || record.sequence == last + 1;
            last = record.sequence;
            memtable.records.push(record);
        }
        shard.active_bytes += added;
        self.active_bytes.fetch_add(added, Ordering::AcqRel);
        follow
    }

    /// Inserts a snapshot of durable records and drops the records that it contains. Newer records may already be here;
    /// those between the snapshot and the first record here are in the frozen generation or in the state.
    pub(super) fn snapshot(&self, stream: &Stream, snapshot: Snapshot) {
        let mut added = snapshot.bytes.len() as u64;
        let mut shard = self.shard(stream).lock();
        // Two snapshots may be written at once, and the older one arrive last, even after the newer one was frozen.
        let is_older = |memtable: &StreamEntry| {
            memtable.snapshot.as_ref().is_some_and(|known| known.sequence >= snapshot.sequence)
        };
        let frozen = shard.frozen.as_ref().and_then(|frozen| frozen.get(stream));
        if frozen.is_some_and(is_older) || shard.active.get(stream).is_some_and(is_older) {
            return;
        }
        let memtable = match shard.active.get_mut(stream) {
            Some(memtable) => memtable,
            None => {
                added += STREAM_OVERHEAD_BYTES;
                shard.active.entry(stream.clone()).or_default()
            }
        };
        let (replaced, taken) = memtable.replace(snapshot);
        shard.active_bytes = shard.active_bytes + added - taken;
        self.active_bytes.fetch_add(added, Ordering::AcqRel);
        self.active_bytes.fetch_sub(taken, Ordering::AcqRel);
        drop(shard);
        drop(replaced);
    }

    /// What both generations together hold of a stream.
    pub(super) fn load(&self, stream: &Stream) -> Loaded {
        let shard = self.shard(stream).lock();
        let mut loaded = Loaded::default();
        let frozen = shard.frozen.as_ref().and_then(|frozen| frozen.get(stream));
        for memtable in [frozen, shard.active.get(stream)].into_iter().flatten() {
            loaded.snapshot = memtable.snapshot.clone().or(loaded.snapshot);
            loaded.records.extend(memtable.records.iter().map(|kept| Record {
                stream: stream.clone(),
                sequence: kept.sequence,
                version: kept.version,
                payload: kept.payload.clone(),
            }));
        }
        loaded
    }

    /// Freezes the active generation. Called between batches only, and only while none is frozen.
    pub(super) fn freeze(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            debug_assert!(shard.frozen.is_none(), "one checkpoint at a time");
            shard.frozen = Some(Arc::new(std::mem::take(&mut shard.active)));
            // Under the lock, because a snapshot may be inserted at any time.
            let bytes = std::mem::take(&mut shard.active_bytes);
            self.frozen_bytes.fetch_add(bytes, Ordering::AcqRel);
            self.active_bytes.fetch_sub(bytes, Ordering::AcqRel);
        }
    }

    /// The frozen generation, shard by shard.
    pub(super) fn frozen(&self) -> Vec<Arc<Generation>> {
        self.shards.iter().filter_map(|shard| shard.lock().frozen.clone()).collect()
    }

    /// Drops the frozen generation, after all of it has become durable in the state.
    pub(super) fn drop_frozen(&self) {
        for shard in &self.shards {
            // Dropped outside the lock: there may be many records in it.
            let frozen = shard.lock().frozen.take();
            drop(frozen);
        }
        self.frozen_bytes.store(0, Ordering::Release);
    }

    pub(super) fn active_bytes(&self) -> u64 {
        self.active_bytes.load(Ordering::Acquire)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.active_bytes() + self.frozen_bytes.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_snapshot_that_comes_last_is_not_taken_even_where_the_newer_one_is_frozen() {
        let (memtable, stream) = (Memtable::new(), Stream::new(1, b"a"));
        let snapshot = |sequence| Snapshot { sequence, version: 1, bytes: vec![0; 10].into() };
        let records = (1..=9).map(|sequence| Kept { sequence, version: 1, payload: Bytes::from_static(b"event") });
        assert!(memtable.insert(&stream, records));
        memtable.snapshot(&stream, snapshot(7));
        memtable.freeze();
        memtable.snapshot(&stream, snapshot(3));
        let loaded = Loaded::merge(Loaded::default(), memtable.load(&stream)).expect("no record is missing");
        assert_eq!((loaded.snapshot.map(|snapshot| snapshot.sequence), loaded.records.len()), (Some(7), 2));
        memtable.drop_frozen();
        assert_eq!(memtable.bytes(), 0, "what was not taken is not counted");
    }
}
