//! sled's file cut short at many lengths: a start finds everything that was acknowledged, or says that it cannot. sled
//! itself takes the missing end for what it has cut off, and goes on with older pages.

use std::{collections::BTreeMap, fs, path::Path};

use tokio::sync::oneshot;

use crate::storage::{
    Append, Change, Journal, OpenError, Snapshot, Stream,
    tests::simulated_disk::{Disk, Image, Random, config, copy_dir},
};

const STREAMS: usize = 40;
/// The snapshot of a stream is this long, and replaced again and again, so that sled uses places in its file again.
const SNAPSHOT_BYTES: usize = 30_000;
/// sled's segments, in bytes: a page is in one of them.
const SLED_SEGMENT_BYTES: u64 = 512 * 1024;
/// A read model with a counter of each stream's records.
const COUNTS: &str = "counts";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn stream(index: usize) -> Stream {
    Stream::new(2, &[u8::try_from(index).unwrap()])
}

/// What was acknowledged: the log, and the number of records of each stream.
struct Written {
    image: Image,
    records: Vec<u64>,
}

/// Appends, replaces snapshots, makes checkpoints, and ends like a kill or with a close.
async fn live(journal: &Journal, rounds: usize, random: &mut Random, records: &mut [u64]) {
    for _ in 0..rounds {
        for _ in 0..8 {
            let index = random.below(STREAMS);
            let (lease, loaded) = journal.activate(&stream(index)).await.unwrap();
            let sequence = loaded.sequence() + 1;
            let (sender, receiver) = oneshot::channel();
            let append = Append { sequence, version: 1, payload: vec![1; 100] };
            journal.reserve().await.unwrap().append(&lease, append, move |result| sender.send(result).unwrap());
            receiver.await.unwrap().unwrap();
            let bytes = vec![u8::try_from(sequence % 251).unwrap(); SNAPSHOT_BYTES].into();
            journal.offer_snapshot(&stream(index), Snapshot { sequence, version: 1, bytes });
            records[index] = sequence;
        }
        let counts = (0..)
            .zip(records.iter())
            .map(|(index, count): (u8, _)| Change::Put(vec![index], count.to_le_bytes().to_vec()));
        journal.read_models().commit(COUNTS, journal.durable(), counts.collect()).unwrap();
        journal.checkpoint().await.unwrap();
    }
}

/// How a journal's last life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Killed,
    /// Closed, after a base has replaced the beginning of the log.
    Compacted,
}

/// Two lives of a journal; the last one is long.
fn written(dir: &Path, end: End, seed: u64) -> Written {
    let disk = Disk::new(dir, Image::default());
    let (mut random, mut records) = (Random(seed), vec![0; STREAMS]);
    for rounds in [10, 60] {
        let journal = Journal::open(config(dir, &disk)).unwrap();
        runtime().block_on(async {
            live(&journal, rounds, &mut random, &mut records).await;
            if end == End::Compacted && rounds == 60 {
                journal.compact().await.unwrap();
                live(&journal, 10, &mut random, &mut records).await;
            }
            if end != End::Killed || rounds == 10 {
                journal.close().await.unwrap();
            }
        });
    }
    Written { image: disk.image(), records }
}

/// What a start on a state of this length finds: everything, or that it cannot be made anew; the error is a loss.
fn start(dir: &Path, image: Image, records: &[u64], length: u64) -> Result<&'static str, String> {
    let cut = tempfile::tempdir().unwrap();
    let state = cut.path().join("state");
    copy_dir(&dir.join("state"), &state);
    fs::File::options().write(true).open(state.join("db")).unwrap().set_len(length).unwrap();
    let disk = Disk::new(cut.path(), image);
    let journal = match Journal::open(config(cut.path(), &disk)) {
        Ok(journal) => journal,
        Err(error @ OpenError::CannotRebuild { .. }) if error.to_string().contains("restore the directory") => {
            return Ok("refused");
        }
        Err(error) => return Err(error.to_string()),
    };
    for (index, records) in records.iter().enumerate() {
        match runtime().block_on(journal.read(&stream(index))) {
            Ok(loaded) if loaded.sequence() == *records => {}
            Ok(loaded) => return Err(format!("stream {index} has {} of {records} records", loaded.sequence())),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(if cut.path().join("state.damaged-1").exists() { "rebuilt" } else { "whole" })
}

#[test]
fn a_state_that_was_cut_short_is_made_anew_or_refused_and_never_older() {
    let (mut fates, mut wrong) = (BTreeMap::<(&str, bool), u64>::new(), Vec::new());
    for (seed, end) in (1..).zip([End::Closed, End::Killed, End::Compacted]) {
        let dir = tempfile::tempdir().unwrap();
        let Written { image, records } = written(dir.path(), end, seed);
        let whole = fs::metadata(dir.path().join("state/db")).unwrap().len();
        assert_eq!(start(dir.path(), image.clone(), &records, whole), Ok("whole"), "{end:?}");
        let mut without_base = image.clone();
        without_base.names.retain(|name, _| !name.starts_with("base"));
        let edges = (1..=whole / SLED_SEGMENT_BYTES).map(|segments| segments * SLED_SEGMENT_BYTES);
        let lengths: Vec<u64> = edges.chain([100_000, whole / 2, whole - 1]).collect();
        for length in lengths.into_iter().filter(|length| *length < whole) {
            let images = [(&image, true), (&without_base, false)];
            let tried = if end == End::Compacted { &images[..] } else { &images[..1] };
            for (image, has_base) in tried {
                match start(dir.path(), (*image).clone(), &records, length) {
                    Ok(fate) => *fates.entry((fate, *has_base)).or_default() += 1,
                    Err(what) => wrong.push(format!("{end:?}, {length} of {whole} bytes: {what}")),
                }
            }
        }
    }
    println!("{fates:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(fates[&("rebuilt", true)] > 30 && fates[&("refused", false)] > 10, "{fates:?}");
}
