//! The compactor: a thread that takes a base when the log since the last one has grown or aged, and then removes the segments
//! that nobody needs any more.
//!
//! A base costs one read of the whole state, so the next one is due only when the log has grown by as much: what is written
//! for bases stays below what is written for events. The log is switched to its next segment first, so that everything from
//! before the base can go. Depends on `base`, `walk` and `shared`.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::base::{self, Base};
use crate::storage::{
    errors::{Fault, LoadError},
    limits::JournalLimits,
    log::Switched,
    record::Position,
    segment,
    shared::Shared,
    walk::Walk,
};

/// How long the state is read before the others get their turn.
const SLICE: Duration = Duration::from_millis(2);
/// How long a base waits for the next segment: a common disk makes one in a second or two.
const SPARE_WAIT_MAX: Duration = Duration::from_secs(10);
/// How often it asks meanwhile.
const SPARE_WAIT_STEP: Duration = Duration::from_millis(20);

type Waiter = oneshot::Sender<Result<Compacted, Fault>>;

/// What a compaction left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Where the log goes on after the base.
    pub position: Position,
    /// The length of the base, in bytes.
    pub base_bytes: u64,
    /// The length of the log that is kept, in bytes.
    pub log_bytes: u64,
    /// How many segments were removed.
    pub segments_removed: u64,
}

/// How others ask for a compaction, and what they hold it up with.
#[derive(Debug, Default)]
pub(in crate::storage) struct Retention {
    inner: Mutex<Inner>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    waiters: Vec<Waiter>,
    newest: Option<Base>,
    /// Backups under way: while there are any, nothing is removed.
    backups: u32,
    stop: bool,
}

/// As long as it lives, neither a segment nor a base is removed.
#[derive(Debug)]
pub(in crate::storage) struct Hold(Arc<Shared>);

impl Hold {
    pub(in crate::storage) fn new(shared: &Arc<Shared>) -> Self {
        shared.retention.inner.lock().backups += 1;
        Self(Arc::clone(shared))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.retention.inner.lock().backups -= 1;
    }
}

impl Retention {
    pub(in crate::storage) fn new(newest: Option<Base>) -> Self {
        Self { inner: Mutex::new(Inner { newest, ..Inner::default() }), wake: Condvar::new() }
    }

    /// Asks for a base as of now or later.
    pub(in crate::storage) fn ask(&self) -> oneshot::Receiver<Result<Compacted, Fault>> {
        let (sender, receiver) = oneshot::channel();
        let mut inner = self.inner.lock();
        if inner.stop {
            // The answer cannot fail: its receiver is here.
            let _ = sender.send(Err(Fault::Closed));
        } else {
            inner.waiters.push(sender);
            self.wake.notify_all();
        }
        receiver
    }

    /// The newest complete base.
    pub(in crate::storage) fn newest(&self) -> Option<Base> {
        self.inner.lock().newest.clone()
    }

    /// Lets the compactor end, also in the middle of a base.
    pub(in crate::storage) fn stop(&self) {
        self.inner.lock().stop = true;
        self.wake.notify_all();
    }

    fn pause(&self, time: Duration) -> Result<(), Fault> {
        let mut inner = self.inner.lock();
        if !inner.stop && !time.is_zero() {
            self.wake.wait_for(&mut inner, time);
        }
        if inner.stop { Err(Fault::Closed) } else { Ok(()) }
    }
}

/// The thread.
pub(in crate::storage) fn run(shared: &Arc<Shared>) {
    let poll = Duration::from_millis(shared.limits.retention_poll_ms.max(1));
    loop {
        let waiters = {
            let mut inner = shared.retention.inner.lock();
            if !inner.stop && inner.waiters.is_empty() {
                shared.retention.wake.wait_for(&mut inner, poll);
            }
            if inner.stop {
                for waiter in inner.waiters.drain(..) {
                    // Whoever does not wait any more does not want to know.
                    let _ = waiter.send(Err(Fault::Closed));
                }
                return;
            }
            std::mem::take(&mut inner.waiters)
        };
        let asked = !waiters.is_empty();
        let result = if asked || is_due(shared) { take_base(shared) } else { Ok(()) };
        let result = result.and_then(|()| remove_segments(shared));
        match &result {
            Ok(removed) if *removed > 0 => tracing::info!(removed, "segments of the log were removed"),
            Err(error) if !matches!(error, Fault::Closed | Fault::Failed) => {
                tracing::error!(%error, "the log cannot be compacted");
            }
            Ok(_) | Err(_) => {}
        }
        let result = result.map(|segments_removed| Compacted {
            position: shared.retention.newest().map(|base| base.link.end).unwrap_or_default(),
            base_bytes: shared.retention.newest().map_or(0, |base| base.bytes),
            log_bytes: shared.catalogue.bytes(),
            segments_removed,
        });
        for waiter in waiters {
            let _ = waiter.send(result.clone());
        }
    }
}

/// Has the log grown or aged enough for the next base?
fn is_due(shared: &Shared) -> bool {
    let limits = &shared.limits;
    if shared.status.refusal().is_some() {
        return false;
    }
    let newest = shared.retention.newest();
    let begin = newest.as_ref().map_or_else(|| shared.catalogue.oldest(), |base| base.link.end);
    let grown = shared.durable().0.saturating_sub(begin.0);
    let large = grown >= limits.base_log_bytes.max(newest.as_ref().map_or(0, |base| base.bytes));
    // A log that has lost its beginning and has no base is not to be left like that.
    let missing = newest.is_none() && shared.catalogue.oldest() > Position::BEGINNING;
    // A page is a seal: nothing but the last base's own.
    large || missing || (grown > SEAL_BYTES && age(shared, newest.as_ref()) >= limits.base_age_ms)
}

