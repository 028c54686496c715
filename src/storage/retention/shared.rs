//! What the compactor shares with the threads that ask for a compaction, and with backups, which stop the removal of
//! files.
//!
//! Depends on `base` and `requests`.

use parking_lot::Mutex;

use super::base::Base;
use crate::storage::{record::Position, requests::Requests};

/// The result of a compaction.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// The position of the base, from which the log continues.
    pub position: Position,
    /// The length of the base, in bytes.
    pub base_bytes: u64,
    /// The length of the log that is kept, in bytes.
    pub log_bytes: u64,
    pub segments_removed: u64,
}

/// What the compactor shares with other threads.
#[derive(Debug, Default)]
pub(in crate::storage) struct Retention {
    /// Requests for a base.
    pub(in crate::storage) requests: Requests<Compacted>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    newest: Option<Base>,
    /// Backups in progress: while there is one, nothing is removed.
    backups: u32,
}

impl Retention {
    pub(in crate::storage) fn new(newest: Option<Base>) -> Self {
        Self { inner: Mutex::new(Inner { newest, backups: 0 }), ..Self::default() }
    }

    pub(in crate::storage) fn newest(&self) -> Option<Base> {
        self.inner.lock().newest.clone()
    }

    pub(super) fn set_newest(&self, base: Base) {
        self.inner.lock().newest = Some(base);
    }

    /// Keeps every segment and base until [`Retention::release`].
    pub(super) fn hold(&self) {
        self.inner.lock().backups += 1;
    }

    pub(super) fn release(&self) {
        self.inner.lock().backups -= 1;
    }

    pub(super) fn is_held(&self) -> bool {
        self.inner.lock().backups > 0
    }
}
