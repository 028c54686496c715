//! Power cuts: a random workload on a disk that records its calls, then starts from thousands of the states in which a
//! power cut may leave that disk. Nothing acknowledged is lost, nothing appears that was never written, and nothing
//! damaged is accepted.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::storage::{
    Append, Journal, Snapshot, Stream,
    batch::{Link, records},
    errors::OpenError,
    files::Files,
    log,
    manifest::Manifest,
    retention::base,
    tests::simulated_disk::{Call, Disk, Image, Random, Replay, config, copy_dir},
};

const STREAMS: usize = 5;

/// An event that was appended to the journal. Its number is the note that its acknowledgement leaves among the disk's
/// calls.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    stream: Stream,
    sequence: u64,
    payload: Vec<u8>,
}

/// Everything that was ever appended, over all lives of the journal.
#[derive(Debug, Clone, Default)]
struct Ledger(Arc<Mutex<Vec<Written>>>);

impl Ledger {
    fn add(&self, written: Written) -> usize {
        let mut ledger = self.0.lock();
        ledger.push(written);
        ledger.len() - 1
    }

    /// Compares what was found with what was written and with what of it was acknowledged.
    fn check(&self, found: &BTreeMap<Stream, Vec<Vec<u8>>>, acknowledged: &BTreeSet<usize>) -> Result<(), String> {
        let ledger = self.0.lock();
        for (stream, payloads) in found {
            for (payload, sequence) in payloads.iter().zip(1..) {
                let known = |written: &Written| {
                    written.stream == *stream && written.sequence == sequence && written.payload == *payload
                };
                if !ledger.iter().any(known) {
                    return Err(format!("{stream:?} {sequence} was never written"));
                }
            }
        }
        for number in acknowledged {
            let Written { stream, sequence, payload } = &ledger[*number];
            let index = usize::try_from(*sequence - 1).unwrap();
            if found.get(stream).and_then(|payloads| payloads.get(index)) != Some(payload) {
                return Err(format!("{stream:?} {sequence} was acknowledged and is lost"));
            }
        }
        Ok(())
    }
}

/// A copy of the state's directory, with the number of calls that the disk had seen before it was taken.
type StateCopy = (usize, tempfile::TempDir);

/// One life of a journal: several writers, seals, checkpoints, and an end without a close.
fn live(dir: &Path, disk: &Disk, ledger: &Ledger, seed: u64, rounds: usize) -> Vec<StateCopy> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let journal = Journal::open(config(dir, disk)).unwrap();
    let copies = runtime.block_on(async {
        let mut copies = Vec::new();
        for round in 0..rounds {
            let writers = (0..STREAMS).map(|index| {
                let seed = seed ^ (round * STREAMS + index) as u64;
                tokio::spawn(write_some(journal.clone(), disk.clone(), ledger.clone(), index, Random(seed)))
            });
            let writers: Vec<_> = writers.collect();
            if round % 2 == 1 {
                // A copy in the middle of a checkpoint and of the writing.
                let checkpoint = tokio::spawn({
                    let journal = journal.clone();
                    async move { journal.checkpoint().await }
                });
                copies.push(copy_state(dir, disk));
                checkpoint.await.unwrap().unwrap();
            }
            for writer in writers {
                writer.await.unwrap();
            }
            if round % 4 == 3 {
                journal.compact().await.unwrap();
                copies.push(copy_state(dir, disk));
            }
            if round % 3 == 2 {
                journal.checkpoint().await.unwrap();
                copies.push(copy_state(dir, disk));
            }
            if round % 2 == 0 {
                sealed(&journal).await;
            }
        }
        copies
    });
    drop(journal);
    copies
}

fn copy_state(dir: &Path, disk: &Disk) -> StateCopy {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(&dir.join("state"), copy.path());
    // Counted afterwards: the copy may hold what became durable while it was taken.
    (disk.calls_made(), copy)
}

/// Waits until nothing has been written for a while, so that the last batch is a seal.
async fn sealed(journal: &Journal) {
    let mut durable = journal.watch_durable();
    while !journal.figures().sealed {
        durable.changed().await.unwrap();
    }
}

