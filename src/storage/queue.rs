//! The queue before the writer: what arrives during a sync becomes the next batch.
//!
//! Under the queue's lock it is decided whether a record is admitted, and admitted records become durable in the order
//! of their admission: if one is durable, so is everything admitted before it, of any stream. Only a journal that fails
//! or is killed loses admitted records, and then the last ones.
//!
//! Depends on `lease`, `log`, `record` and `errors`.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    batch::Link,
    errors::AppendError,
    lease::{Lease, LeaseState},
    record::Append,
    segment_map::Switched,
};

/// Called with the outcome of an append.
pub(super) type OnDurable = Box<dyn FnOnce(Result<(), AppendError>) + Send>;

/// An entry of the queue.
pub(super) enum Entry {
    /// Consecutive records of one stream to be made durable.
    Append { lease: Arc<LeaseState>, appends: Vec<Append>, permit: OwnedSemaphorePermit, on_durable: OnDurable },
    /// A barrier: waits until everything before it is durable. Activations push one without a permit; they are bounded
    /// elsewhere.
    After { permit: Option<OwnedSemaphorePermit>, on_durable: OnDurable },
}

impl Entry {
    /// Reports a failure without having tried.
    fn fail(self) {
        match self {
            Self::Append { on_durable, permit, .. } => {
                on_durable(Err(AppendError::Failed));
                drop(permit);
            }
            Self::After { on_durable, permit } => {
                on_durable(Err(AppendError::Failed));
                drop(permit);
            }
        }
    }
}

/// Receives the position at which the memtable has been frozen.
pub(super) type OnFrozen = std::sync::mpsc::SyncSender<Link>;

/// Receives whether the log continues in its next segment.
pub(super) type OnSwitched = std::sync::mpsc::SyncSender<Switched>;

/// What the writer has to do next.
pub(super) enum Work {
    /// Entries were moved into the caller's vector.
    Entries,
    /// Freeze the memtable.
    Freeze(OnFrozen),
    /// Continue in the next segment, if one is ready.
    Switch(OnSwitched),
    /// Nothing arrived for the idle time.
    Idle,
    /// The queue was stopped and is empty.
    Stop,
}

/// Records to be queued.
struct Appends<'a> {
    lease: &'a Arc<LeaseState>,
    appends: Vec<Append>,
    permit: OwnedSemaphorePermit,
    on_durable: OnDurable,
}

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    freeze: Option<OnFrozen>,
    switch: Option<OnSwitched>,
    stop: bool,
    stopped: bool,
    waiting: bool,
}

/// The queue. Its permits bound the entries.
pub(super) struct Queue {
    record_bytes_max: usize,
    inner: Mutex<Inner>,
    wake: Condvar,
}

impl Queue {
    /// Creates a queue that refuses larger records.
    pub(super) fn new(record_bytes_max: usize) -> Self {
        Self { record_bytes_max, inner: Mutex::default(), wake: Condvar::new() }
    }

    /// Queues records, all or none. If they are refused, returns the callback with the error.
    fn append(&self, records: Appends<'_>) -> Result<(), (AppendError, OnDurable)> {
        let Appends { lease, appends, permit, on_durable } = records;
        if appends.iter().any(|append| append.payload.len() > self.record_bytes_max) {
            return Err((AppendError::TooLarge, on_durable));
        }
        let mut inner = self.inner.lock();
        if inner.stopped {
            return Err((AppendError::Failed, on_durable));
        }
        if !lease.admits(&appends) {
            return Err((AppendError::Conflict, on_durable));
        }
        inner.entries.push(Entry::Append { lease: Arc::clone(lease), appends, permit, on_durable });
        self.wake(inner);
        Ok(())
    }

    pub(super) fn push(&self, entry: Entry) {
        let mut inner = self.inner.lock();
        if inner.stopped {
            drop(inner);
            entry.fail();
            return;
        }
        inner.entries.push(entry);
        self.wake(inner);
    }

    /// Asks the writer to freeze the memtable between two batches.
    pub(super) fn freeze(&self, on_frozen: OnFrozen) {
        let mut inner = self.inner.lock();
        if !inner.stopped {
            inner.freeze = Some(on_frozen);
            self.wake(inner);
        }
    }

