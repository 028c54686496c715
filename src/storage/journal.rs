//! The journal: makes events durable before a command is acknowledged, and loads entities again. The interface of this
//! room.
//!
//! A log, which is the source of truth, a memtable, and a state behind them. Depends on everything else in `storage`.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use super::{
    boot::{self, Booted},
    checkpoint,
    directory_lock::DirectoryLock,
    errors::{Fault, LoadError, OpenError, PageError, Refused},
    files::{Files, RealFiles},
    lease::{Lease, Leases, UnderWay},
    limits::{JournalLimits, SNAPSHOT_BYTES_MAX},
    log::LogWriter,
    preallocator::Preallocator,
    queue::{Entry, Queue, Slot},
    read_models::ReadModels,
    read_pool::{self, ReadPool},
    record::{Loaded, Page, Position, Snapshot, Stream},
    requests::{Requests, Stop},
    retention::{
        compactor,
        copy::{self, CopyProgress, JournalCopy},
        shared::{Compacted, Retention},
    },
    scan::Scan,
    segment_map::SegmentMap,
    shared::Shared,
    spares::Spares,
    status::{Counters, Figures, Status, StatusBoard},
    watchdog::Watchdog,
    writer::Writer,
};

/// Where a journal lives and what it may use.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// Created if it does not exist.
    pub dir: PathBuf,
    pub limits: JournalLimits,
    /// The file system under the log and the manifest.
    pub files: Arc<dyn Files>,
}

impl JournalConfig {
    /// The default limits on the operating system's files.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), limits: JournalLimits::default(), files: Arc::new(RealFiles) }
    }
}

/// How often closing checks whether a thread has ended.
const JOIN_STEP: Duration = Duration::from_millis(1);

/// The journal. Cheap to clone. Dropping the last clone without [`Journal::close`] ends it like a kill.
#[derive(Clone)]
pub struct Journal(Arc<Owner>);

/// The name of the preallocator's thread.
const PREALLOCATOR: &str = "journal-preallocator";

/// The threads and the state that they share.
struct Owner {
    shared: Arc<Shared>,
    spares: Arc<Spares>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    /// Serialises calls of close; a second one finds it done.
    closing: tokio::sync::Mutex<()>,
}

impl Journal {
    /// Whether there is a journal, even a damaged or incomplete one: then [`Journal::open`] creates no new one in
    /// `dir`. A directory is empty in this sense if it has nothing but its lock or the `lost+found` of a file system.
    #[must_use]
    pub fn is_present(dir: &Path) -> bool {
        boot::PARTS.iter().any(|part| {
            let part = dir.join(part);
            fs::read_dir(&part).map_or_else(|_| part.exists(), |mut entries| entries.next().is_some())
        })
    }

    /// The store's identity: random, made with the journal, and in each of its files.
    #[must_use]
    pub fn store(&self) -> u64 {
        self.shared().store
    }