async fn write_some(journal: Journal, disk: Disk, ledger: Ledger, index: usize, mut random: Random) {
    let stream = Stream::new(1, format!("stream-{index}").as_bytes());
    let (lease, loaded) = journal.activate(&stream).await.unwrap();
    let next = loaded.sequence() + 1;
    let mut waiting = Vec::new();
    for sequence in next..next + random.below(14) as u64 {
        let length = [0, 40, 300, 5_000][random.below(4)] + random.below(60);
        let payload: Vec<u8> = (0..length).map(|_| random.next().to_le_bytes()[0]).collect();
        let number = ledger.add(Written { stream: stream.clone(), sequence, payload: payload.clone() });
        let slot = journal.reserve().await.unwrap();
        let snapshot = random.percent(15).then(|| history(&ledger, &stream, sequence));
        let snapshot = snapshot.map(|bytes| Snapshot { sequence, version: 1, bytes: bytes.into() });
        let (sender, receiver) = oneshot::channel();
        let (disk, offering, name) = (disk.clone(), journal.clone(), stream.clone());
        slot.append(&lease, Append { sequence, version: 1, payload }, move |result| {
            result.unwrap();
            disk.note(number);
            if let Some(snapshot) = snapshot {
                offering.offer_snapshot(&name, snapshot);
            }
            sender.send(()).unwrap();
        });
        waiting.push(receiver);
        if random.percent(30) {
            for receiver in waiting.drain(..) {
                receiver.await.unwrap();
            }
        }
    }
    for receiver in waiting {
        receiver.await.unwrap();
    }
}

/// The snapshot format of these tests: every payload so far, each preceded by its length.
fn history(ledger: &Ledger, stream: &Stream, sequence: u64) -> Vec<u8> {
    let ledger = ledger.0.lock();
    let mut bytes = Vec::new();
    for wanted in 1..=sequence {
        let newest = ledger.iter().rfind(|written| written.stream == *stream && written.sequence == wanted).unwrap();
        bytes.extend_from_slice(&u32::try_from(newest.payload.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&newest.payload);
    }
    bytes
}

fn payloads_of(snapshot: &[u8]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    let mut rest = snapshot;
    while !rest.is_empty() {
        let (length, bytes) = rest.split_at(4);
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        payloads.push(bytes[..length].to_vec());
        rest = &bytes[length..];
    }
    payloads
}

/// Reads the whole log of a crashed disk, as a start would.
fn start_log(image: Image) -> Result<BTreeMap<Stream, Vec<Vec<u8>>>, OpenError> {
    let root = Path::new("/disk");
    let disk = Disk::new(root, image);
    let dir = root.join("log");
    let firsts = log::segment_positions(&disk, &dir)?;
    let mut found: BTreeMap<Stream, Vec<Vec<u8>>> = BTreeMap::new();
    let Some(known) = Manifest::read(&disk, root)? else {
        assert!(firsts.is_empty(), "a log without a manifest");
        return Ok(found);
    };
    assert!(
        known.segment.is_none_or(|newest| firsts.last().is_some_and(|last| *last >= newest)),
        "a known segment is gone"
    );
    let segments = log::open_segments(&disk, &dir, known.store, &firsts)?;
    if segments.is_empty() {
        return Ok(found);
    }
    let mut from = Link::default();
    if segments[0].first > 0 {
        let base =
            base::newest(&disk, &root.join("base"), known.store)?.expect("a log without its beginning has a base");
        let file = disk.open(&base.path).unwrap();
        let base = base::BaseReader::open(file, base.path, known.store)?.read(&mut |entry| {
            match entry {
                base::BaseEntry::Snapshot(stream, snapshot) => {
                    found.insert(stream, payloads_of(&snapshot.bytes));
                }
                base::BaseEntry::Record(record) => {
                    let payloads = found.entry(record.stream).or_default();
                    payloads.push(record.payload.to_vec());
                    assert_eq!(payloads.len() as u64, record.sequence, "a gap in the base");
                }
            }
            Ok(())
        })?;
        from = base.link;
    }
    let recovered = log::recover(segments, known.store, from, &mut |_, payload| {
        for view in records(payload).map(Option::unwrap) {
            let payloads = found.entry(Stream::from_bytes(view.stream).unwrap()).or_default();
            // The base holds the earlier ones.
            if view.sequence > payloads.len() as u64 {
                payloads.push(view.payload.to_vec());
                assert_eq!(payloads.len() as u64, view.sequence, "a gap in the stream");
            }
        }
        Ok(())
    })?;
    assert!(recovered.link.end >= known.position, "the manifest knew more");
    Ok(found)
}

/// Replays the calls and starts the log `per_call` times from the state after each of them. Returns the number of
/// states, or the first wrong one.
fn start_from_every_crash(
    calls: &[Call],
    ledger: &Ledger,
    per_call: usize,
    random: &mut Random,
) -> Result<usize, String> {
    let mut replay = Replay::default();
    let mut acknowledged = BTreeSet::new();
    let mut states = 0;
    for (index, call) in calls.iter().enumerate() {
        replay.step(call);
        if let Call::Note(number) = call {
            acknowledged.insert(*number);
        }
        for _ in 0..per_call {
            let found = start_log(replay.crash(random)).map_err(|error| format!("call {index}: {error}"))?;
            ledger.check(&found, &acknowledged).map_err(|error| format!("call {index}: {error}"))?;
            states += 1;
        }
    }
    Ok(states)
}

#[test]
fn the_log_starts_from_every_crash_state() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path(), Image::default());
    let ledger = Ledger::default();
    live(dir.path(), &disk, &ledger, 1, 12);
    let calls = disk.calls();
    let named = |name: &str, call: &&Call| matches!(call, Call::Rename { to, .. } if to.starts_with(name));
    let segments = calls.iter().filter(|call| named("log", call)).count();
    let bases = calls.iter().filter(|call| named("base", call)).count();
    let removed = |call: &&Call| matches!(call, Call::Remove { path } if path.starts_with("log"));
    assert!(bases >= 2 && calls.iter().any(|call| removed(&call)), "{bases} bases, and segments that went");
    assert!(segments >= 4, "the workload has {segments} segments and should rotate");
    let per_call = 4_000_usize.div_ceil(calls.len());
    let states = start_from_every_crash(&calls, &ledger, per_call, &mut Random(2)).unwrap();
    println!("{states} crash states of {} calls, {segments} segments, {bases} bases, loss 0", calls.len());
    assert!(states >= 3_000);
}

