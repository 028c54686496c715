//! Faults: every call failing once, a full disk, flipped bits, files cut short or missing.

use std::{collections::BTreeMap, io, path::Path, time::Duration};

use tokio::sync::oneshot;

use crate::storage::{
    Append, AppendError, Journal, JournalConfig, OpenError, Refused, Status, Stream,
    tests::simulated_disk::{Disk, Image, Random, config, copy_dir, small_limits},
};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn stream(index: usize) -> Stream {
    Stream::new(2, &[u8::try_from(index).unwrap()])
}

fn payload(index: usize, sequence: u64) -> Vec<u8> {
    format!("stream {index}, event {sequence}, ").repeat(20 + index).into_bytes()
}

/// Appends to some streams until something fails. Returns up to where each stream was acknowledged.
async fn write(journal: &Journal, events: u64) -> BTreeMap<usize, u64> {
    let mut acknowledged = BTreeMap::new();
    for index in 0..3 {
        let Ok((lease, loaded)) = journal.activate(&stream(index)).await else { continue };
        acknowledged.insert(index, loaded.sequence());
        for sequence in loaded.sequence() + 1..=loaded.sequence() + events {
            let Ok(slot) = journal.reserve().await else { break };
            let (sender, receiver) = oneshot::channel();
            let append = Append { sequence, version: 1, payload: payload(index, sequence) };
            slot.append(&lease, append, move |result| sender.send(result).unwrap());
            match receiver.await.unwrap() {
                Ok(()) => acknowledged.insert(index, sequence),
                Err(error) => {
                    assert_eq!(error, AppendError::Failed);
                    break;
                }
            };
        }
        // A checkpoint or a compaction may fail too; the records are still in the log.
        let _ = journal.checkpoint().await;
        if index == 1 {
            let _ = journal.compact().await;
        }
    }
    acknowledged
}

/// One more record of the first stream, acknowledged.
async fn append(journal: &Journal) {
    let (lease, loaded) = journal.activate(&stream(0)).await.unwrap();
    let sequence = loaded.sequence() + 1;
    let (sender, receiver) = oneshot::channel();
    let append = Append { sequence, version: 1, payload: payload(0, sequence) };
    journal.reserve().await.unwrap().append(&lease, append, move |result| sender.send(result).unwrap());
    receiver.await.unwrap().unwrap();
}

/// Checks that everything acknowledged is there and unchanged.
async fn check(journal: &Journal, acknowledged: &BTreeMap<usize, u64>) {
    for (index, sequence) in acknowledged {
        let loaded = journal.read(&stream(*index)).await.unwrap();
        assert!(loaded.sequence() >= *sequence, "stream {index}: {} of {sequence}", loaded.sequence());
        for record in &loaded.records {
            assert_eq!(record.payload, payload(*index, record.sequence));
        }
    }
}

#[test]
fn no_failing_call_leads_to_a_false_acknowledgement() {
    let runtime = runtime();
    let (mut planned, mut unopened, mut read_only) = (0, 0, 0);
    loop {
        planned += 1;
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path(), Image::default());
        disk.fail(planned, io::ErrorKind::Other);
        let mut acknowledged = BTreeMap::new();
        match Journal::open(config(dir.path(), &disk)) {
            Ok(journal) => {
                acknowledged = runtime.block_on(write(&journal, 24));
                read_only += usize::from(matches!(journal.status(), Status::ReadOnly { .. }));
                // Whether the close succeeds or not, what was acknowledged must be there afterwards.
                let _ = runtime.block_on(journal.close());
            }
            Err(_) => unopened += 1,
        }
        if !disk.has_failed() {
            break;
        }
        // The disk works again, and the process is restarted.
        let again = Disk::new(dir.path(), disk.image());
        let journal =
            Journal::open(config(dir.path(), &again)).unwrap_or_else(|error| panic!("call {planned}: {error}"));
        runtime.block_on(check(&journal, &acknowledged));
        assert_eq!(journal.status(), Status::Writable);
    }
    println!("{} calls failed once each; {unopened} kept it from opening; {read_only} left it read-only", planned - 1);
    assert!(planned > 60, "only {planned} calls");
}

