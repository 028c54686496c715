//! The journal against a model: a plain map of streams to payloads, through appends, snapshots, checkpoints, read
//! models, clean and unclean ends.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::storage::{
    Append, Change, Journal, JournalConfig, Lease, Loaded, Position, Snapshot, Stream,
    tests::simulated_disk::{Random, small_limits},
};

const STREAMS: usize = 12;
const READ_MODEL: &str = "newest";

type Model = BTreeMap<usize, Vec<Vec<u8>>>;

fn stream(index: usize) -> Stream {
    // Names that are prefixes of each other, and of two kinds.
    Stream::new(u8::try_from(index % 2).unwrap(), &b"abcdefgh"[..index / 2 + 1])
}

/// The snapshot format of these tests: the number of payloads and a checksum of them all.
fn snapshot(payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = payloads.concat();
    bytes.truncate(9_000);
    bytes.extend_from_slice(&crc32c::crc32c(&payloads.concat()).to_le_bytes());
    bytes
}

fn check(loaded: &Loaded, payloads: &[Vec<u8>]) {
    let mut sequence = 0;
    if let Some(found) = &loaded.snapshot {
        sequence = found.sequence;
        assert_eq!(found.bytes, snapshot(&payloads[..usize::try_from(sequence).unwrap()]));
    }
    for record in &loaded.records {
        sequence += 1;
        assert_eq!(record.sequence, sequence);
        assert_eq!(record.payload, payloads[usize::try_from(sequence).unwrap() - 1]);
        assert_eq!(record.version, 3);
    }
    assert_eq!(sequence, payloads.len() as u64);
    assert_eq!(loaded.sequence(), sequence);
}

async fn append(journal: &Journal, lease: &Lease, sequence: u64, payload: Vec<u8>) {
    let slot = journal.reserve().await.unwrap();
    let (sender, receiver) = oneshot::channel();
    let append = Append { sequence, version: 3, payload };
    slot.append(lease, append, move |result| sender.send(result).unwrap());
    receiver.await.unwrap().unwrap();
}

fn put(stream: &Stream, sequence: u64) -> Change {
    let key = [&[stream.kind()], stream.key()].concat();
    Change::Put(key, sequence.to_le_bytes().to_vec())
}

/// The same projection, seeded from the state, for the part of the log that is gone.
fn seed(journal: &Journal) -> Position {
    journal.read_models().clear(READ_MODEL).unwrap();
    let mut changes = Vec::new();
    let mut position = Position::BEGINNING;
    for kind in 0..2 {
        let mut scan = journal.scan(kind).unwrap();
        while let Some(stream) = scan.next() {
            let stream = stream.unwrap();
            assert_eq!(stream.kind(), kind);
            changes.push(put(&stream, scan.load(&stream).unwrap().sequence()));
        }
        position = if kind == 0 { scan.position() } else { position };
    }
    journal.read_models().commit(READ_MODEL, position, changes).unwrap();
    position
}

/// A projection that keeps the newest sequence of each stream, and follows the log in pages.
fn follow(journal: &Journal, random: &mut Random) {
    loop {
        let mut position = journal.read_models().position(READ_MODEL);
        if position < journal.oldest() {
            position = seed(journal);
        }
        // Read before the page: a seal may be written at any time.
        let durable = journal.durable();
        let page = journal.page(position, 1 + random.below(20_000)).unwrap();
        if page.next == position {
            assert!(position >= durable);
            return;
        }
        assert!(page.next <= journal.durable());
        let changes = page.records.iter().map(|record| put(&record.stream, record.sequence));
        journal.read_models().commit(READ_MODEL, page.next, changes.collect()).unwrap();
    }
}

fn check_list(journal: &Journal, model: &Model) {
    let mut listed = BTreeMap::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let entries = journal.read_models().scan(READ_MODEL, &[], after.as_deref(), 5).unwrap();
        let Some((last, _)) = entries.last() else { break };
        after = Some(last.clone());
        listed.extend(entries);
    }
    let expected: BTreeMap<Vec<u8>, Vec<u8>> = model
        .iter()
        .filter(|(_, payloads)| !payloads.is_empty())
        .map(|(index, payloads)| {
            let stream = stream(*index);
            ([&[stream.kind()], stream.key()].concat(), (payloads.len() as u64).to_le_bytes().to_vec())
        })
        .collect();
    assert_eq!(listed, expected);
}

async fn live(journal: &Journal, model: &mut Model, random: &mut Random) {
    let mut leases: BTreeMap<usize, Lease> = BTreeMap::new();
    for _ in 0..150 {
        let index = random.below(STREAMS);
        let payloads = model.entry(index).or_default();
        match random.below(21) {
            20 if random.percent(20) => {
                let compacted = journal.compact().await.unwrap();
                assert!(compacted.position <= journal.durable());
            }
            0 => assert!(journal.checkpoint().await.unwrap() <= journal.durable()),
            1 => tokio::task::block_in_place(|| follow(journal, random)),
            2 => check(&journal.read(&stream(index)).await.unwrap(), payloads),
            3 => drop(leases.remove(&index)),
            // Of a recent state: the stream may have gone on since, and checkpoints may have come between.
            4..8 if !payloads.is_empty() => {
                let sequence = payloads.len() - random.below(payloads.len().min(20));
                let bytes = snapshot(&payloads[..sequence]).into();
                journal.offer_snapshot(&stream(index), Snapshot { sequence: sequence as u64, version: 9, bytes });
            }
            _ => {
                if !leases.contains_key(&index) || random.percent(5) {
                    let (lease, loaded) = journal.activate(&stream(index)).await.unwrap();
                    check(&loaded, payloads);
                    leases.insert(index, lease);
                }
                let length = [0, 10, 200, 4_084, 4_088, 4_089, 12_000][random.below(7)];
                let payload: Vec<u8> = (0..length).map(|_| random.next().to_le_bytes()[0]).collect();
                payloads.push(payload.clone());
                append(journal, &leases[&index], payloads.len() as u64, payload).await;
            }
        }
    }
}

#[test]
fn the_journal_behaves_like_a_map_of_streams() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for seed in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::new();
        let mut random = Random(seed);
        for life in 0..8 {
            let mut limits = small_limits();
            // Some lives have room for everything; in others checkpoints start by themselves, also during the start.
            limits.memtable_bytes_max = [1 << 20, 60_000][random.below(2)];
            let journal = Journal::open(JournalConfig { limits, ..JournalConfig::new(dir.path()) }).unwrap();
            runtime.block_on(async {
                for index in 0..STREAMS {
                    let payloads = model.get(&index).map_or(&[][..], Vec::as_slice);
                    check(&journal.read(&stream(index)).await.unwrap(), payloads);
                }
                live(&journal, &mut model, &mut random).await;
                tokio::task::block_in_place(|| follow(&journal, &mut random));
            });
            check_list(&journal, &model);
            if random.percent(10) {
                journal.read_models().clear(READ_MODEL).unwrap();
                assert_eq!(journal.read_models().position(READ_MODEL), Position::BEGINNING);
                assert_eq!(journal.read_models().scan(READ_MODEL, &[], None, 9).unwrap(), Vec::new());
            }
            if random.percent(50) {
                runtime.block_on(journal.close()).unwrap();
            }
            drop(journal);
            if random.percent(15) {
                std::fs::remove_dir_all(dir.path().join("state")).unwrap();
            }
            println!("seed {seed}, life {life}: {} events", model.values().map(Vec::len).sum::<usize>());
        }
    }
}