    /// Asks the writer to continue in the next segment.
    pub(super) fn switch(&self, on_switched: OnSwitched) {
        let mut inner = self.inner.lock();
        if !inner.stopped {
            inner.switch = Some(on_switched);
            self.wake(inner);
        }
    }

    /// Lets the writer end after it has written what is queued.
    pub(super) fn stop(&self) {
        let mut inner = self.inner.lock();
        inner.stop = true;
        self.wake(inner);
    }

    fn wake(&self, mut inner: parking_lot::MutexGuard<'_, Inner>) {
        if std::mem::take(&mut inner.waiting) {
            drop(inner);
            self.wake.notify_one();
        }
    }

    /// Waits for work, and swaps the queued entries with the empty vector in `entries`.
    pub(super) fn next(&self, entries: &mut Vec<Entry>, idle_after: Option<Duration>) -> Work {
        let mut inner = self.inner.lock();
        loop {
            if let Some(on_frozen) = inner.freeze.take() {
                return Work::Freeze(on_frozen);
            }
            if let Some(on_switched) = inner.switch.take() {
                return Work::Switch(on_switched);
            }
            if !inner.entries.is_empty() {
                std::mem::swap(&mut inner.entries, entries);
                return Work::Entries;
            }
            if inner.stop {
                inner.stopped = true;
                return Work::Stop;
            }
            inner.waiting = true;
            match idle_after {
                None => self.wake.wait(&mut inner),
                Some(idle_after) => {
                    if self.wake.wait_for(&mut inner, idle_after).timed_out() && inner.waiting {
                        inner.waiting = false;
                        return Work::Idle;
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Queue({} entries)", self.inner.lock().entries.len())
    }
}

/// Slots in the queue, taken before a decision, so that its append does not have to wait. They are released after the
/// callback has run.
#[derive(Debug)]
pub struct Slot {
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) queue: Arc<Queue>,
}

impl Slot {
    /// Queues a record. `on_durable` runs once: on the writer's thread and in the order of the queue, so it must be
    /// short and must not block; or on this thread, if the record is refused.
    #[cfg(any(test, feature = "internals"))]
    pub fn append(
        self,
        lease: &Lease,
        append: Append,
        on_durable: impl FnOnce(Result<(), AppendError>) + Send + 'static,
    ) {
        if let Err((refused, on_durable)) = self.queue(lease, vec![append], Box::new(on_durable)) {
            on_durable(Err(refused));
        }
    }

    /// Queues consecutive records of one stream; there must be as many slots. Nothing that is admitted later becomes
    /// durable before they do.
    ///
    /// # Errors
    /// None of them is queued, and `on_durable` is not called.
    pub fn append_all(
        self,
        lease: &Lease,
        appends: Vec<Append>,
        on_durable: impl FnOnce(Result<(), AppendError>) + Send + 'static,
    ) -> Result<(), AppendError> {
        self.queue(lease, appends, Box::new(on_durable)).map_err(|(refused, _)| refused)
    }

    /// Splits off some of the slots, for what is queued first.
    #[must_use]
    pub fn split_off(&mut self, slots: u32) -> Self {
        let slots = usize::try_from(slots).unwrap_or(usize::MAX).min(self.permit.num_permits());
        // `slots` is at most the number of permits, so the split succeeds.
        let permit = self.permit.split(slots);
        Self { permit: permit.expect("no more slots than there are"), queue: Arc::clone(&self.queue) }
    }

    fn queue(self, lease: &Lease, appends: Vec<Append>, on_durable: OnDurable) -> Result<(), (AppendError, OnDurable)> {
        let Self { permit, queue } = self;
        queue.append(Appends { lease: &lease.state, appends, permit, on_durable })
    }

    /// Runs `on_durable` when everything queued before is durable or has failed, but at once if the queue is empty.
    pub fn after_earlier(self, on_durable: impl FnOnce(Result<(), AppendError>) + Send + 'static) {
        self.queue.push(Entry::After { permit: Some(self.permit), on_durable: Box::new(on_durable) });
    }
}
