//! Kills in the middle of a checkpoint and behind it: what a snapshot replaces is gone from the state for good, and no
//! read model is further than what it relied on. The keys are read as they are stored, not through a load, which hides
//! what is behind a snapshot.

use std::{
    cell::Cell,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::storage::{
    Append, Fault, Journal, JournalConfig, JournalLimits, Position, RealFiles, Snapshot, Stream,
    batch::Link,
    checkpoint::{Cut, Leftovers, record, write_frozen},
    layout::key,
    manifest::{Known, Manifest},
    memtable::{Kept, Memtable},
    read_models::ReadModels,
    record::Loaded,
    shared::Target,
    state::State,
    tests::simulated_disk::{copy_dir, small_limits},
    watchdog::Watchdog,
};

fn stream() -> Stream {
    Stream::new(1, b"erased")
}

fn snapshot(sequence: u64, length: usize) -> Snapshot {
    Snapshot { sequence, version: 1, bytes: vec![u8::try_from(sequence).unwrap(); length].into() }
}

fn records(sequences: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = Kept> {
    sequences.map(|sequence| Kept { sequence, version: 1, payload: Bytes::from(vec![b'r'; 3_000]) })
}

/// A state with its memtable, as one life of a journal has them.
struct Life {
    state: Arc<State>,
    read_models: ReadModels,
    manifest: Manifest,
    memtable: Memtable,
}

impl Life {
    fn begin(dir: &Path) -> Self {
        let watchdog = Arc::new(Watchdog::default());
        let state = Arc::new(State::open(&dir.join("state"), 1 << 20, &watchdog).unwrap());
        let read_models = ReadModels::open(Arc::clone(&state)).unwrap();
        let manifest = Manifest::new(Arc::new(RealFiles), dir.to_owned(), Known::default());
        Self { state, read_models, manifest, memtable: Memtable::new() }
    }

    fn add(&self, sequences: std::ops::RangeInclusive<u64>) {
        assert!(self.memtable.insert(&stream(), records(sequences)));
    }

    /// A checkpoint whose slices have one entry each.
    fn checkpoint(
        &self,
        leftovers: Leftovers,
        after_slice: &dyn Fn(Duration) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let Self { state, read_models, manifest, memtable } = self;
        let target = Target { memtable, state, read_models, manifest, slice_bytes_max: 1 };
        let positions = read_models.positions();
        memtable.freeze();
        let link = Link::default();
        let state_bytes = write_frozen(&target, Cut { link, positions, leftovers }, after_slice)?;
        record(&target, link, state_bytes)
    }

    fn load(&self) -> Loaded {
        Loaded::merge(self.state.load(&stream()).unwrap(), self.memtable.load(&stream())).unwrap()
    }

    /// The keys of the stream behind its name: 0 for a head, 1 and 2 for chunks and runs.
    fn keys(&self) -> Vec<Vec<u8>> {
        let prefix = key(&stream());
        let keys = self.state.scan_keys(&prefix, usize::MAX).unwrap();
        keys.into_iter().map(|key| key[prefix.len()..].to_vec()).collect()
    }
}

/// A life with old records in the state, and new ones and a snapshot in the memtable, that is killed in a checkpoint
/// after this many slices, when all of them happen to be on the disk. Returns whether it came so far.
fn kill_after(slices: usize, length: usize, to: &Path) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let life = Life::begin(dir.path());
    life.add(1..=2);
    life.memtable.snapshot(&stream(), snapshot(2, 9_000));
    life.add(3..=5);
    life.checkpoint(Leftovers::None, &|_| Ok(())).unwrap();
    life.add(6..=8);
    life.memtable.snapshot(&stream(), snapshot(7, length));
    let seen = Cell::new(0);
    let killed = life.checkpoint(Leftovers::None, &|_| {
        seen.set(seen.get() + 1);
        if seen.get() <= slices {
            return Ok(());
        }
        life.state.sync().unwrap();
        copy_dir(dir.path(), to);
        Err(Fault::Closed)
    });
    if killed.is_ok() {
        copy_dir(dir.path(), to);
    }
    killed.is_err()
}

#[test]
fn nothing_that_a_snapshot_replaces_outlives_a_kill() {
    // With the head, in two chunks, and in three, of which one is left behind by a smaller one.
    for length in [10, 6_000, 12_000] {
        let mut slices = 0;
        let mut goes_on = true;
        while goes_on {
            let dir = tempfile::tempdir().unwrap();
            goes_on = kill_after(slices, length, dir.path());
            let context = format!("a snapshot of {length} bytes, killed after {slices} slices");

            // The start reads the log from the mark before, but finds no snapshot in it.
            let life = Life::begin(dir.path());
            if goes_on {
                life.add(6..=8);
            }
            assert_eq!(life.load().sequence(), 8, "{context}");
            life.checkpoint(Leftovers::Possible, &|_| Ok(())).unwrap();
            let loaded = life.load();
            assert_eq!(loaded.sequence(), 8, "{context}");
            if loaded.snapshot.is_some_and(|snapshot| snapshot.sequence == 7) {
                let runs: Vec<_> = life.keys().into_iter().filter(|key| key[0] == 2).collect();
                assert_eq!(runs.len(), 1, "{context}: only record 8 is left");
                assert_eq!(runs[0][1..9], 8_u64.to_be_bytes(), "{context}");
            }

            // The next snapshot is the last that the stream gets.
            life.add(9..=9);
            life.memtable.snapshot(&stream(), snapshot(9, 10));
            life.checkpoint(Leftovers::None, &|_| Ok(())).unwrap();
            assert_eq!(life.keys(), [[0]], "{context}: only a head is left");
            slices += 1;
        }
        assert!(slices >= 3, "the kills come between its entries");
    }
}

#[test]
fn what_a_large_snapshot_replaces_is_gone_with_its_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let life = Life::begin(dir.path());
    life.add(1..=700);
    life.checkpoint(Leftovers::None, &|_| Ok(())).unwrap();
    assert!(life.keys().len() > 512, "more than goes into one batch");
    life.add(701..=701);
    life.memtable.snapshot(&stream(), snapshot_of(701));
    life.checkpoint(Leftovers::None, &|_| Ok(())).unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path());
    assert_eq!(Life::begin(copy.path()).keys(), [[0]], "a kill after the checkpoint brings nothing back");
}