#[test]
fn a_failed_write_fails_the_journal_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path(), Image::default());
    let journal = Journal::open(config(dir.path(), &disk)).unwrap();
    runtime().block_on(async {
        let (lease, _) = journal.activate(&stream(0)).await.unwrap();
        let mut spare_ready = journal.watch_status();
        assert_eq!(*spare_ready.borrow_and_update(), Status::Writable);
        // Let every call fail, so that it does not matter which ones the preallocator makes.
        let waiting = journal.reserve().await.unwrap();
        let late = journal.reserve().await.unwrap();
        let (sender, receiver) = oneshot::channel();
        let (late_sender, late_receiver) = oneshot::channel();
        disk.set_broken();
        waiting.append(&lease, Append { sequence: 1, ..Append::default() }, move |result| sender.send(result).unwrap());
        assert_eq!(receiver.await.unwrap(), Err(AppendError::Failed));
        late.after_earlier(move |result| late_sender.send(result).unwrap());
        assert_eq!(late_receiver.await.unwrap(), Err(AppendError::Failed));
        assert_eq!(journal.reserve().await.unwrap_err(), Refused::Failed);
        assert!(matches!(journal.status(), Status::Failed(_)));
        assert!(journal.activate(&stream(1)).await.is_err());
        assert!(journal.checkpoint().await.is_err());
        assert!(journal.close().await.is_err());
    });
}

#[test]
fn a_full_disk_stops_writes_before_one_fails_and_they_resume() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path(), Image::default());
    disk.set_full(false);
    let journal = Journal::open(config(dir.path(), &disk)).unwrap();
    runtime().block_on(async {
        let mut status = journal.watch_status();
        let before = write(&journal, 5).await;
        disk.set_full(true);
        // The spare segment takes the writes in progress; then the next segment cannot be made.
        let mut acknowledged = before;
        while journal.status() == Status::Writable {
            let written = write(&journal, 5).await;
            acknowledged.extend(written);
        }
        assert!(matches!(journal.status(), Status::ReadOnly { .. }));
        assert_eq!(journal.reserve().await.unwrap_err(), Refused::ReadOnly);
        check(&journal, &acknowledged).await;
        let (_lease, loaded) = journal.activate(&stream(0)).await.unwrap();
        assert_eq!(loaded.sequence(), acknowledged[&0], "reads and activations go on");

        disk.set_full(false);
        status.wait_for(|status| *status == Status::Writable).await.unwrap();
        drop(_lease);
        let written = write(&journal, 5).await;
        assert_eq!(written[&0], acknowledged[&0] + 5);
        check(&journal, &written).await;
        journal.close().await.unwrap();
    });
}

#[test]
fn little_free_space_stops_writes_until_there_is_a_quarter_more() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path(), Image::default());
    let mut config = config(dir.path(), &disk);
    config.limits.disk_free_bytes_min = 1_000;
    disk.set_free_bytes(1_000);
    let journal = Journal::open(config).unwrap();
    runtime().block_on(async {
        let mut status = journal.watch_status();
        let acknowledged = write(&journal, 2).await;
        disk.set_free_bytes(999);
        status.wait_for(|status| *status == Status::ReadOnly { free_bytes: 999, needed_bytes: 1_250 }).await.unwrap();
        assert_eq!(journal.reserve().await.unwrap_err(), Refused::ReadOnly);
        check(&journal, &acknowledged).await;
        disk.set_free_bytes(1_249);
        status.wait_for(|status| *status == Status::ReadOnly { free_bytes: 1_249, needed_bytes: 1_250 }).await.unwrap();
        disk.set_free_bytes(1_250);
        status.wait_for(|status| *status == Status::Writable).await.unwrap();
        assert_eq!(write(&journal, 2).await.len(), 3);
    });
}

