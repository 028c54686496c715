//! The writer: the one thread that writes the log, and the one place where a record becomes durable.
//!
//! In this order, always: check the lease, write, sync, take the records into the tail, advance the durable position, call
//! back in the order of the queue, tell the followers. Depends on `log`, `queue`, `tail` and `status`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    batch::Encoder,
    errors::AppendError,
    lease::Hold,
    limits::SNAPSHOT_BYTES_MAX,
    log::LogWriter,
    queue::{Entry, OnDurable, Work},
    record::{Append, Snapshot},
    shared::Shared,
    tail::Kept,
};

/// The thread's state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    log: LogWriter,
    /// Does an empty batch follow the last one with records?
    sealed: bool,
    encoder: Encoder,
    batch: Vec<Pending>,
    /// Places in the queue that are given back when the callbacks of the batch have run.
    permits: Option<OwnedSemaphorePermit>,
}

/// An entry whose batch is not yet durable.
enum Pending {
    Durable { hold: Arc<Hold>, append: Append, on_durable: OnDurable },
    Answer { result: Result<(), AppendError>, on_durable: OnDurable },
    Snapshot { hold: Arc<Hold>, snapshot: Snapshot },
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, log: LogWriter, sealed: bool) -> Self {
        Self { shared, log, sealed, encoder: Encoder::new(), batch: Vec::new(), permits: None }
    }

    pub(super) fn run(mut self) {
        let mut entries = Vec::new();
        loop {
            let may_seal = !self.sealed && !self.shared.status.failed();
            let idle_after = may_seal.then(|| Duration::from_millis(self.shared.limits.seal_after_ms));
            match self.shared.queue.next(&mut entries, idle_after) {
                Work::Entries => {
                    for entry in entries.drain(..) {
                        self.take(entry);
                        let limits = &self.shared.limits;
                        if self.encoder.records() >= limits.batch_records_max
                            || self.encoder.len() >= limits.batch_bytes_max
                        {
                            self.commit();
                        }
                    }
                    self.commit();
                }
                Work::Freeze(on_frozen) => {
                    self.shared.tail.freeze();
                    // Nobody listens if the checkpoint was given up meanwhile; it finds the frozen tail next time.
                    let _ = on_frozen.send(self.log.link());
                }
                Work::Switch(on_switched) => {
                    // The seal is the batch that shows where the log goes on.
                    if !self.shared.status.failed() && self.log.switch() {
                        self.seal();
                    }
                    // Nobody listens if the base was given up meanwhile.
                    let _ = on_switched.send(());
                }
                Work::Idle => self.seal(),
                Work::Stop => break,
            }
        }
        if !self.sealed && !self.shared.status.failed() && self.shared.seals_at_stop() {
            self.seal();
        }
    }

    /// Decides what becomes of an entry. Checks come before the encoding: a conflict leaves nothing in the log.
    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Append { hold, append, permit, on_durable } => {
                self.keep(permit);
                let refused = if append.payload.len() > self.shared.limits.record_bytes_max {
                    Some(AppendError::TooLarge)
                } else if hold.admits(append.sequence) {
                    None
                } else {
                    Some(AppendError::Conflict)
                };
                self.batch.push(match refused {
                    Some(error) => Pending::Answer { result: Err(error), on_durable },
                    None => {
                        self.encoder.push(&hold.stream, append.sequence, append.version, &append.payload);
                        Pending::Durable { hold, append, on_durable }
                    }
                });
            }
            Entry::After { permit, on_durable } => {
                if let Some(permit) = permit {
                    self.keep(permit);
                }
                self.batch.push(Pending::Answer { result: Ok(()), on_durable });
            }
            Entry::Snapshot { hold, sequence, version, bytes } => {
                if bytes.len() <= SNAPSHOT_BYTES_MAX && hold.is_newest(sequence) {
                    let snapshot = Snapshot { sequence, version, bytes: bytes.into() };
                    self.batch.push(Pending::Snapshot { hold, snapshot });
                }
            }
        }
    }

    fn keep(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.permits {
            Some(permits) => permits.merge(permit),
            none => *none = Some(permit),
        }
    }

    /// Makes the batch durable and answers everybody in it. Without a record in it nothing is written.
    fn commit(&mut self) {
        let made_durable = if self.shared.status.failed() {
            false
        } else if self.encoder.records() == 0 {
            true
        } else {
            self.acknowledge_before_the_sync_if_planted();
            self.write_and_sync()
        };
        if made_durable {
            self.take_into_tail();
        }
        self.encoder.clear();
        for pending in self.batch.drain(..) {
            let (result, on_durable) = match pending {
                Pending::Durable { on_durable, .. } if made_durable => (Ok(()), on_durable),
                Pending::Durable { on_durable, .. } => (Err(AppendError::Failed), on_durable),
                Pending::Answer { result: Ok(()), on_durable } if !made_durable => {
                    (Err(AppendError::Failed), on_durable)
                }
                Pending::Answer { result, on_durable } => (result, on_durable),
                Pending::Snapshot { .. } => continue,
            };
            call(on_durable, result);
        }
        self.permits = None;
        self.shared.announce_durable();
    }

    fn write_and_sync(&mut self) -> bool {
        let records = self.encoder.records() as u64;
        let before = self.log.link().end;
        let began = Instant::now();
        let mut sync_nanoseconds = 0;
        let synced = self.log.write(&mut self.encoder).and_then(|written| {
            let began = Instant::now();
            let synced = self.log.sync(written);
            sync_nanoseconds = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            synced
        });
        if let Err(error) = synced {
            // What a failed sync leaves behind is unknown, and a second one that succeeds proves nothing.
            self.shared.fail(&format!("the log cannot be written: {error}"));
            return false;
        }
        tracing::trace!(records, elapsed = ?began.elapsed(), "batch");
        self.sealed = records == 0;
        let counters = &self.shared.counters;
        counters.sealed.store(self.sealed, Ordering::Release);
        counters.batches.fetch_add(1, Ordering::Relaxed);
        counters.records.fetch_add(records, Ordering::Relaxed);
        counters.bytes.fetch_add(self.log.link().end.0 - before.0, Ordering::Relaxed);
        counters.sync_nanoseconds_sum.fetch_add(sync_nanoseconds, Ordering::Relaxed);
        counters.sync_nanoseconds_last.store(sync_nanoseconds, Ordering::Relaxed);
        true
    }

    /// From here on loads find the records. Only then does the durable position move.
    fn take_into_tail(&mut self) {
        for pending in &mut self.batch {
            match pending {
                Pending::Durable { hold, append, .. } => {
                    let Append { sequence, version, payload, snapshot } = std::mem::take(append);
                    let follows =
                        self.shared.tail.insert(&hold.stream, Kept { sequence, version, payload: payload.into() });
                    debug_assert!(follows, "the lease admits only the next sequence");
                    if let Some((version, bytes)) = snapshot.filter(|(_, bytes)| bytes.len() <= SNAPSHOT_BYTES_MAX) {
                        self.shared.tail.snapshot(&hold.stream, Snapshot { sequence, version, bytes: bytes.into() });
                    }
                }
                Pending::Snapshot { hold, snapshot } => self.shared.tail.snapshot(&hold.stream, snapshot.clone()),
                Pending::Answer { .. } => {}
            }
        }
        self.shared.advance(self.log.link());
    }

    /// An empty batch, so that damage to the last one with records can be told from a torn write.
    fn seal(&mut self) {
        self.encoder.clear();
        if self.write_and_sync() {
            self.shared.advance(self.log.link());
        }
        self.encoder.clear();
        self.shared.announce_durable();
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self)] // Its twin in tests uses it.
    fn acknowledge_before_the_sync_if_planted(&mut self) {}

    /// The planted bug that the crash tests must find.
    #[cfg(test)]
    fn acknowledge_before_the_sync_if_planted(&mut self) {
        if !self.shared.acknowledge_before_sync {
            return;
        }
        for pending in &mut self.batch {
            if let Pending::Durable { on_durable, .. } = pending {
                call(std::mem::replace(on_durable, Box::new(|_| {})), Ok(()));
            }
        }
    }
}

/// A callback that panics must not take the journal along.
fn call(on_durable: OnDurable, result: Result<(), AppendError>) {
    if catch_unwind(AssertUnwindSafe(|| on_durable(result))).is_err() {
        tracing::error!("a callback of the journal panicked");
    }
}
