//! Leases: who may write a stream. One at a time, and the newest.
//!
//! Depends on `record`.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::record::{Append, Stream};

/// What a lease, the journal and the appends under way share.
#[derive(Debug)]
pub(super) struct Hold {
    pub stream: Stream,
    epoch: u64,
    revoked: AtomicBool,
    /// The sequence that the next append must have. After the activation it is touched under the queue's lock only.
    next: AtomicU64,
}

impl Hold {
    /// Are these the holder's next records? Then the one after them is expected from now on. Called under the queue's lock, so
    /// that a barrier that is queued after a revocation is behind everything that was admitted before it.
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

/// All leases.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    by_stream: HashMap<Stream, Arc<Hold>, RandomState>,
    epoch: u64,
}

impl Leases {
    /// Takes the stream from whoever has it. The new lease admits nothing yet.
    pub(super) fn take(self: &Arc<Self>, stream: &Stream) -> Lease {
        let mut held = self.0.lock();
        held.epoch += 1;
        let hold = Arc::new(Hold {
            stream: stream.clone(),
            epoch: held.epoch,
            revoked: AtomicBool::new(false),
            next: AtomicU64::new(u64::MAX),
        });
        if let Some(before) = held.by_stream.insert(stream.clone(), Arc::clone(&hold)) {
            before.revoked.store(true, Ordering::Release);
        }
        Lease { hold, leases: Arc::clone(self) }
    }
}

/// The right to write one stream, until somebody else activates it. Dropping it gives it back.
pub struct Lease {
    pub(super) hold: Arc<Hold>,
    leases: Arc<Leases>,
}

impl Lease {
    /// The stream that may be written.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.hold.stream
    }

    /// Admits the record after this sequence, and those that follow.
    pub(super) fn begin_after(&self, sequence: u64) {
        self.hold.next.store(sequence + 1, Ordering::Release);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.leases.0.lock();
        if held.by_stream.get(&self.hold.stream).is_some_and(|hold| hold.epoch == self.hold.epoch) {
            held.by_stream.remove(&self.hold.stream);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Lease({:?}, epoch {})", self.hold.stream, self.hold.epoch)
    }
}
