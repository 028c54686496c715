//! Whether the journal takes records, and its figures.
//!
//! Depends on `errors` and `record`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
};

use tokio::sync::watch;

use super::{errors::Refused, record::Position};

/// Whether the journal takes records.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    Writable,
    /// The disk is nearly full. Writes resume when there is enough space again.
    ReadOnly {
        free_bytes: u64,
        /// With so many free bytes writes resume.
        needed_bytes: u64,
    },
    /// A write or a sync failed, for this reason. The process must be restarted.
    Failed(Arc<str>),
}

const WRITABLE: u8 = 0;
const READ_ONLY: u8 = 1;
const FAILED: u8 = 2;

/// The current status, cheap to read and possible to watch.
#[derive(Debug)]
pub(super) struct StatusBoard {
    mode: AtomicU8,
    watch: watch::Sender<Status>,
}

impl StatusBoard {
    pub(super) fn new() -> Self {
        Self { mode: AtomicU8::new(WRITABLE), watch: watch::Sender::new(Status::Writable) }
    }

    /// Why the journal takes no records now, if it does not.
    pub(super) fn refusal(&self) -> Option<Refused> {
        match self.mode.load(Ordering::Acquire) {
            WRITABLE => None,
            READ_ONLY => Some(Refused::ReadOnly),
            _ => Some(Refused::Failed),
        }
    }

    pub(super) fn failed(&self) -> bool {
        self.mode.load(Ordering::Acquire) == FAILED
    }

    pub(super) fn status(&self) -> Status {
        self.watch.borrow().clone()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Status> {
        self.watch.subscribe()
    }

    /// A failure is final; the first reason is kept.
    pub(super) fn fail(&self, reason: &str) {
        if self.set(FAILED, Status::Failed(reason.into())) {
            tracing::error!(%reason, "the journal has failed");
        }
    }

    /// Refuses records until `needed_bytes` of the disk are free.
    pub(super) fn read_only(&self, free_bytes: u64, needed_bytes: u64) {
        if self.set(READ_ONLY, Status::ReadOnly { free_bytes, needed_bytes }) {
            tracing::error!(
                free_bytes,
                needed_bytes,
                "the journal is read-only: the disk is nearly full; it takes records again when needed_bytes are free"
            );
        }
    }

    pub(super) fn writable(&self) {
        if self.set(WRITABLE, Status::Writable) {
            tracing::info!("the journal takes records again");
        }
    }

    /// Returns whether the mode is another than before: that the free space has changed is no news.
    fn set(&self, mode: u8, status: Status) -> bool {
        let mut changed = false;
        self.watch.send_if_modified(|current| {
            if matches!(current, Status::Failed(_)) || *current == status {
                return false;
            }
            changed = self.mode.swap(mode, Ordering::AcqRel) != mode;
            *current = status;
            true
        });
        changed
    }
}

/// What the journal has done so far, for metrics. Counters only grow; the others are current values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Durable batches, seals included.
    pub batches: u64,
    /// Durable records.
    pub records: u64,
    /// Whether the last batch is a seal. Then even a flipped bit in the last record would be noticed.
    pub sealed: bool,
    /// Bytes written to the log, padding included.
    pub bytes: u64,
    /// Total time of the log's syncs, in nanoseconds.
    pub sync_nanoseconds_sum: u64,
    /// The duration of the last sync of the log, in nanoseconds.
    pub sync_nanoseconds_last: u64,
    /// Taken slots of the queue.
    pub queue_records: u64,
    /// The size of the memtable, in bytes.
    pub memtable_bytes: u64,
    /// Completed checkpoints.
    pub checkpoints: u64,
    /// Where a start would begin to read the log.
    pub checkpoint_position: Position,
    /// The duration of the last checkpoint, in milliseconds.
    pub checkpoint_ms_last: u64,
    /// The position of the newest base, from which the log continues.
    pub base_position: Position,
    /// The length of the newest base, in bytes.
    pub base_bytes: u64,
    /// The length of the log that is kept, in bytes.
    pub log_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub batches: AtomicU64,
    pub records: AtomicU64,
    pub sealed: AtomicBool,
    pub bytes: AtomicU64,
    pub sync_nanoseconds_sum: AtomicU64,
    pub sync_nanoseconds_last: AtomicU64,
    pub checkpoints: AtomicU64,
    pub checkpoint_position: AtomicU64,
    pub checkpoint_ms_last: AtomicU64,
    pub base_position: AtomicU64,
    pub base_bytes: AtomicU64,
}
