//! Ends a shop: by its close, or when its last clone is dropped.
//!
//! Depends on the rooms below.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{Inner, OpenShopError};

/// How many dropped shops of this process still hold their directories.
static DROPPED: AtomicUsize = AtomicUsize::new(0);

/// How a shop ends: by its close, or when its last clone is dropped.
pub(super) struct Ending {
    runtime: Handle,
    begun: CancellationToken,
    finished: AtomicBool,
}

impl Ending {
    /// The ending of a shop on the current tokio runtime.
    ///
    /// # Errors
    /// [`OpenShopError::Runtime`] without a runtime, or if its timers are disabled, which tokio reports only by a
    /// panic.
    pub(super) fn new() -> Result<Self, OpenShopError> {
        let runtime = Handle::try_current().map_err(|_| OpenShopError::Runtime)?;
        let timer = std::panic::catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO)));
        timer.map_err(|_| OpenShopError::Runtime)?;
        Ok(Self { runtime, begun: CancellationToken::new(), finished: AtomicBool::new(false) })
    }

    /// Cancelled when the shop begins to end.
    pub(super) fn token(&self) -> &CancellationToken {
        &self.begun
    }

    pub(super) fn begin(&self) {
        self.begun.cancel();
    }

    pub(super) fn finish(&self) {
        self.finished.store(true, Ordering::Release);
    }
}

/// Whether a shop that was dropped in this process still holds its directory.
pub(super) fn is_pending() -> bool {
    DROPPED.load(Ordering::Acquire) > 0
}

/// Counts a dropped shop until its directory is released.
struct Dropped;

impl Dropped {
    fn new() -> Self {
        DROPPED.fetch_add(1, Ordering::AcqRel);
        Self
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        DROPPED.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Ends a shop whose last clone is gone: its actors stop, and its directory is released. If the tokio runtime has
/// ended, the actors have ended with it.
impl Drop for Inner {
    fn drop(&mut self) {
        self.ending.begin();
        self.runtime.reconciler.close();
        if self.ending.finished.load(Ordering::Acquire) {
            return;
        }
        let (root, identity_writer) = (self.runtime.root.clone(), self.identity_writer.clone());
        let (journal, dropped) = (self.journal.clone(), Dropped::new());
        self.ending.runtime.spawn(async move {
            root.expect_ends().await;
            root.stop().await;
            // Before the journal releases the directory.
            identity_writer.end().await;
            if let Err(error) = journal.close().await {
                tracing::error!(%error, "a dropped shop could not be closed");
            }
            drop(dropped);
        });
    }
}
