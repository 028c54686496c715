//! The writer: the one thread that writes the log, and the one place where a record becomes durable.
//!
//! The order is always: write, sync, insert the records into the memtable, advance the durable position, call back in
//! the order of the queue, wake the followers. Depends on `log`, `queue`, `memtable` and `status`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    batch::Encoder,
    errors::AppendError,
    lease::LeaseState,
    log::LogWriter,
    memtable::Kept,
    queue::{Entry, OnDurable, Work},
    record::Append,
    segment_map::Switched,
    shared::Shared,
};

pub(super) struct Writer {
    shared: Arc<Shared>,
    log: LogWriter,
    /// Whether the last batch is an empty one.
    sealed: bool,
    encoder: Encoder,
    batch: Vec<Pending>,
    /// The slots of the batch, released after its callbacks have run.
    permits: Option<OwnedSemaphorePermit>,
}

/// An entry whose batch is not yet durable.
enum Pending {
    Durable { lease: Arc<LeaseState>, appends: Vec<Append>, on_durable: OnDurable },
    After { on_durable: OnDurable },
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
                    self.shared.memtable.freeze();
                    // The receiver is gone if the checkpoint was given up; the next one finds the frozen memtable.
                    let _ = on_frozen.send(self.log.link());
                }
                Work::Switch(on_switched) => {
                    let failed = self.shared.status.failed();
                    let switched = if failed { Switched::NotNeeded } else { self.log.switch() };
                    // The seal is the batch that shows where the log continues.
                    if switched == Switched::Yes {
                        self.seal();
                    }
                    // The receiver is gone if the base was given up meanwhile.
                    let _ = on_switched.send(switched);
                }
                Work::Idle => self.seal(),
                Work::Stop => break,
            }
        }
        if !self.sealed && !self.shared.status.failed() && self.shared.seals_at_stop() {
            self.seal();
        }
    }

    /// Adds an entry to the batch. Entries in the queue are admitted already.
    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Append { lease, appends, permit, on_durable } => {
                self.keep(permit);
                for append in &appends {
                    self.encoder.push(&lease.stream, append.sequence, append.version, &append.payload);
                }
                self.batch.push(Pending::Durable { lease, appends, on_durable });
            }
            Entry::After { permit, on_durable } => {
                if let Some(permit) = permit {
                    self.keep(permit);
                }
                self.batch.push(Pending::After { on_durable });
            }
        }
    }

    fn keep(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.permits {
            Some(permits) => permits.merge(permit),
            none => *none = Some(permit),
        }
    }

    /// Makes the batch durable and calls back for each entry. Writes nothing if there is no record in it.
    fn commit(&mut self) {
        let made_durable = if self.shared.status.failed() {
            false
        } else if self.encoder.records() == 0 {
            true
        } else {
            self.write_and_sync()
        };
        if made_durable {
            self.insert_into_memtable();
        }
        self.encoder.clear();
        for pending in self.batch.drain(..) {
            // The state of the lease is dropped after its callback; then the stream can be activated without a barrier.
            let (Pending::Durable { on_durable, .. } | Pending::After { on_durable }) = pending;
            call(on_durable, if made_durable { Ok(()) } else { Err(AppendError::Failed) });
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
            // The state after a failed sync is unknown, and a second sync that succeeds proves nothing.
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

    /// From here on loads find the records. Only then does the durable position advance.
    fn insert_into_memtable(&mut self) {
        for pending in &mut self.batch {
            let Pending::Durable { lease, appends, .. } = pending else { continue };
            let records = appends.drain(..).map(|append| Kept {
                sequence: append.sequence,
                version: append.version,
                payload: append.payload.into(),
            });
            let follow = self.shared.memtable.insert(&lease.stream, records);
            debug_assert!(follow, "the lease admits only the next sequence");
        }
        self.shared.advance(self.log.link());
    }

    /// Writes an empty batch, so that damage to the last batch with records can be told from a torn write.
    fn seal(&mut self) {
        self.encoder.clear();
        if self.write_and_sync() {
            self.shared.advance(self.log.link());
        }
        self.encoder.clear();
        self.shared.announce_durable();
    }
}

/// Calls back. A callback that panics must not stop the journal.
fn call(on_durable: OnDurable, result: Result<(), AppendError>) {
    if catch_unwind(AssertUnwindSafe(|| on_durable(result))).is_err() {
        tracing::error!("a callback of the journal panicked");
    }
}