/// What a base itself adds to the log, in bytes.
const SEAL_BYTES: u64 = 2 * crate::storage::limits::PAGE_BYTES as u64;

/// How old the newest base is, or where there is none the log, in milliseconds.
fn age(shared: &Shared, newest: Option<&Base>) -> u64 {
    let first = || shared.log_dir.join(segment::file_name(shared.catalogue.oldest().0));
    let path = newest.map_or_else(first, |base| base.path.clone());
    ms_since(shared.files.modified(&path).ok())
}

fn ms_since(time: Option<SystemTime>) -> u64 {
    let elapsed = time.and_then(|time| time.elapsed().ok()).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

fn take_base(shared: &Arc<Shared>) -> Result<(), Fault> {
    if shared.status.failed() {
        return Err(Fault::Failed);
    }
    let began = Instant::now();
    switch_segment(shared)?;
    let mut walk = Walk::begin(shared, None)?;
    let mut writer = base::Writer::create(shared.files.as_ref(), &shared.base_dir, shared.store, walk.link())
        .map_err(Fault::io("begin a base"))?;
    let base = match write_streams(shared, &mut walk, &mut writer) {
        Ok(()) => writer.finish().map_err(Fault::io("complete a base"))?,
        Err(error) => {
            writer.abandon();
            return Err(error);
        }
    };
    tracing::info!(position = base.link.end.0, bytes = base.bytes, elapsed = ?began.elapsed(), "a base was taken");
    shared.counters.base_position.store(base.link.end.0, Ordering::Relaxed);
    shared.counters.base_bytes.store(base.bytes, Ordering::Relaxed);
    shared.retention.inner.lock().newest = Some(base.clone());
    remove_older(shared, &base)
}

/// Lets the log go on in its next segment. Where none is ready in time (the disk may be full) the one in use stays, until the
/// next base.
fn switch_segment(shared: &Shared) -> Result<(), Fault> {
    let until = Instant::now() + SPARE_WAIT_MAX;
    loop {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        shared.queue.switch(sender);
        match receiver.recv().map_err(|_| Fault::Closed)? {
            Switched::NotReady if Instant::now() < until => shared.retention.pause(SPARE_WAIT_STEP)?,
            _ => return Ok(()),
        }
    }
}

fn write_streams(shared: &Shared, walk: &mut Walk, writer: &mut base::Writer<'_>) -> Result<(), Fault> {
    let mut began = Instant::now();
    while let Some(stream) = walk.next() {
        let stream = stream?;
        let loaded = walk.load(&stream).map_err(|error| match error {
            LoadError::Damaged(what) => Fault::Damaged(what),
            LoadError::Fault(fault) => fault,
        })?;
        writer.push(&stream, &loaded).map_err(Fault::io("write a base"))?;
        if began.elapsed() >= SLICE {
            shared.retention.pause(rest(began.elapsed(), &shared.limits))?;
            began = Instant::now();
        }
    }
    Ok(())
}

/// How long to pause after so much work.
pub(in crate::storage) fn rest(work: Duration, limits: &JournalLimits) -> Duration {
    let percent = limits.base_work_percent.clamp(1, 100);
    work * (100 - percent) / percent
}

/// Older bases go when nobody copies them.
fn remove_older(shared: &Shared, newest: &Base) -> Result<(), Fault> {
    for path in base::others(shared.files.as_ref(), &shared.base_dir, newest)? {
        if shared.retention.inner.lock().backups > 0 {
            // The next base comes back to it.
            return Ok(());
        }
        shared.files.remove(&path).map_err(Fault::io(format!("remove {}", path.display())))?;
    }
    shared.files.sync_dir(&shared.base_dir).map_err(Fault::io("sync the bases"))
}

/// Removes the oldest segments, one after the other, as far as the base replaces them and they are too many or too old, or
/// the disk is short. How many were removed.
fn remove_segments(shared: &Shared) -> Result<u64, Fault> {
    let Some(base) = shared.retention.newest() else { return Ok(0) };
    let mut removed = 0;
    while let Some((first, end)) = shared.catalogue.first() {
        // Also a log's last batch may end where its segment does; the one after it is kept then, and that is enough.
        if end > base.link.end.0 || shared.retention.inner.lock().backups > 0 {
            break;
        }
        let path = shared.log_dir.join(segment::file_name(first));
        let limits = &shared.limits;
        let goes = shared.catalogue.bytes() > limits.log_keep_bytes
            || ms_since(shared.files.modified(&path).ok()) >= limits.log_keep_ms
            || shared.status.refusal().is_some();
        if !goes {
            break;
        }
        shared.catalogue.remove(first);
        shared.files.remove(&path).map_err(Fault::io(format!("remove {}", path.display())))?;
        // One at a time: a power cut must not take a later one and leave an earlier one.
        shared.files.sync_dir(&shared.log_dir).map_err(Fault::io("sync the log's directory"))?;
        removed += 1;
    }
    Ok(removed)
}
