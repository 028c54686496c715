//! Checkpoints: write the memtable into the state, so that a start has little of the log to replay.
//!
//! Freeze the memtable at a batch boundary C; write it into the state in slices; sync; write C and the pins; sync;
//! write C and the length of the state's file into the manifest; only then drop the frozen memtable. No live entity is
//! needed: the events of a stream without a new snapshot are written as raw records. What a new snapshot replaces is
//! deleted in the same batch, because nothing deletes it later: after an erasure the snapshot is the last that a stream
//! ever gets. Depends on `memtable`, `state`, `read_models` and `shared`.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    batch::{Link, u32_at, u64_at},
    errors::Fault,
    layout::{StateEntry, run_entries, snapshot_entries},
    memtable::StreamEntry,
    read_models::ReadModels,
    record::{Position, Snapshot, Stream},
    requests::answer,
    shared::{Shared, Target},
    state::State,
};

const CHECKPOINT_KEY: &[u8] = b"mcheckpoint";
const STORE_KEY: &[u8] = b"mstore";
/// The version of the state's layout. A state of another version is rebuilt from the log.
const STATE_FORMAT: u16 = 1;
/// How many replaced entries are deleted in one batch with the snapshot that replaces them. Nobody can read the state
/// during a batch, for about ten microseconds an entry. Only a product with tens of thousands of reservations or
/// ratings has more.
const REPLACED_AT_ONCE_MAX: usize = 512;

/// Where the memtable was frozen.
pub(super) struct Cut {
    /// The last batch in it.
    pub link: Link,
    /// The positions of the read models, read no later than the freeze: what a projection had stored before it moved
    /// on, such as the snapshot of an erased stream, is in the frozen memtable or in the state.
    pub positions: BTreeMap<String, Position>,
    pub leftovers: Leftovers,
}

/// Whether the state may hold more than its mark says, because a kill has cut a checkpoint off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leftovers {
    Possible,
    None,
}

/// Runs the checkpoint thread.
pub(super) fn run(shared: &Arc<Shared>) {
    let every = Duration::from_millis(shared.limits.checkpoint_ms.max(1));
    let mut leftovers = Leftovers::Possible;
    while let Some(waiters) = shared.requests.next(every) {
        if waiters.is_empty() && (!shared.worth_a_checkpoint() || shared.lacks_room()) {
            continue;
        }
        let result = live(shared, leftovers);
        match &result {
            Ok(_) => leftovers = Leftovers::None,
            Err(Fault::Closed) => {}
            // The memtable cannot shrink any more, and only the next start can find out what the state holds now.
            Err(error) => shared.fail(&format!("a checkpoint failed: {error}")),
        }
        answer(waiters, &result);
    }
}

/// A checkpoint while the journal runs: the writer freezes the memtable, and the slices are paced.
fn live(shared: &Shared, leftovers: Leftovers) -> Result<Position, Fault> {
    if shared.status.failed() {
        return Err(Fault::Failed);
    }
    let began = Instant::now();
    let positions = shared.read_models.positions();
    let (on_frozen, frozen) = std::sync::mpsc::sync_channel(1);
    shared.queue.freeze(on_frozen);
    let link = frozen.recv().map_err(|_| Fault::Closed)?;
    let pace = |slice: Duration| {
        // Pause as long as the slice took, so that the log gets at least half of the disk's time; not when memory is
        // short.
        let is_short = shared.memtable.bytes() >= shared.limits.memtable_bytes_max / 4 * 3;
        shared.requests.pause(if is_short { Duration::ZERO } else { slice })
    };
    let target = shared.target();
    let state_bytes = write_frozen(&target, Cut { link, positions, leftovers }, &pace)?;
    record(&target, link, state_bytes)?;
    shared.checkpointed(link, began.elapsed());
    Ok(link.end)
}