#[test]
fn a_checkpoint_waits_while_its_reserved_space_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path(), Image::default());
    let mut config = config(dir.path(), &disk);
    (config.limits.disk_free_bytes_min, config.limits.checkpoint_ms) = (1_000, 50);
    runtime().block_on(async {
        let mut memtable_bytes = 0;
        // A periodic checkpoint may have come first; then the next one would have nothing to write.
        while memtable_bytes == 0 {
            disk.set_free_bytes(1_250);
            let journal = Journal::open(config.clone()).unwrap();
            let mut status = journal.watch_status();
            status.wait_for(|status| *status == Status::Writable).await.unwrap();
            append(&journal).await;
            disk.set_free_bytes(0);
            status.wait_for(|status| matches!(status, Status::ReadOnly { free_bytes: 0, .. })).await.unwrap();
            // A checkpoint in progress may end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let before = journal.figures();
            memtable_bytes = before.memtable_bytes;
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(journal.figures().checkpoints, before.checkpoints);
            assert_eq!(journal.figures().memtable_bytes, memtable_bytes);
            disk.set_free_bytes(1_250);
            while journal.figures().memtable_bytes > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(journal.status(), Status::Writable);
            journal.close().await.unwrap();
        }
    });
}

/// A journal with a few segments, sealed, and without a clean end: its last checkpoint is older than its log.
fn written(dir: &Path) -> (Image, BTreeMap<usize, u64>) {
    let disk = Disk::new(dir, Image::default());
    let journal = Journal::open(config(dir, &disk)).unwrap();
    let acknowledged = runtime().block_on(async {
        let acknowledged = write(&journal, 40).await;
        let mut durable = journal.watch_durable();
        while !journal.figures().sealed {
            durable.changed().await.unwrap();
        }
        acknowledged
    });
    drop(journal);
    (disk.image(), acknowledged)
}

fn segments(image: &Image) -> Vec<std::path::PathBuf> {
    image.names.keys().filter(|name| name.starts_with("log")).cloned().collect()
}

/// Starts without the state, so that the whole log has to be read.
fn start_without_state(image: Image) -> Result<(tempfile::TempDir, Journal), OpenError> {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path(), image);
    Journal::open(config(dir.path(), &disk)).map(|journal| (dir, journal))
}

#[test]
fn a_flipped_bit_in_a_sealed_log_is_refused_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let (image, acknowledged) = written(dir.path());
    let runtime = runtime();
    let mut random = Random(5);
    let (mut refused, mut harmless) = (0, 0);
    let paths = segments(&image);
    for _ in 0..300 {
        let mut flipped = image.clone();
        let content = &mut flipped.contents[image.names[&paths[random.below(paths.len())]]];
        // Most bits are in the preallocated zeros; half of the flips hit a byte that was written.
        let written: Vec<usize> = (0..content.len()).filter(|at| content[*at] != 0).collect();
        let at = if random.percent(50) { written[random.below(written.len())] } else { random.below(content.len()) };
        content[at] ^= 1 << random.below(8);
        match start_without_state(flipped) {
            Err(OpenError::Damaged(damage)) => {
                assert!(damage.file.to_string_lossy().contains(".log"), "{damage}");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
            Ok((_dir, journal)) => {
                // The flip hit the padding, the preallocated zeros or the seal itself: nothing that was acknowledged.
                runtime.block_on(check(&journal, &acknowledged));
                harmless += 1;
            }
        }
    }
    println!("300 flipped bits: {refused} refused with file and offset, {harmless} harmless, 0 silent");
    assert!(refused > 100);
}