    /// Opens or creates a journal. Blocks: it reads the log from the last checkpoint on.
    ///
    /// # Errors
    /// Another process has the directory, or what is in it is damaged or incomplete.
    pub fn open(config: JournalConfig) -> Result<Self, OpenError> {
        let limits = config.limits.fitted();
        let lock = DirectoryLock::take(&config.dir)?;
        let watchdog = Arc::new(Watchdog::default());
        let booted = watchdog.outlive(limits.state_change_ms_max, "journal-start", {
            let (dir, files, limits, watchdog) =
                (config.dir.clone(), Arc::clone(&config.files), limits.clone(), Arc::clone(&watchdog));
            move || boot::boot(&dir, &files, &limits, &watchdog)
        })?;
        let Booted { store, state, read_models, manifest, memtable, log, segments, checkpoint, base } = booted?;
        let segment_map = Arc::new(SegmentMap::default());
        segments.iter().for_each(|segment| segment_map.add(segment));
        let counters = Counters::default();
        counters.checkpoint_position.store(checkpoint.end.0, Ordering::Relaxed);
        counters.sealed.store(log.sealed, Ordering::Relaxed);
        if let Some(base) = &base {
            counters.base_position.store(base.link.end.0, Ordering::Relaxed);
            counters.base_bytes.store(base.bytes, Ordering::Relaxed);
        }
        let shared = Arc::new(Shared {
            log_dir: config.dir.join("log"),
            base_dir: config.dir.join("base"),
            files: config.files,
            store,
            queue: Arc::new(Queue::new(limits.record_bytes_max)),
            permits: Arc::new(Semaphore::new(limits.queue_records_max)),
            activations: Arc::new(Semaphore::new(limits.activations_max)),
            read_pool: ReadPool::new(limits.loads_max),
            limits,
            leases: Arc::new(Leases::default()),
            memtable,
            room: Notify::new(),
            state,
            read_models,
            segments: segment_map,
            manifest,
            status: Arc::new(StatusBoard::new()),
            counters,
            requests: Requests::default(),
            retention: Retention::new(base),
            link: Mutex::new(log.link),
            durable: AtomicU64::new(log.link.end.0),
            durable_watch: watch::Sender::new(log.link.end),
            closed: AtomicBool::new(false),
            lock: Mutex::new(Some(lock)),
        });
        let next_first = segments.last().map_or(0, |segment| segment.end());
        let spares = Arc::new(Spares::new(log.spares));
        let preallocator = Preallocator { shared: Arc::clone(&shared), spares: Arc::clone(&spares), next_first };
        let log_writer = LogWriter::new(store, log.current, log.link, Arc::clone(&spares));
        let writer = Writer::new(Arc::clone(&shared), log_writer, log.sealed);
        let owner = Owner { shared, spares, threads: Mutex::default(), closing: tokio::sync::Mutex::default() };
        let journal = Self(Arc::new(owner));
        let shared = Arc::clone(journal.shared());
        journal.spawn(PREALLOCATOR, move || preallocator.run())?;
        journal.spawn("journal-writer", move || writer.run())?;
        journal.spawn("journal-state", move || checkpoint::run(&shared))?;
        let shared = Arc::clone(journal.shared());
        journal.spawn("journal-compactor", move || compactor::run(&shared))?;
        Ok(journal)
    }

    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Fault> {
        let thread = thread::Builder::new().name(name.into()).spawn(work).map_err(Fault::io("start a thread"))?;
        self.0.threads.lock().push(thread);
        Ok(())
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Waits for a slot in the queue, and while the memtable is full.
    ///
    /// # Errors
    /// The journal takes no records, for now or for ever.
    #[cfg(any(test, feature = "internals"))]
    pub async fn reserve(&self) -> Result<Slot, Refused> {
        self.reserve_many(1).await
    }

    /// Waits for this many slots in the queue; capped at the size of the queue.
    ///
    /// # Errors
    /// The journal takes no records, for now or for ever.
    pub async fn reserve_many(&self, slots: u32) -> Result<Slot, Refused> {
        let shared = self.shared();
        if let Some(refused) = shared.refusal() {
            return Err(refused);
        }
        if shared.memtable.bytes() >= shared.limits.memtable_bytes_max {
            self.wait_for_room().await?;
        }
        let slots = slots.min(u32::try_from(shared.limits.queue_records_max).unwrap_or(u32::MAX));
        let permit = Arc::clone(&shared.permits).acquire_many_owned(slots).await;
        if let Some(refused) = shared.refusal() {
            return Err(refused);
        }
        let permit = permit.map_err(|_| Refused::Closed)?;
        Ok(Slot { permit, queue: Arc::clone(&shared.queue) })
    }

    async fn wait_for_room(&self) -> Result<(), Refused> {
        let shared = self.shared();
        loop {
            let room = shared.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if let Some(refused) = shared.refusal() {
                return Err(refused);
            }
            if shared.memtable.bytes() < shared.limits.memtable_bytes_max {
                return Ok(());
            }
            shared.requests.want();
            room.await;
        }
    }

    /// Waits until everything admitted before is durable.
    ///
    /// # Errors
    /// The journal has failed or was closed, so it will not be.
    pub async fn barrier(&self) -> Result<(), Fault> {
        let shared = self.shared();
        let (sender, durable) = oneshot::channel();
        let on_durable = Box::new(move |result| {
            // The receiver is gone if the caller stopped waiting.
            let _ = sender.send(result);
        });
        shared.queue.push(Entry::After { permit: None, on_durable });
        match durable.await {
            Ok(Ok(())) => Ok(()),
            _ if shared.closed.load(Ordering::Acquire) => Err(Fault::Closed),
            _ => Err(Fault::Failed),
        }
    }

    /// Takes the stream over from its current holder and loads it, after everything appended before is durable or has
    /// failed.
    ///
    /// # Errors
    /// The stream cannot be read, or the journal has failed or was closed. The previous holder has lost its lease all
    /// the same.
    pub async fn activate(&self, stream: &Stream) -> Result<(Lease, Loaded), LoadError> {
        let shared = self.shared();
        let _place = shared.activations.acquire().await.map_err(|_| Fault::Closed)?;
        // The order matters: from the take on no record of the previous holder is admitted, the barrier waits for those
        // that were, and so the load finds every record that precedes ours.
        let (lease, under_way) = shared.leases.take(stream);
        match (under_way, shared.refusal()) {
            (UnderWay::Perhaps, _) => self.barrier().await?,
            (UnderWay::Nothing, Some(Refused::Closed)) => return Err(Fault::Closed.into()),
            (UnderWay::Nothing, Some(Refused::Failed)) => return Err(Fault::Failed.into()),
            (UnderWay::Nothing, None | Some(Refused::ReadOnly)) => {}
        }
        let loaded = self.read(stream).await?;
        lease.begin_after(loaded.sequence());
        Ok((lease, loaded))
    }

    /// The durable part of a stream. Takes no lease and does not wait for appends.
    ///
    /// # Errors
    /// It cannot be read, or the journal was closed.
    pub async fn read(&self, stream: &Stream) -> Result<Loaded, LoadError> {
        let (loaded, reader) = self.shared().read_pool.push(stream.clone());
        if let Some(reader) = reader {
            let shared = Arc::clone(self.shared());
            tokio::task::spawn_blocking(move || reader.serve(|stream| shared.load(stream)));
        }
        loaded.await.unwrap_or_else(|_| Err(read_pool::unended(stream)))
    }

    /// The end of the last durable batch.
    #[must_use]
    pub fn durable(&self) -> Position {
        self.shared().durable()
    }

    /// Watches the end of the last durable batch.
    #[must_use]
    pub fn watch_durable(&self) -> watch::Receiver<Position> {
        self.shared().durable_watch.subscribe()
    }

    /// Durable records of whole batches after `from`, about `bytes_max` bytes together, and at least one batch if there
    /// is one. Blocks: it reads files.
    ///
    /// # Errors
    /// The log does not reach back so far, is damaged there, or cannot be read.
    pub fn page(&self, from: Position, bytes_max: usize) -> Result<Page, PageError> {
        self.shared().pages().page(from, bytes_max, self.durable())
    }

    /// The read models of this journal.
    #[must_use]
    pub fn read_models(&self) -> &ReadModels {
        &self.shared().read_models
    }

    /// Makes the state stop as sled can, for tests.
    #[cfg(test)]
    pub(super) fn stop_the_state(&self) {
        self.shared().state.watchdog().get_stuck();
    }

    /// Offers the state of a stream after one of its durable records, so that a later load is short. Newer records may
    /// already exist. A snapshot larger than [`SNAPSHOT_BYTES_MAX`] is ignored.
    pub fn offer_snapshot(&self, stream: &Stream, snapshot: Snapshot) {
        if snapshot.bytes.len() <= SNAPSHOT_BYTES_MAX {
            self.shared().memtable.snapshot(stream, snapshot);
        }
    }

    /// Makes a checkpoint that covers at least everything durable now, and returns its position.
    ///
    /// # Errors
    /// The state cannot be written, or the journal has failed or was closed.
    #[cfg(any(test, feature = "internals"))]
    pub async fn checkpoint(&self) -> Result<Position, Fault> {
        self.shared().requests.ask().await.unwrap_or(Err(Fault::Closed))
    }

    /// Whether a follower that has read the log up to `position` can continue from there, or be seeded. If not, it has
    /// followed another log, or a copy of this one that diverged. Blocks: it reads files.
    #[must_use]
    pub fn can_follow(&self, position: Position) -> bool {
        position <= self.durable() && !matches!(self.page(position, 1), Err(PageError::Damaged(_)))
    }

    /// Where the log begins: a follower at an earlier position has to be seeded.
    #[must_use]
    pub fn oldest(&self) -> Position {
        self.shared().segments.oldest()
    }

    /// Scans over the streams of a kind in the state. Blocks: it makes a checkpoint first.
    ///
    /// # Errors
    /// The checkpoint failed, or the journal has failed or was closed.
    pub fn scan(&self, kind: u8) -> Result<Scan, Fault> {
        Scan::begin(self.shared(), Some(kind))
    }

    /// Takes a base now, and removes the segments that it replaces and that the limits do not keep.
    ///
    /// # Errors
    /// The base cannot be taken, or the journal has failed or was closed. No data is lost by that.
    pub async fn compact(&self) -> Result<Compacted, Fault> {
        self.shared().retention.requests.ask().await.unwrap_or(Err(Fault::Closed))
    }

    /// Copies the journal as of now into a directory that must not exist, while the journal runs. The copy can be
    /// opened like any journal. Blocks.
    ///
    /// # Errors
    /// The base cannot be taken, or a file cannot be copied; what was copied so far is left there.
    pub fn copy(&self, to: &Path, progress: &mut dyn FnMut(CopyProgress)) -> Result<JournalCopy, Fault> {
        copy::copy(self.shared(), to, progress)
    }

    /// Refuses new appends, writes what is queued, seals the log, makes a last checkpoint and releases the directory.
    ///
    /// # Errors
    /// The journal had failed, or the last checkpoint did. What was acknowledged is in the log.
    pub async fn close(&self) -> Result<(), Fault> {
        let _closing = self.0.closing.lock().await;
        let owner = Arc::clone(&self.0);
        let closed = tokio::task::spawn_blocking(move || owner.stop());
        closed.await.unwrap_or_else(|error| Err(Fault::State(format!("the close did not end: {error}"))))
    }

    /// Whether the journal takes records.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared().status.status()
    }