fn snapshot_of(sequence: u64) -> Snapshot {
    Snapshot { sequence, version: 1, bytes: Bytes::from_static(b"nothing of it") }
}

async fn append(journal: &Journal, stream: &Stream) {
    let (lease, _) = journal.activate(stream).await.unwrap();
    let (sender, receiver) = oneshot::channel();
    let append = Append { sequence: 1, version: 1, payload: b"an event".to_vec() };
    journal.reserve().await.unwrap().append(&lease, append, move |result| sender.send(result).unwrap());
    receiver.await.unwrap().unwrap();
}

/// Each step of this read model relies on a snapshot, as that of the lists does on those of erased streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_model_is_pinned_further_than_the_snapshots_that_it_relied_on() {
    const STEPS: u64 = 2_000;
    let dir = tempfile::tempdir().unwrap();
    // No checkpoint but those that the test makes, so that its copies are whole.
    let limits = JournalLimits { memtable_bytes_max: 64 << 20, ..small_limits() };
    let journal = Journal::open(JournalConfig { limits, ..JournalConfig::new(dir.path()) }).unwrap();
    let name = |step: u64| Stream::new(1, &step.to_be_bytes());
    for step in 1..=STEPS {
        append(&journal, &name(step)).await;
    }
    journal.checkpoint().await.unwrap();
    let (copying, ends) = (Arc::new(Mutex::new(())), Arc::new(AtomicBool::new(false)));
    let met = Arc::new(AtomicBool::new(false));
    let follower = std::thread::spawn({
        let (journal, copying, ends) = (journal.clone(), Arc::clone(&copying), Arc::clone(&ends));
        let met = Arc::clone(&met);
        move || {
            for step in 1..=STEPS {
                // It must not be done before a checkpoint meets it at work.
                while step == STEPS / 2 && !met.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let _copying = copying.lock();
                journal.offer_snapshot(&name(step), snapshot_of(1));
                journal.read_models().commit("list", Position(step), Vec::new()).unwrap();
            }
            ends.store(true, Ordering::SeqCst);
        }
    });
    let mut pinned = Vec::new();
    while !ends.load(Ordering::SeqCst) {
        journal.checkpoint().await.unwrap();
        let _copying = copying.lock();
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&dir.path().join("state"), &copy.path().join("state"));
        let life = Life::begin(copy.path());
        let position = life.read_models.position("list").0;
        for step in 1..=position {
            assert!(life.state.head(&name(step)).unwrap().is_some(), "pinned at {position}, without snapshot {step}");
        }
        if (1..STEPS).contains(&position) {
            met.store(true, Ordering::SeqCst);
        }
        pinned.push(position);
    }
    follower.join().unwrap();
    assert!(pinned.iter().any(|position| (1..STEPS).contains(position)), "checkpoints came in between: {pinned:?}");
}
