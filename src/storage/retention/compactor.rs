//! The compactor: a thread that takes a base when the log since the last one has grown or aged, and then removes the
//! segments that are no longer needed.
//!
//! A base costs one read of the whole state, so the next one is due only when the log has grown by as much: less is
//! written for bases than for events. The log is switched to its next segment first, so that every segment from before
//! the base can be removed. Depends on `base`, `scan` and `shared`.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use super::{
    base::{self, Base},
    shared::Compacted,
};
use crate::storage::{
    errors::{Fault, LoadError},
    limits::JournalLimits,
    record::Position,
    requests::answer,
    scan::Scan,
    segment,
    segment_map::Switched,
    shared::Shared,
};

/// How long the state is read before the compactor pauses.
const SLICE: Duration = Duration::from_millis(2);
/// How long a base waits for the next segment, which a common disk makes in a second or two.
const SPARE_WAIT_MAX: Duration = Duration::from_secs(10);
/// How often it checks for the segment meanwhile.
const SPARE_WAIT_STEP: Duration = Duration::from_millis(20);

/// Keeps every segment and base while it exists.
#[derive(Debug)]
pub(in crate::storage) struct RetentionHold(Arc<Shared>);

impl RetentionHold {
    pub(in crate::storage) fn new(shared: &Arc<Shared>) -> Self {
        shared.retention.hold();
        Self(Arc::clone(shared))
    }
}

impl Drop for RetentionHold {
    fn drop(&mut self) {
        self.0.retention.release();
    }
}

/// Runs the compactor thread.
pub(in crate::storage) fn run(shared: &Arc<Shared>) {
    let poll = Duration::from_millis(shared.limits.retention_poll_ms.max(1));
    while let Some(waiters) = shared.retention.requests.next(poll) {
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
            log_bytes: shared.segments.bytes(),
            segments_removed,
        });
        answer(waiters, &result);
    }
}

/// Whether the log has grown or aged enough for the next base.
fn is_due(shared: &Shared) -> bool {
    let limits = &shared.limits;
    if shared.status.refusal().is_some() {
        return false;
    }
    let newest = shared.retention.newest();
    let begin = newest.as_ref().map_or_else(|| shared.segments.oldest(), |base| base.link.end);
    let grown = shared.durable().0.saturating_sub(begin.0);
    let large = grown >= limits.base_log_bytes.max(newest.as_ref().map_or(0, |base| base.bytes));
    // A log that has lost its beginning and has no base must get one.
    let missing = newest.is_none() && shared.segments.oldest() > Position::BEGINNING;
    // The log grows by a seal for each base, which is no reason for the next base.
    large || missing || (grown > SEAL_BYTES && age(shared, newest.as_ref()) >= limits.base_age_ms)
}

/// What taking a base adds to the log, in bytes.
const SEAL_BYTES: u64 = 2 * crate::storage::limits::PAGE_BYTES as u64;

/// The age of the newest base, or of the log if there is no base, in milliseconds.
fn age(shared: &Shared, newest: Option<&Base>) -> u64 {
    let first = || shared.log_dir.join(segment::file_name(shared.segments.oldest().0));
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
    let mut scan = Scan::begin(shared, None)?;
    let mut writer = base::BaseWriter::create(shared.files.as_ref(), &shared.base_dir, shared.store, scan.link())
        .map_err(Fault::io(format!("begin a base in {}", shared.base_dir.display())))?;
    let base = match write_streams(shared, &mut scan, &mut writer) {
        Ok(()) => writer.finish().map_err(Fault::io(format!("complete a base in {}", shared.base_dir.display())))?,
        Err(error) => {
            writer.abandon();
            return Err(error);
        }
    };
    tracing::info!(position = base.link.end.0, bytes = base.bytes, elapsed = ?began.elapsed(), "a base was taken");
    shared.counters.base_position.store(base.link.end.0, Ordering::Relaxed);
    shared.counters.base_bytes.store(base.bytes, Ordering::Relaxed);
    shared.retention.set_newest(base.clone());
    remove_older(shared, &base)
}

/// Continues the log in its next segment. If none becomes ready in time (the disk may be full), the log stays in the
/// current one until the next base.
fn switch_segment(shared: &Shared) -> Result<(), Fault> {
    let until = Instant::now() + SPARE_WAIT_MAX;
    loop {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        shared.queue.switch(sender);
        match receiver.recv().map_err(|_| Fault::Closed)? {
            Switched::NotReady if Instant::now() < until => shared.retention.requests.pause(SPARE_WAIT_STEP)?,
            _ => return Ok(()),
        }
    }
}

fn write_streams(shared: &Shared, scan: &mut Scan, writer: &mut base::BaseWriter<'_>) -> Result<(), Fault> {
    let mut began = Instant::now();
    while let Some(stream) = scan.next() {
        let stream = stream?;
        let loaded = scan.load(&stream).map_err(|error| match error {
            LoadError::Damaged(what) => Fault::Damaged(what),
            LoadError::Fault(fault) => fault,
        })?;
        writer.push(&stream, &loaded).map_err(Fault::io("write a base"))?;
        if began.elapsed() >= SLICE {
            shared.retention.requests.pause(rest(began.elapsed(), &shared.limits))?;
            began = Instant::now();
        }
    }
    Ok(())
}

/// The pause after this much work.
pub(in crate::storage) fn rest(work: Duration, limits: &JournalLimits) -> Duration {
    let percent = limits.base_work_percent.clamp(1, 100);
    work * (100 - percent) / percent
}

/// Removes older bases, unless a copy is in progress.
fn remove_older(shared: &Shared, newest: &Base) -> Result<(), Fault> {
    for path in base::others(shared.files.as_ref(), &shared.base_dir, newest)? {
        if shared.retention.is_held() {
            // The next base removes it.
            return Ok(());
        }
        shared.files.remove(&path).map_err(Fault::io(format!("remove {}", path.display())))?;
    }
    shared.files.sync_dir(&shared.base_dir).map_err(Fault::io(format!("sync {}", shared.base_dir.display())))
}

/// Removes the oldest segments, one by one, while the base replaces them and they are too many or too old, or the disk
/// is short of space. Returns how many were removed.
fn remove_segments(shared: &Shared) -> Result<u64, Fault> {
    let Some(base) = shared.retention.newest() else { return Ok(0) };
    let mut removed = 0;
    while let Some((first, end)) = shared.segments.first() {
        // If the last batch ends exactly at the end of its segment, the segment after it stays, and a log needs only
        // one.
        if end > base.link.end.0 || shared.retention.is_held() {
            break;
        }
        let path = shared.log_dir.join(segment::file_name(first));
        let limits = &shared.limits;
        let goes = shared.segments.bytes() > limits.log_keep_bytes
            || ms_since(shared.files.modified(&path).ok()) >= limits.log_keep_ms
            || shared.status.refusal().is_some();
        if !goes {
            break;
        }
        shared.segments.remove(first);
        shared.files.remove(&path).map_err(Fault::io(format!("remove {}", path.display())))?;
        // Sync after each removal: a power cut must not undo the removal of an older segment and keep that of a newer
        // one.
        shared.files.sync_dir(&shared.log_dir).map_err(Fault::io(format!("sync {}", shared.log_dir.display())))?;
        removed += 1;
    }
    Ok(removed)
}