    /// The free space on the disk of the log, in bytes; `None` if the system does not tell.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        let shared = self.shared();
        shared.files.free_bytes(&shared.log_dir).ok()
    }

    /// Watches whether the journal takes records.
    #[must_use]
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.shared().status.subscribe()
    }

    /// Counters and gauges for metrics.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let shared = self.shared();
        let counters = &shared.counters;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let free = shared.permits.available_permits();
        Figures {
            batches: count(&counters.batches),
            records: count(&counters.records),
            sealed: counters.sealed.load(Ordering::Acquire),
            bytes: count(&counters.bytes),
            sync_nanoseconds_sum: count(&counters.sync_nanoseconds_sum),
            sync_nanoseconds_last: count(&counters.sync_nanoseconds_last),
            queue_records: shared.limits.queue_records_max.saturating_sub(free) as u64,
            memtable_bytes: shared.memtable.bytes(),
            checkpoints: count(&counters.checkpoints),
            checkpoint_position: Position(count(&counters.checkpoint_position)),
            checkpoint_ms_last: count(&counters.checkpoint_ms_last),
            base_position: Position(count(&counters.base_position)),
            base_bytes: count(&counters.base_bytes),
            log_bytes: shared.segments.bytes(),
        }
    }
}

impl Owner {
    /// The clean end. A second call does nothing.
    fn stop(&self) -> Result<(), Fault> {
        let shared = &self.shared;
        if shared.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.join(Stop::AfterCurrent);
        let result = if shared.status.failed() {
            Err(Fault::Failed)
        } else {
            let (link, stopping) = (*shared.link.lock(), Arc::clone(shared));
            let last = move || checkpoint::still(&stopping.target(), link, checkpoint::Moment::End);
            shared.state.watchdog().outlive(shared.limits.state_change_ms_max, "journal-stop", last).flatten()
        };
        shared.give_back();
        result
    }

