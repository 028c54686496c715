//! What the threads of a journal share.
//!
//! Depends on everything below `journal`.

use std::{
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
    directory_lock::DirectoryLock,
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
    /// The slots of the queue.
    pub permits: Arc<Semaphore>,
    /// Limits concurrent activations.
    pub activations: Arc<Semaphore>,
    pub read_pool: Arc<ReadPool>,
    pub leases: Arc<Leases>,
    pub memtable: Memtable,
    /// Notified when the memtable has shrunk, and when waiting for that has become pointless.
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
    /// Held until the journal has ended.
    pub lock: Mutex<Option<DirectoryLock>>,
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
    /// Why the journal takes no records now, if it does not.
    pub(super) fn refusal(&self) -> Option<Refused> {
        let closed = self.closed.load(Ordering::Acquire).then_some(Refused::Closed);
        self.status.refusal().filter(|refused| *refused == Refused::Failed).or(closed).or_else(|| self.status.refusal())
    }

    /// Fails the journal for good, and wakes everybody who waits for it.
    pub(super) fn fail(&self, reason: &str) {
        self.status.fail(reason);
        self.permits.close();
        self.room.notify_waiters();
    }

    /// Whether a change of the state has taken so long that it will never end.
    pub(super) fn state_has_stopped(&self) -> bool {
        self.state.watchdog().have_stopped(self.limits.state_change_ms_max)
    }

    /// Lowers what the manifest says of the state's file to what sled has left of it.
    pub(super) fn expect_no_more_state(&self) {
        let state_bytes = self.state.file_bytes();
        if state_bytes < self.manifest.state_bytes()
            && let Err(error) = self.manifest.update(|known| known.state_bytes = known.state_bytes.min(state_bytes))
        {
            tracing::warn!(%error, "the length of the state cannot be written down");
        }
    }

    /// Closes the state and unlocks the directory. A stopped state cannot be closed; the process must end first.
    pub(super) fn give_back(&self) {
        if !self.state_has_stopped() {
            self.state.close();
            self.expect_no_more_state();
        }
        self.lock.lock().take();
    }

    /// The durable part of a stream. Blocks: it may read the disk.
    pub(super) fn load(&self, stream: &Stream) -> Answer {
        // The memtable first: records that a checkpoint drops from it later are in the state by then.
        let memtable = self.memtable.load(stream);
        let behind = self.state.load(stream)?;
        let missing = |last| LoadError::Damaged(format!("{stream:?}: record {} is missing", last + 1));
        Loaded::merge(behind, memtable).map_err(missing)
    }

    /// Publishes the last batch: it is durable, and its records are in the memtable.
    pub(super) fn advance(&self, link: Link) {
        *self.link.lock() = link;
        self.durable.store(link.end.0, Ordering::Release);
        if self.memtable.active_bytes() > self.limits.checkpoint_bytes() {
            self.requests.want();
        }
    }

    pub(super) fn durable(&self) -> Position {
        Position(self.durable.load(Ordering::Acquire))
    }

    /// Wakes the followers, after the callbacks of the batch itself.
    pub(super) fn announce_durable(&self) {
        let durable = self.durable();
        self.durable_watch.send_if_modified(|known| std::mem::replace(known, durable) != durable);
    }

    /// Whether the log is sealed at the end. A journal that was dropped without a close ends like a killed one.
    pub(super) fn seals_at_stop(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether a periodic checkpoint would change anything.
    pub(super) fn worth_a_checkpoint(&self) -> bool {
        self.memtable.bytes() > 0 || !self.read_models.are_pinned()
    }

    /// Whether even the space reserved for a checkpoint is taken. The checkpoint then waits, because one that fails
    /// would end the process; as the journal is read-only, no new records arrive meanwhile.
    pub(super) fn lacks_room(&self) -> bool {
        let reserve = self.limits.disk_free_bytes_min / 2;
        matches!(self.status.status(), Status::ReadOnly { free_bytes, .. } if free_bytes < reserve)
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
