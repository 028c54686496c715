//! What the threads of a journal share.
//!
//! Depends on everything below `journal`.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};

use super::{
    batch::Link,
    errors::{LoadError, Refused},
    files::Files,
    lease::Leases,
    limits::JournalLimits,
    log::PageSource,
    manifest::Manifest,
    memtable::Memtable,
    queue::Queue,
    read_models::ReadModels,
    read_pool::{Answer, ReadPool},
    record::{Loaded, Position, Stream},
    requests::Requests,
    retention::shared::Retention,
    segment_map::SegmentMap,
    state::State,
    status::{Counters, Status, StatusBoard},
};

/// What the threads of a journal share.
#[derive(Debug)]
pub(super) struct Shared {
    pub log_dir: PathBuf,
    pub base_dir: PathBuf,
    pub files: Arc<dyn Files>,
    pub store: u64,
    pub limits: JournalLimits,
    pub queue: Arc<Queue>,
    /// Places in the queue.
    pub permits: Arc<Semaphore>,
    /// Activations under way.
    pub activations: Arc<Semaphore>,
    /// Reads of streams.
    pub read_pool: Arc<ReadPool>,
    pub leases: Arc<Leases>,
    pub memtable: Memtable,
    /// Woken when the memtable has shrunk, and when there is no use in waiting for that.
    pub room: Notify,
    pub state: Arc<State>,
    pub read_models: ReadModels,
    pub segments: Arc<SegmentMap>,
    pub manifest: Arc<Manifest>,
    pub status: Arc<StatusBoard>,
    pub counters: Counters,
    /// Requests for a checkpoint.
    pub requests: Requests<Position>,
    pub retention: Retention,
    /// The last durable batch.
    pub link: Mutex<Link>,
    pub durable: AtomicU64,
    pub durable_watch: watch::Sender<Position>,
    pub closed: AtomicBool,
    /// Held open and locked as long as the directory is ours.
    pub lock: Mutex<Option<fs::File>>,
    #[cfg(test)]
    pub acknowledge_before_sync: bool,
}

/// What a checkpoint works on.
pub(super) struct Target<'a> {
    pub memtable: &'a Memtable,
    pub state: &'a State,
    pub read_models: &'a ReadModels,
    pub manifest: &'a Manifest,
    pub slice_bytes_max: usize,
}

impl Shared {
    /// Why nothing is taken now, if so.
    pub(super) fn refusal(&self) -> Option<Refused> {
        let closed = self.closed.load(Ordering::Acquire).then_some(Refused::Closed);
        self.status.refusal().filter(|refused| *refused == Refused::Failed).or(closed).or_else(|| self.status.refusal())
    }

    /// Ends everything after a failure that must not be retried. Everybody who waits learns of it.
    pub(super) fn fail(&self, reason: &str) {
        self.status.fail(reason);
        self.permits.close();
        self.room.notify_waiters();
    }

    /// Has the state not ended a change for so long that it never will?
    pub(super) fn state_has_stopped(&self) -> bool {
        self.state.watchdog().have_stopped(self.limits.state_change_ms_max)
    }

    /// Closes the state, and the directory is free. What waits for a state that has stopped keeps it.
    pub(super) fn give_back(&self) {
        if !self.state_has_stopped() {
            self.state.close();
        }
        self.lock.lock().take();
    }

    /// What is durable of a stream. Blocks: it may read the disk.
    pub(super) fn load(&self, stream: &Stream) -> Answer {
        // The memtable first: what leaves it after this has reached the state before.
        let memtable = self.memtable.load(stream);
        let behind = self.state.load(stream)?;
        let missing = |last| LoadError::Damaged(format!("{stream:?}: record {} is missing", last + 1));
        Loaded::merge(behind, memtable).map_err(missing)
    }

    /// The last batch is durable and its records are in the memtable.
    pub(super) fn advance(&self, link: Link) {
        *self.link.lock() = link;
        self.durable.store(link.end.0, Ordering::Release);
        if self.memtable.active_bytes() > self.limits.memtable_bytes_max / 2 {
            self.requests.want();
        }
    }

    pub(super) fn durable(&self) -> Position {
        Position(self.durable.load(Ordering::Acquire))
    }

    /// Wakes the followers, after everybody who waited for the batch itself.
    pub(super) fn announce_durable(&self) {
        let durable = self.durable();
        self.durable_watch.send_if_modified(|known| std::mem::replace(known, durable) != durable);
    }

    /// A journal that was dropped, not closed, ends like a killed one, as far as the log is concerned.
    pub(super) fn seals_at_stop(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Is there anything that a periodic checkpoint would change?
    pub(super) fn worth_a_checkpoint(&self) -> bool {
        self.memtable.bytes() > 0 || !self.read_models.are_pinned()
    }

    /// Has something else taken even the room that was kept for a checkpoint? Nothing is written meanwhile, so it can wait; one
    /// that failed would end the process.
    pub(super) fn lacks_room(&self) -> bool {
        let reserve = self.limits.disk_free_bytes_min / 2;
        matches!(self.status.status(), Status::ReadOnly { free_bytes } if free_bytes < reserve)
    }

    pub(super) fn target(&self) -> Target<'_> {
        Target {
            memtable: &self.memtable,
            state: &self.state,
            read_models: &self.read_models,
            manifest: &self.manifest,
            slice_bytes_max: self.limits.slice_bytes_max,
        }
    }

    pub(super) fn pages(&self) -> PageSource<'_> {
        PageSource { files: self.files.as_ref(), dir: &self.log_dir, store: self.store, segments: &self.segments }
    }
}