    fn join(&self, stop: Stop) {
        let threads = std::mem::take(&mut *self.threads.lock());
        join(&self.shared, &self.spares, threads, stop);
    }

    fn on_own_thread(&self) -> bool {
        self.threads.lock().iter().any(|thread| thread.thread().id() == thread::current().id())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.shared.closed.load(Ordering::Acquire) {
            return;
        }
        let (shared, spares) = (Arc::clone(&self.shared), Arc::clone(&self.spares));
        let own_thread = self.on_own_thread();
        let threads = std::mem::take(&mut *self.threads.lock());
        let end = move || {
            join(&shared, &spares, threads, Stop::Now);
            shared.give_back();
        };
        if !own_thread {
            return end();
        }
        // The last clone was dropped in a callback, which runs on the writer's thread. A checkpoint may be waiting for
        // the writer, so the writer must not wait for the checkpoint.
        if let Err(error) = thread::Builder::new().name("journal-end".into()).spawn(end) {
            tracing::error!(%error, "a dropped journal cannot be ended");
        }
    }
}

/// Tells the threads to end and waits for them.
fn join(shared: &Shared, spares: &Spares, threads: Vec<thread::JoinHandle<()>>, stop: Stop) {
    shared.permits.close();
    shared.room.notify_waiters();
    shared.queue.stop();
    shared.retention.requests.stop(Stop::Now);
    shared.requests.stop(stop);
    spares.end_on_failure();
    // The writer may still need a segment, so the preallocator, which was started first, ends last.
    for thread in threads.into_iter().rev() {
        if thread.thread().name() == Some(PREALLOCATOR) {
            spares.end();
        }
        // A thread that waits for a stopped state never ends, so do not wait for it.
        while !thread.is_finished() && !shared.state_has_stopped() {
            thread::sleep(JOIN_STEP);
        }
        if thread.is_finished() && thread.join().is_err() {
            tracing::error!("a thread of the journal panicked");
        }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Journal({}, {:?})", self.shared().log_dir.display(), self.status())
    }
}
