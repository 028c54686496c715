//! Bases, the removal of what they replace, and copies: none of them loses anything, and nothing damaged is accepted.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::storage::{
    Append, Journal, JournalConfig, JournalLimits, OpenError, PageError, Position, Snapshot, Stream,
    tests::simulated_disk::{Random, copy_dir, small_limits},
};

const STREAMS: u64 = 40;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn open_with(dir: &Path, limits: JournalLimits) -> Result<Journal, OpenError> {
    Journal::open(JournalConfig { limits, ..JournalConfig::new(dir) })
}

fn open(dir: &Path) -> Journal {
    open_with(dir, small_limits()).unwrap()
}

fn stream(index: u64) -> Stream {
    Stream::new(u8::try_from(index % 3).unwrap(), format!("stream {index}").as_bytes())
}

/// Appends to every stream; every fifth event has a snapshot with it, but not for every stream.
async fn write(journal: &Journal, events: u64) {
    for index in 0..STREAMS {
        let (lease, loaded) = journal.activate(&stream(index)).await.unwrap();
        let mut last = None;
        for sequence in loaded.sequence() + 1..=loaded.sequence() + events {
            let slot = journal.reserve().await.unwrap();
            let (sender, receiver) = oneshot::channel();
            let append = Append { sequence, version: 3, payload: payload(index, sequence) };
            let (offering, name) = (journal.clone(), stream(index));
            slot.append(&lease, append, move |result| {
                if result.is_ok() && sequence % 5 == 0 && index % 4 != 0 {
                    let bytes = format!("up to {sequence}").into_bytes().into();
                    offering.offer_snapshot(&name, Snapshot { sequence, version: 7, bytes });
                }
                sender.send(result).unwrap();
            });
            last = Some(receiver);
        }
        last.unwrap().await.unwrap().unwrap();
    }
}

fn payload(index: u64, sequence: u64) -> Vec<u8> {
    format!("stream {index}, event {sequence}, ").repeat(1 + usize::try_from(index).unwrap()).into_bytes()
}

/// The last event of each stream. Which snapshot a stream has depends on the state's history, so only its correctness
/// is checked.
async fn everything(journal: &Journal) -> BTreeMap<u64, u64> {
    let mut all = BTreeMap::new();
    for index in 0..STREAMS {
        let loaded = journal.read(&stream(index)).await.unwrap();
        if let Some(snapshot) = &loaded.snapshot {
            assert!(snapshot.bytes == format!("up to {}", snapshot.sequence) && snapshot.version == 7);
        }
        for record in &loaded.records {
            assert!(record.payload == payload(index, record.sequence) && record.version == 3);
        }
        all.insert(index, loaded.sequence());
    }
    all
}

fn bases(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir.join("base")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_base_and_the_log_after_it_hold_all_data() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let journal = open(dir.path());
        for _ in 0..3 {
            write(&journal, 7).await;
            let compacted = journal.compact().await.unwrap();
            assert!(compacted.segments_removed > 0, "{compacted:?}");
            assert!(compacted.log_bytes <= 3 * small_limits().segment_bytes, "{compacted:?}");
            assert_eq!(bases(dir.path()).len(), 1);
        }
        write(&journal, 4).await;
        let before = everything(&journal).await;
        assert!(before.values().all(|last| *last == 25));
        assert!(journal.oldest() > Position::BEGINNING);
        assert!(matches!(journal.page(Position::BEGINNING, 1_000), Err(PageError::Gone { .. })));
        journal.close().await.unwrap();
        drop(journal);

        // Neither a missing state nor a damaged one loses anything.
        std::fs::remove_dir_all(dir.path().join("state")).unwrap();
        let journal = open(dir.path());
        assert_eq!(everything(&journal).await, before);
        drop(journal);
        let journal = open(dir.path());
        assert_eq!(everything(&journal).await, before);
        write(&journal, 2).await;
        journal.close().await.unwrap();
    });
}

#[test]
fn a_base_is_taken_while_others_write() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let journal = open(dir.path());
        write(&journal, 5).await;
        let writing = tokio::spawn({
            let journal = journal.clone();
            async move {
                for _ in 0..12 {
                    write(&journal, 3).await;
                    journal.checkpoint().await.unwrap();
                }
            }
        });
        let mut taken = 0;
        while !writing.is_finished() {
            journal.compact().await.unwrap();
            taken += 1;
            // What a start would find that has lost the state now.
            let copy = tempfile::tempdir().unwrap();
            let files = tokio::task::spawn_blocking({
                let (journal, to) = (journal.clone(), copy.path().join("copy"));
                move || journal.copy(&to, &mut |_| {}).unwrap()
            });
            let files = files.await.unwrap();
            let copied = open(&copy.path().join("copy"));
            assert!(copied.durable() >= files.position, "nothing durable was left out");
            let found = everything(&copied).await;
            assert!(found.values().all(|last| *last >= 5));
            let now = everything(&journal).await;
            assert!(found.iter().all(|(index, last)| *last <= now[index]));
        }
        writing.await.unwrap();
        assert!(taken > 1, "{taken} bases during the writing");
        let before = everything(&journal).await;
        drop(journal);
        std::fs::remove_dir_all(dir.path().join("state")).unwrap();
        assert_eq!(everything(&open(dir.path())).await, before);
    });
}

