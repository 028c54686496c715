//! Whole batches in places where they do not belong: of another store, of another place, and imitated ones.

use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

use crate::storage::{
    Append, Journal, JournalConfig, OpenError, Position, Stream,
    batch::{Encoder, HEADER_BYTES, Link, RECORD_HEADER_BYTES},
    limits::PAGE_BYTES,
    segment::{SEGMENT_HEADER_BYTES, file_name},
    tests::simulated_disk::{Disk, Image, SECTOR_BYTES, config, copy_dir},
};

/// Where the payload of the only record of a batch begins, in bytes from the beginning of the batch.
fn payload_at(stream: &Stream) -> usize {
    HEADER_BYTES + RECORD_HEADER_BYTES + stream.bytes().len()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn stream() -> Stream {
    Stream::new(2, b"s")
}

/// Without an empty batch at the end of the log, so that the last one can be torn.
fn unsealed(dir: &Path, disk: &Disk) -> JournalConfig {
    let mut config = config(dir, disk);
    config.limits.seal_after_ms = 3_600_000;
    config
}

/// Appends records of these payloads, a batch each, and returns where each batch begins.
async fn append(journal: &Journal, payloads: impl IntoIterator<Item = Vec<u8>>) -> Vec<Position> {
    let (lease, loaded) = journal.activate(&stream()).await.unwrap();
    let mut positions = Vec::new();
    for (sequence, payload) in (loaded.sequence() + 1..).zip(payloads) {
        positions.push(journal.durable());
        let (sender, receiver) = oneshot::channel();
        let append = Append { sequence, version: 1, payload };
        journal.reserve().await.unwrap().append(&lease, append, move |result| sender.send(result).unwrap());
        receiver.await.unwrap().unwrap();
    }
    positions
}

/// A journal of two segments of which its state has all, and then `after` more batches in its log alone.
fn written(dir: &Path, after: usize) -> Image {
    let disk = Disk::new(dir, Image::default());
    let journal = Journal::open(unsealed(dir, &disk)).unwrap();
    runtime().block_on(async {
        append(&journal, (0..10).map(|_| vec![7; 5_000])).await;
        journal.checkpoint().await.unwrap();
        append(&journal, (0..after).map(|_| vec![7; 5_000])).await;
    });
    drop(journal);
    disk.image()
}

fn segments(image: &Image) -> Vec<PathBuf> {
    image.names.keys().filter(|name| name.starts_with("log")).cloned().collect()
}

/// Starts on this image beside a copy of that state, if one is given.
fn start(image: Image, state: Option<&Path>) -> Result<(), OpenError> {
    let dir = tempfile::tempdir().unwrap();
    if let Some(state) = state {
        copy_dir(state, &dir.path().join("state"));
    }
    let disk = Disk::new(dir.path(), image);
    Journal::open(unsealed(dir.path(), &disk)).map(drop)
}

/// The batches of one segment in the place of those of another, whose header stays.
fn replaced(image: &Image, at: &Path, with: &[u8]) -> Image {
    let mut changed = image.clone();
    let content = &mut changed.contents[image.names[at]];
    let from = usize::try_from(SEGMENT_HEADER_BYTES).unwrap();
    content[from..].copy_from_slice(&with[from..]);
    changed
}

#[test]
fn a_segment_with_batches_of_another_store_or_place_is_refused_and_not_cut() {
    for (ours_after, other_after) in [(0, 0), (3, 0), (0, 3), (3, 3)] {
        let (ours, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (image, foreign) = (written(ours.path(), ours_after), written(other.path(), other_after));
        let state = ours.path().join("state");
        start(image.clone(), Some(&state)).unwrap();
        let paths = segments(&image);
        let written_one = &paths[1];
        let (first, same) = (&image.contents[image.names[&paths[0]]], &foreign.contents[foreign.names[written_one]]);
        let another = &foreign.contents[foreign.names[&paths[0]]];
        for (what, with) in [("another store's", same), ("another place's, too", another), ("our own first", first)] {
            for state in [Some(state.as_path()), None] {
                let refused = start(replaced(&image, written_one, with), state).unwrap_err();
                let said = refused.to_string();
                assert!(matches!(refused, OpenError::Damaged(_)), "{what}: {said}");
                let name = written_one.file_name().unwrap().to_string_lossy().into_owned();
                for words in [&name, "belongs to another store or another place", "restore the data directory"] {
                    assert!(said.contains(words), "{what}: {said}");
                }
            }
        }
    }
}

/// The bytes of an empty batch that another store could have written.
fn imitation(position: Position) -> Vec<u8> {
    let link = Link { number: 1_000, crc: 5, end: position };
    Encoder::new().finish(0xfeed, position, link).0[..HEADER_BYTES].to_vec()
}

#[test]
fn a_torn_batch_with_an_imitation_in_a_record_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path(), Image::default());
    let journal = Journal::open(unsealed(dir.path(), &disk)).unwrap();
    // It begins a page, so that a start looks at it once the batch is torn.
    let mut payload = vec![7; 2 * PAGE_BYTES];
    let at = PAGE_BYTES - payload_at(&stream());
    payload[at..at + HEADER_BYTES].copy_from_slice(&imitation(Position(9 << 40)));
    let positions = runtime().block_on(append(&journal, [vec![7; 10], payload]));
    drop(journal);
    let mut image = disk.image();
    let torn_at = usize::try_from(positions[1].0).unwrap();
    let content = &mut image.contents[image.names[&Path::new("log").join(file_name(0))]];
    assert_eq!(content[torn_at + PAGE_BYTES..][..HEADER_BYTES], imitation(Position(9 << 40)));
    content[torn_at..torn_at + SECTOR_BYTES].fill(0);
    let cut = Disk::new(dir.path(), image);
    let journal = Journal::open(unsealed(dir.path(), &cut)).unwrap();
    assert_eq!(runtime().block_on(journal.read(&stream())).unwrap().sequence(), 1);
}