/// A checkpoint while nothing else runs, at the start or at the end.
pub(super) fn still(target: &Target<'_>, link: Link, moment: Moment) -> Result<(), Fault> {
    let positions = target.read_models.positions();
    target.memtable.freeze();
    let state_bytes = write_frozen(target, Cut { link, positions, leftovers: Leftovers::Possible }, &|_| Ok(()))?;
    record(target, link, if moment == Moment::End { state_bytes } else { 0 })
}

/// When nothing else runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Nobody notices yet when sled cuts its file, so no length is recorded.
    Start,
    End,
}

/// Records a checkpoint in the manifest and drops what it wrote from memory.
pub(super) fn record(target: &Target<'_>, link: Link, state_bytes: u64) -> Result<(), Fault> {
    target.manifest.update(|known| {
        known.position = known.position.max(link.end);
        known.checkpoint = link.end;
        known.state_bytes = state_bytes.min(target.state.file_bytes());
    })?;
    target.memtable.drop_frozen();
    Ok(())
}

/// Writes the frozen memtable into the state. `pace` is called after each slice with how long it took. Returns a length
/// that the state's file durably has, in bytes.
pub(super) fn write_frozen(
    target: &Target<'_>,
    cut: Cut,
    pace: &dyn Fn(Duration) -> Result<(), Fault>,
) -> Result<u64, Fault> {
    let Target { memtable, state, read_models, .. } = target;
    let Cut { link, positions, leftovers } = cut;
    let mut slices = Slices { target, pace, entries: Vec::new(), bytes: 0, replaced: Vec::new() };
    let frozen = memtable.frozen();
    let mut streams: Vec<(&Stream, &StreamEntry)> = frozen.iter().flat_map(|generation| generation.iter()).collect();
    // In key order: neighbours share a page of sled's tree, and so each page is changed once.
    streams.sort_unstable_by_key(|(stream, _)| (stream.kind(), stream.key().len(), stream.key()));
    for (stream, entry) in streams {
        slices.write_stream(stream, entry, leftovers)?;
    }
    drop(frozen);
    slices.write()?;
    slices.delete_replaced()?;
    let _pinning = read_models.pinning.lock();
    let positions = read_models.still_there(positions);
    state.sync()?;
    let mut entries = ReadModels::pins(&positions);
    entries.push((CHECKPOINT_KEY.to_vec(), Some(mark(link))));
    state.apply(entries)?;
    // Read models go on to grow the file: what they add after this sync could be lost with the power.
    let state_bytes = state.file_bytes();
    state.sync()?;
    read_models.set_pinned(positions);
    Ok(state_bytes)
}

/// Collects changes and applies them slice by slice.
struct Slices<'a> {
    target: &'a Target<'a>,
    pace: &'a dyn Fn(Duration) -> Result<(), Fault>,
    entries: Vec<StateEntry>,
    bytes: usize,
    /// What remains to be deleted of what snapshots replace.
    replaced: Vec<Vec<u8>>,
}