#[test]
fn a_copy_is_consistent_and_can_be_opened() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    runtime().block_on(async {
        let journal = open(dir.path());
        write(&journal, 9).await;
        let before = everything(&journal).await;
        let to = copies.path().join("copy");
        let copy = || {
            let (journal, to) = (journal.clone(), to.clone());
            tokio::task::spawn_blocking(move || {
                let mut reports = Vec::new();
                journal.copy(&to, &mut |progress| reports.push(progress)).map(|copy| (copy, reports))
            })
        };
        let (copied, reports) = copy().await.unwrap().unwrap();
        assert!(reports.is_sorted_by_key(|progress| progress.done));
        assert_eq!(reports.last().map(|last| (last.done, last.total)), Some((copied.bytes, copied.bytes)));
        let again = copy().await.unwrap().unwrap_err().to_string();
        assert!(again.contains("copy"), "a directory that exists is not written into: {again}");
        write(&journal, 1).await;
        assert_eq!(everything(&open(&to)).await, before, "nothing from after the copy");
        assert!(everything(&journal).await.values().all(|last| *last == 10), "the shop went on");
        // A finished copy no longer stops the removal of segments.
        assert!(journal.compact().await.unwrap().segments_removed > 0);
    });
}

#[test]
fn a_base_is_taken_when_the_log_has_grown_or_aged() {
    for (bytes, age) in [(200_000, u64::MAX), (u64::MAX, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let limits = JournalLimits { base_log_bytes: bytes, base_age_ms: age, retention_poll_ms: 1, ..small_limits() };
        let segments_max = 16;
        runtime().block_on(async {
            let journal = open_with(dir.path(), limits.clone()).unwrap();
            let mut written = 0;
            for _ in 0..5 {
                let before = journal.figures().base_position;
                // The compactor polls, so the base comes a little later.
                while journal.figures().base_position == before {
                    write(&journal, 1).await;
                    written += 1;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            while journal.figures().log_bytes > segments_max * limits.segment_bytes {
                write(&journal, 1).await;
                written += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(everything(&journal).await[&0], written);
        });
    }
}

#[test]
fn segments_within_the_limits_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let limits = JournalLimits { log_keep_bytes: u64::MAX, ..small_limits() };
    runtime().block_on(async {
        let journal = open_with(dir.path(), limits).unwrap();
        for _ in 0..4 {
            write(&journal, 5).await;
            assert_eq!(journal.compact().await.unwrap().segments_removed, 0);
        }
        let mut position = Position::BEGINNING;
        let mut records = 0;
        while position < journal.durable() {
            let page = journal.page(position, 10_000).unwrap();
            records += page.records.len() as u64;
            position = page.next;
        }
        assert_eq!(records, 20 * STREAMS, "switched segments are read through");
    });
}

/// A base with any flipped bit, or without its end, is never loaded into a state.
#[test]
fn a_damaged_base_is_never_loaded() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let journal = open(dir.path());
        write(&journal, 6).await;
        journal.compact().await.unwrap();
        journal.close().await.unwrap();
    });
    let base = bases(dir.path()).remove(0);
    let good = std::fs::read(&base).unwrap();
    let mut random = Random(5);
    let places = (0..60).map(|index| if index < 60 * 8 / 10 { random.below(good.len()) } else { index });
    for place in places.collect::<Vec<_>>() {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        std::fs::remove_dir_all(copy.path().join("state")).unwrap();
        let mut bad = good.clone();
        let what = if random.percent(80) {
            bad[place] ^= 1 << random.below(8);
            "a flipped bit"
        } else {
            bad.truncate(place);
            "a missing end"
        };
        std::fs::write(bases(copy.path()).remove(0), bad).unwrap();
        let opened = open_with(copy.path(), small_limits());
        assert!(matches!(opened, Err(OpenError::CannotRebuild { .. })), "{what} at {place}: {opened:?}");
    }
    // While the state exists the shop runs on, and the next base replaces the damaged one.
    let mut bad = good;
    let middle = bad.len() / 2;
    bad.truncate(middle);
    bad[3] ^= 1;
    std::fs::write(&base, bad).unwrap();
    runtime().block_on(async {
        let journal = open(dir.path());
        let all = everything(&journal).await;
        journal.compact().await.unwrap();
        drop(journal);
        std::fs::remove_dir_all(dir.path().join("state")).unwrap();
        assert_eq!(everything(&open(dir.path())).await, all);
    });
    std::fs::remove_dir_all(dir.path().join("base")).unwrap();
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    assert!(matches!(open_with(dir.path(), small_limits()), Err(OpenError::CannotRebuild { .. })));
}
