//! What storage reads and writes: streams of records and their snapshots, as raw bytes. Nothing here is decoded or
//! folded.
//!
//! Depends on `bytes`.

use std::{fmt, sync::Arc};

use bytes::Bytes;

/// The longest name of a stream, in bytes: 1 for the kind, up to 80 for an entity's key, and some to spare.
pub const STREAM_BYTES_MAX: usize = 96;

/// The name of a stream: a byte for the kind of its entity, then the entity's key. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stream(Arc<[u8]>);

impl Stream {
    /// The name of the stream of this kind and key.
    ///
    /// # Panics
    /// The name is longer than [`STREAM_BYTES_MAX`]. The types of keys guarantee that they are short.
    #[must_use]
    pub fn new(kind: u8, key: &[u8]) -> Self {
        assert!(key.len() < STREAM_BYTES_MAX, "the key of a stream has {} bytes", key.len());
        let mut name = [0; STREAM_BYTES_MAX];
        name[0] = kind;
        name[1..=key.len()].copy_from_slice(key);
        Self(name[..=key.len()].into())
    }

    /// The stream of a stored name; `None` if the length is not that of a name.
    pub(super) fn from_bytes(name: &[u8]) -> Option<Self> {
        (1..=STREAM_BYTES_MAX).contains(&name.len()).then(|| Self(name.into()))
    }

    /// The kind of its entity.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.0[0]
    }

    /// The key of its entity.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.0[1..]
    }

    /// The whole name, kind included.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.kind(), self.key().escape_ascii())
    }
}

/// A place in the log: the end of a batch, in bytes from its beginning. Positions are ordered, but not dense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Position(pub u64);

impl Position {
    /// Before the first batch.
    pub const BEGINNING: Self = Self(0);
}

/// One event of one stream.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub stream: Stream,
    /// Its place in the stream, from 1 on, without gaps.
    pub sequence: u64,
    /// The version of the payload's schema.
    pub version: u16,
    /// The encoded event.
    pub payload: Bytes,
}

/// The state of a stream after the event with this sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The sequence of the last event in it.
    pub sequence: u64,
    /// The version of the schema of `bytes`.
    pub version: u16,
    /// The encoded state.
    pub bytes: Bytes,
}

/// What an entity is rebuilt from: its newest snapshot and every record after it, in order and without a gap.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    pub snapshot: Option<Snapshot>,
    pub records: Vec<Record>,
}

impl Loaded {
    /// The sequence of the stream's last event; 0 where it was never written.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        let snapshot = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.sequence);
        self.records.last().map_or(snapshot, |record| record.sequence)
    }

    /// Merges what the state holds (`behind`) with what the memtable holds. Both are in order; they may overlap,
    /// because the memtable keeps what a checkpoint has written until the checkpoint is complete.
    ///
    /// # Errors
    /// A record is missing after the sequence in the error.
    pub(super) fn merge(behind: Self, memtable: Self) -> Result<Self, u64> {
        let snapshot = match (behind.snapshot, memtable.snapshot) {
            (Some(one), Some(other)) => Some(if one.sequence > other.sequence { one } else { other }),
            (one, other) => one.or(other),
        };
        let mut last = snapshot.as_ref().map_or(0, |snapshot| snapshot.sequence);
        let mut records = Vec::with_capacity(behind.records.len() + memtable.records.len());
        for record in behind.records.into_iter().chain(memtable.records) {
            if record.sequence <= last {
                continue;
            }
            if record.sequence != last + 1 {
                return Err(last);
            }
            last = record.sequence;
            records.push(record);
        }
        Ok(Self { snapshot, records })
    }
}

/// Durable records, in the order of the log: whole batches after the position that was asked for.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Empty if there is nothing new.
    pub records: Vec<Record>,
    /// The position from which to read the next page.
    pub next: Position,
}

/// An event to be made durable.
#[derive(Debug, Clone, Default)]
pub struct Append {
    /// Its place in the stream. It must be the next one.
    pub sequence: u64,
    /// The version of the payload's schema.
    pub version: u16,
    /// The encoded event.
    pub payload: Vec<u8>,
}
