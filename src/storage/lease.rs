//! Leases: who may append to a stream. There is one holder at a time, the one that took the lease last.
//!
//! Depends on `record`.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::record::{Append, Stream};

/// What a lease and its pending appends share. It is dropped with the last of them.
pub(super) struct LeaseState {
    pub stream: Stream,
    epoch: u64,
    revoked: AtomicBool,
    /// The sequence that the next append must have. After the activation it is accessed under the queue's lock only.
    next: AtomicU64,
    leases: Arc<Leases>,
}

impl LeaseState {
    /// Whether these are the holder's next records; if so, advances the expected sequence. Called under the queue's
    /// lock, so that a barrier queued after a revocation is behind everything that was admitted before it.
    pub(super) fn admits(&self, appends: &[Append]) -> bool {
        let next = self.next.load(Ordering::Acquire);
        let admitted = !self.revoked.load(Ordering::Acquire)
            && appends.iter().zip(next..).all(|(append, expected)| append.sequence == expected);
        if admitted {
            self.next.store(next + appends.len() as u64, Ordering::Release);
        }
        admitted
    }
}

impl Drop for LeaseState {
    fn drop(&mut self) {
        let mut held = self.leases.0.lock();
        if held.by_stream.get(&self.stream).is_some_and(|(epoch, _)| *epoch == self.epoch) {
            held.by_stream.remove(&self.stream);
        }
    }
}

impl fmt::Debug for LeaseState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LeaseState({:?}, epoch {})", self.stream, self.epoch)
    }
}

#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// The newest lease of each stream that has one, with its epoch.
    by_stream: HashMap<Stream, (u64, Weak<LeaseState>), RandomState>,
    epoch: u64,
}

/// What the previous holder of a stream may have left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnderWay {
    /// Every append to the stream is known to be durable or to have failed.
    Nothing,
    /// There may be appends whose outcome is not known yet.
    Perhaps,
}

impl Leases {
    /// Takes the stream over from its current holder. The new lease admits nothing until [`Lease::begin_after`].
    pub(super) fn take(self: &Arc<Self>, stream: &Stream) -> (Lease, UnderWay) {
        let mut held = self.0.lock();
        held.epoch += 1;
        let epoch = held.epoch;
        let state = Arc::new(LeaseState {
            stream: stream.clone(),
            epoch,
            revoked: AtomicBool::new(false),
            next: AtomicU64::new(u64::MAX),
            leases: Arc::clone(self),
        });
        let before = held.by_stream.insert(stream.clone(), (epoch, Arc::downgrade(&state)));
        let under_way = if before.is_some() { UnderWay::Perhaps } else { UnderWay::Nothing };
        let before = before.and_then(|(_, before)| before.upgrade());
        if let Some(before) = &before {
            before.revoked.store(true, Ordering::Release);
        }
        drop(held);
        // Dropped outside the lock, which `LeaseState::drop` takes.
        drop(before);
        (Lease { state }, under_way)
    }
}

/// The right to append to one stream, until another activation takes it over. Dropping it releases it.
pub struct Lease {
    pub(super) state: Arc<LeaseState>,
}

impl Lease {
    /// The stream that the holder may append to.
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn stream(&self) -> &Stream {
        &self.state.stream
    }

    /// Admits the record after this sequence, and those that follow.
    pub(super) fn begin_after(&self, sequence: u64) {
        self.state.next.store(sequence + 1, Ordering::Release);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Lease({:?})", self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_free_when_its_lease_and_all_appends_under_way_are_gone() {
        let (leases, stream) = (Arc::new(Leases::default()), Stream::new(1, b"a"));
        let append = |sequence| [Append { sequence, version: 1, payload: Vec::new() }];
        let (first, under_way) = leases.take(&stream);
        assert_eq!(under_way, UnderWay::Nothing);
        first.begin_after(0);
        let appended = Arc::clone(&first.state);
        assert!(appended.admits(&append(1)));
        let (second, under_way) = leases.take(&stream);
        assert_eq!(under_way, UnderWay::Perhaps, "its lease is held");
        second.begin_after(1);
        assert!(!appended.admits(&append(2)), "it is revoked");
        drop((first, appended));
        assert!(second.state.admits(&append(2)), "the first took nothing with it when it went");
        let appended = Arc::clone(&second.state);
        drop(second);
        let (third, under_way) = leases.take(&stream);
        assert_eq!(under_way, UnderWay::Perhaps, "an append is under way");
        drop((appended, third));
        assert_eq!(leases.take(&stream).1, UnderWay::Nothing);
        assert!(leases.0.lock().by_stream.is_empty(), "nothing is kept of what is gone");
    }
}