impl Slices<'_> {
    /// Queues what the memtable holds of a stream.
    fn write_stream(&mut self, stream: &Stream, memtable: &StreamEntry, leftovers: Leftovers) -> Result<(), Fault> {
        let looks = memtable.snapshot.is_some() || leftovers == Leftovers::Possible;
        let head = if looks { self.target.state.head(stream)? } else { None };
        let newer = memtable.snapshot.as_ref().filter(|new| head.is_none_or(|head| head.sequence < new.sequence));
        if let Some(snapshot) = newer {
            self.write_snapshot(stream, snapshot, head.map_or(1, |head| head.generation + 1))?;
        } else if let (Some(head), Leftovers::Possible) = (head, leftovers) {
            // A kill came after this snapshot was written and before the mark was.
            self.replaced.extend(self.target.state.replaced_by(stream, &head)?);
        }
        // What is in a snapshot of the state already may have been erased by it.
        let covered = head.map_or(0, |head| head.sequence);
        let records = &memtable.records[memtable.records.partition_point(|record| record.sequence <= covered)..];
        for mut entries in run_entries(stream, records) {
            self.push_all(&mut entries)?;
        }
        Ok(())
    }

    /// Queues a snapshot: its chunks, to which nothing refers yet, and then at once its head and the deletion of what
    /// it replaces. So a kill leaves either what the old head refers to or nothing of it.
    fn write_snapshot(&mut self, stream: &Stream, snapshot: &Snapshot, generation: u64) -> Result<(), Fault> {
        let (head, chunks, head_entry) = snapshot_entries(stream, snapshot, generation);
        for chunk in chunks {
            self.push(chunk)?;
        }
        let mut replaced = self.target.state.replaced_by(stream, &head)?;
        self.replaced.extend(replaced.split_off(replaced.len().min(REPLACED_AT_ONCE_MAX)));
        let mut entries = vec![head_entry];
        entries.extend(replaced.into_iter().map(|key| (key, None)));
        self.push_all(&mut entries)
    }

    /// Deletes what did not fit into the batches of the snapshots, when those are durable.
    fn delete_replaced(&mut self) -> Result<(), Fault> {
        if self.replaced.is_empty() {
            return Ok(());
        }
        self.target.state.sync()?;
        for key in std::mem::take(&mut self.replaced) {
            self.push((key, None))?;
        }
        self.write()
    }

    fn push(&mut self, entry: StateEntry) -> Result<(), Fault> {
        self.push_all(&mut vec![entry])
    }

    fn push_all(&mut self, entries: &mut Vec<StateEntry>) -> Result<(), Fault> {
        self.bytes += entries.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum::<usize>();
        self.entries.append(entries);
        if self.bytes >= self.target.slice_bytes_max { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Fault> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        self.bytes = 0;
        self.target.state.apply(std::mem::take(&mut self.entries))?;
        (self.pace)(began.elapsed())
    }
}

/// Records durably that the state holds everything up to here. The state is synced first, so the mark is never ahead of
/// it.
pub(super) fn set_mark(state: &State, link: Link) -> Result<(), Fault> {
    state.sync()?;
    state.apply(vec![(CHECKPOINT_KEY.to_vec(), Some(mark(link)))])?;
    state.sync()
}

fn mark(link: Link) -> Vec<u8> {
    let mut value = Vec::with_capacity(20);
    value.extend_from_slice(&link.end.0.to_le_bytes());
    value.extend_from_slice(&link.number.to_le_bytes());
    value.extend_from_slice(&link.crc.to_le_bytes());
    value
}

/// The last complete checkpoint in a state that belongs to this store; `None` if the state is empty.
pub(super) fn stored_mark(state: &State, store: u64) -> Result<Option<Link>, Fault> {
    let Some(owner) = state.get(STORE_KEY)? else {
        // A new store writes its id before anything else, so only an empty state may lack it.
        return if state.is_empty()? { Ok(None) } else { Err(Fault::Damaged("it does not say whose it is".into())) };
    };
    if owner != owner_value(store) {
        return Err(Fault::Damaged("it belongs to another store, or another version wrote it".into()));
    }
    match state.get(CHECKPOINT_KEY)? {
        None => Ok(None),
        Some(value) if value.len() == 20 => {
            Ok(Some(Link { end: Position(u64_at(&value, 0)), number: u64_at(&value, 8), crc: u32_at(&value, 16) }))
        }
        Some(_) => Err(Fault::Damaged("its checkpoint".into())),
    }
}

/// Records durably to which store this state belongs.
pub(super) fn claim(state: &State, store: u64) -> Result<(), Fault> {
    state.apply(vec![(STORE_KEY.to_vec(), Some(owner_value(store)))])?;
    state.sync()
}

fn owner_value(store: u64) -> Vec<u8> {
    [&store.to_le_bytes()[..], &STATE_FORMAT.to_le_bytes()].concat()
}

impl Shared {
    fn checkpointed(&self, link: Link, elapsed: Duration) {
        self.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
        self.counters.checkpoint_position.store(link.end.0, Ordering::Relaxed);
        self.counters
            .checkpoint_ms_last
            .store(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.room.notify_waiters();
    }
}
