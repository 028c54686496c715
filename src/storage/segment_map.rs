//! The segments that the log has, shared by its writer, its readers and the compactor.
//!
//! Depends on `segment` and `record`.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::{record::Position, segment::Segment};

/// Maps the first position of each segment to its length.
#[derive(Debug, Default)]
pub(super) struct SegmentMap(Mutex<BTreeMap<u64, u64>>);

impl SegmentMap {
    pub(super) fn add(&self, segment: &Segment) {
        self.0.lock().insert(segment.first, segment.length);
    }

    /// Removes a segment from the map, before its file is removed.
    pub(super) fn remove(&self, first: u64) {
        self.0.lock().remove(&first);
    }

    /// The first position of the oldest segment, and of the one after it.
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        self.0.lock().first_key_value().map(|(first, length)| (*first, first + length))
    }

    /// The segments that may hold anything between `from` and `to`: first position and length.
    pub(super) fn between(&self, from: Position, to: Position) -> Vec<(u64, u64)> {
        let map = self.0.lock();
        let all = map.iter().map(|(first, length)| (*first, *length));
        all.filter(|(first, length)| first + length >= from.0 && *first < to.0).collect()
    }

    /// The length of all segments, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.0.lock().values().sum()
    }

    /// Where the log begins.
    pub(super) fn oldest(&self) -> Position {
        Position(self.0.lock().first_key_value().map_or(0, |(first, _)| *first))
    }

    /// The segment that would hold a batch that begins at this position.
    pub(super) fn containing(&self, position: u64) -> Option<u64> {
        let map = self.0.lock();
        let (first, length) = map.range(..=position).next_back()?;
        (position < first + length).then_some(*first)
    }

    /// The first position of the segment after this one.
    pub(super) fn after(&self, first: u64) -> Option<u64> {
        self.0.lock().range(first + 1..).next().map(|(first, _)| *first)
    }
}

/// The outcome of a request to continue the log in its next segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switched {
    /// Writes go to the next segment now.
    Yes,
    /// The current segment is still empty, or the log has failed.
    NotNeeded,
    /// The next segment is still being made.
    NotReady,
}