#[test]
fn a_start_with_missing_files_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (image, acknowledged) = written(dir.path());
    let paths = segments(&image);
    assert!(paths.len() >= 3, "{paths:?}");
    for path in &paths {
        let mut missing = image.clone();
        missing.names.remove(path);
        assert!(start_without_state(missing).is_err(), "{path:?} is missing");

        let mut truncated = image.clone();
        let content = &mut truncated.contents[image.names[path]];
        content.truncate(content.len() / 2);
        assert!(matches!(start_without_state(truncated), Err(OpenError::Damaged(_))), "{path:?} is cut short");
    }
    let mut only_manifest = image.clone();
    only_manifest.names.retain(|name, _| name == Path::new("manifest"));
    assert!(matches!(start_without_state(only_manifest), Err(OpenError::Short { .. })));

    let mut no_manifest = image.clone();
    no_manifest.names.remove(Path::new("manifest"));
    assert!(matches!(start_without_state(no_manifest), Err(OpenError::ManifestMissing(_))));

    // With its end overwritten by zeros the log is shorter than the manifest says.
    let mut emptied = image.clone();
    for path in &paths {
        let content = &mut emptied.contents[image.names[path]];
        content[4096..].fill(0);
    }
    let short = start_without_state(emptied).map(|_| ()).unwrap_err();
    assert!(matches!(short, OpenError::Short { .. }) && short.to_string().contains("log in "), "{short}");

    let (_dir, journal) = start_without_state(image).unwrap();
    runtime().block_on(check(&journal, &acknowledged));
}

#[test]
fn a_lost_or_damaged_state_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let (image, acknowledged) = written(dir.path());
    let runtime = runtime();
    let mut random = Random(11);
    for attempt in 0..30 {
        let damaged = tempfile::tempdir().unwrap();
        let state = damaged.path().join("state");
        copy_dir(&dir.path().join("state"), &state);
        match attempt % 5 {
            0 => std::fs::write(state.join("db"), vec![0xa5; 100_000]).unwrap(),
            1 => std::fs::write(state.join("conf"), b"nonsense").unwrap(),
            2 => std::fs::remove_file(state.join("db")).unwrap(),
            3 => std::fs::write(state.join("db"), b"").unwrap(),
            _ => {
                let mut bytes = std::fs::read(state.join("db")).unwrap();
                for _ in 0..200 {
                    let at = random.below(bytes.len());
                    bytes[at] ^= 0xff;
                }
                std::fs::write(state.join("db"), bytes).unwrap();
            }
        }
        std::fs::write(state.join("snap.0000.generating"), b"left by a kill").unwrap();
        let disk = Disk::new(damaged.path(), image.clone());
        let journal = Journal::open(config(damaged.path(), &disk)).unwrap_or_else(|error| panic!("{attempt}: {error}"));
        for (index, sequence) in &acknowledged {
            // Only a load may meet damage deep in sled's file. It must fail, and never return less than was
            // acknowledged.
            match runtime.block_on(journal.read(&stream(*index))) {
                Ok(loaded) => assert_eq!(loaded.sequence(), *sequence, "attempt {attempt}"),
                Err(error) => assert_eq!(attempt % 5, 4, "attempt {attempt}: {error}"),
            }
        }
    }
    let (_dir, journal) = start_without_state(image).unwrap();
    runtime.block_on(check(&journal, &acknowledged));
}

#[test]
fn real_files_behave_like_the_simulated_disk() {
    let dir = tempfile::tempdir().unwrap();
    let config = || JournalConfig { limits: small_limits(), ..JournalConfig::new(dir.path()) };
    let runtime = runtime();
    let mut acknowledged = BTreeMap::new();
    for life in 0..4 {
        let journal = Journal::open(config()).unwrap();
        runtime.block_on(check(&journal, &acknowledged));
        acknowledged = runtime.block_on(write(&journal, 30));
        if life % 2 == 0 {
            runtime.block_on(journal.close()).unwrap();
        }
    }
    assert_eq!(acknowledged[&2], 120);
    let busy = Journal::open(config()).unwrap();
    assert!(matches!(Journal::open(config()), Err(OpenError::Locked(_))));
    drop(busy);
    // A start that is refused releases the directory.
    std::fs::rename(dir.path().join("manifest"), dir.path().join("elsewhere")).unwrap();
    assert!(matches!(Journal::open(config()), Err(OpenError::ManifestMissing(_))));
    std::fs::rename(dir.path().join("elsewhere"), dir.path().join("manifest")).unwrap();
    let journal = Journal::open(config()).unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), journal.close()).await.unwrap().unwrap();
        assert_eq!(journal.reserve().await.unwrap_err(), Refused::Closed);
        journal.close().await.unwrap();
    });
}