#[test]
fn the_crash_test_finds_an_acknowledgement_that_no_sync_stands_behind() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path(), Image::default());
    disk.ignore_repeated_syncs();
    let ledger = Ledger::default();
    live(dir.path(), &disk, &ledger, 3, 1);
    let found = start_from_every_crash(&disk.calls(), &ledger, 4, &mut Random(4));
    let found = found.unwrap_err();
    assert!(found.contains("acknowledged and is lost"), "{found}");
}

/// A whole journal, read through its own interface.
fn start_journal(dir: &Path, disk: &Disk) -> BTreeMap<Stream, Vec<Vec<u8>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let journal = Journal::open(config(dir, disk)).unwrap();
    let mut found = BTreeMap::new();
    runtime.block_on(async {
        for index in 0..STREAMS {
            let stream = Stream::new(1, format!("stream-{index}").as_bytes());
            let loaded = journal.read(&stream).await.unwrap();
            let mut payloads = loaded.snapshot.map(|snapshot| payloads_of(&snapshot.bytes)).unwrap_or_default();
            payloads.extend(loaded.records.iter().map(|record| record.payload.to_vec()));
            assert_eq!(
                payloads.len() as u64,
                loaded.records.last().map_or(payloads.len() as u64, |last| last.sequence)
            );
            found.insert(stream, payloads);
        }
    });
    found
}

#[test]
fn a_journal_starts_from_crash_states_also_with_an_older_state_store() {
    let mut boots = 0;
    for life in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path(), Image::default());
        let ledger = Ledger::default();
        let copies = live(dir.path(), &disk, &ledger, 100 + life, 7);
        let calls = disk.calls();
        let mut random = Random(life);
        let mut replay = Replay::default();
        let mut acknowledged = BTreeSet::new();
        let every = calls.len() / 100 + 1;
        for (index, call) in calls.iter().enumerate() {
            replay.step(call);
            if let Call::Note(number) = call {
                acknowledged.insert(*number);
            }
            if index % every != 0 {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let older: Vec<_> = copies.iter().filter(|(calls, _)| *calls <= index + 1).collect();
            if !older.is_empty() && random.percent(90) {
                // Mostly the newest, as after a real cut; a start must notice an older one and rebuild it.
                let back = if random.percent(70) { 0 } else { random.below(older.len()) };
                copy_dir(older[older.len() - 1 - back].1.path(), &dir.path().join("state"));
            }
            let crashed = Disk::new(dir.path(), replay.crash(&mut random));
            if !crashed.image().names.contains_key(Path::new("manifest")) && dir.path().join("state").exists() {
                continue;
            }
            let found = start_journal(dir.path(), &crashed);
            ledger.check(&found, &acknowledged).unwrap_or_else(|error| panic!("life {life}, call {index}: {error}"));
            boots += 1;
        }
    }
    println!("{boots} starts of whole journals, loss 0");
    assert!(boots >= 200);
}

#[test]
fn a_journal_survives_repeated_crashes() {
    let ledger = Ledger::default();
    let mut image = Image::default();
    let mut acknowledged = BTreeSet::new();
    let mut random = Random(7);
    for life in 0..25 {
        // The state is lost each time, so everything comes from the log, and logs that were cut before are cut again.
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path(), image.clone());
        live(dir.path(), &disk, &ledger, 1_000 + life, 1);
        let calls = disk.calls();
        let mut replay = Replay::new(image);
        let end = random.below(calls.len() + 1);
        for call in &calls[..end] {
            replay.step(call);
            if let Call::Note(number) = call {
                acknowledged.insert(*number);
            }
        }
        image = replay.crash(&mut random);
        let found = start_log(image.clone()).unwrap();
        ledger.check(&found, &acknowledged).unwrap_or_else(|error| panic!("life {life}: {error}"));
    }
    assert!(acknowledged.len() > 100);
}
