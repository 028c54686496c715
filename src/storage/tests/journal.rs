//! The guarantees of the journal's interface, one by one: leases, order, pages, read models, the memtable's limit.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::storage::{
    Append, AppendError, Change, Fault, Journal, JournalConfig, Lease, PageError, Position, Refused, Stream,
    VALUE_BYTES_MAX, tests::simulated_disk::small_limits,
};

fn open(dir: &tempfile::TempDir) -> Journal {
    Journal::open(JournalConfig { limits: small_limits(), ..JournalConfig::new(dir.path()) }).unwrap()
}

fn stream(name: &str) -> Stream {
    Stream::new(1, name.as_bytes())
}

async fn append(journal: &Journal, lease: &Lease, sequence: u64) -> Result<(), AppendError> {
    let slot = journal.reserve().await.unwrap();
    let (sender, receiver) = oneshot::channel();
    let append = Append { sequence, version: 1, payload: sequence.to_le_bytes().to_vec() };
    slot.append(lease, append, move |result| sender.send(result).unwrap());
    receiver.await.unwrap()
}

#[tokio::test]
async fn only_the_newest_lease_writes_and_only_the_next_sequence() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    let (first, loaded) = journal.activate(&stream("a")).await.unwrap();
    assert_eq!(loaded.sequence(), 0);
    assert_eq!(append(&journal, &first, 2).await, Err(AppendError::Conflict));
    assert_eq!(append(&journal, &first, 1).await, Ok(()));
    assert_eq!(append(&journal, &first, 1).await, Err(AppendError::Conflict));
    assert_eq!(append(&journal, &first, 2).await, Ok(()));

    let (second, loaded) = journal.activate(&stream("a")).await.unwrap();
    assert_eq!(loaded.sequence(), 2);
    assert_eq!(append(&journal, &first, 3).await, Err(AppendError::Conflict));
    // Dropping the old lease does not affect the new one.
    drop(first);
    assert_eq!(append(&journal, &second, 3).await, Ok(()));
    let (third, loaded) = journal.activate(&stream("a")).await.unwrap();
    assert_eq!(loaded.sequence(), 3);
    assert_eq!(append(&journal, &second, 4).await, Err(AppendError::Conflict));
    assert_eq!(append(&journal, &third, 4).await, Ok(()));
    assert_eq!(journal.figures().records, 4, "conflicts leave nothing in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activation_sees_everything_that_was_appended_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    let mut expected = 0;
    for _ in 0..40 {
        let (lease, loaded) = journal.activate(&stream("a")).await.unwrap();
        assert_eq!(loaded.sequence(), expected);
        for _ in 0..20 {
            expected += 1;
            let slot = journal.reserve().await.unwrap();
            // The entity is gone before these become durable.
            slot.append(&lease, Append { sequence: expected, ..Append::default() }, |result| {
                assert_eq!(result, Ok(()));
            });
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_come_in_the_order_of_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    let (lease, _) = journal.activate(&stream("a")).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (mut expected, mut sequence) = (Vec::new(), 0);
    let (done, all_done) = oneshot::channel();
    for number in 0..500_u32 {
        let slot = journal.reserve().await.unwrap();
        expected.push(number);
        let order = Arc::clone(&order);
        if number % 3 == 1 {
            slot.after_earlier(move |result| {
                assert_eq!(result, Ok(()));
                order.lock().push(number);
            });
        } else {
            sequence += 1;
            slot.append(&lease, Append { sequence, ..Append::default() }, move |_| order.lock().push(number));
        }
    }
    journal.reserve().await.unwrap().after_earlier(move |_| done.send(()).unwrap());
    all_done.await.unwrap();
    assert_eq!(*order.lock(), expected);
}

#[tokio::test]
async fn waiting_for_earlier_appends_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    for _ in 0..100 {
        let (sender, receiver) = oneshot::channel();
        journal.reserve().await.unwrap().after_earlier(move |result| sender.send(result).unwrap());
        assert_eq!(receiver.await.unwrap(), Ok(()));
    }
    let figures = journal.figures();
    assert_eq!((figures.batches, figures.bytes), (0, 0));
}

#[tokio::test]
async fn a_callback_that_panics_does_not_affect_others() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    let (lease, _) = journal.activate(&stream("a")).await.unwrap();
    let slot = journal.reserve().await.unwrap();
    slot.append(&lease, Append { sequence: 1, ..Append::default() }, |_| panic!("planned"));
    assert_eq!(append(&journal, &lease, 2).await, Ok(()));
    let free = small_limits().queue_records_max;
    for _ in 0..2 * free {
        // Its slot was released too.
        drop(journal.reserve().await.unwrap());
    }
}

#[tokio::test]
async fn records_that_are_too_large_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    let (lease, _) = journal.activate(&stream("a")).await.unwrap();
    let slot = journal.reserve().await.unwrap();
    let (sender, receiver) = oneshot::channel();
    let payload = vec![0; small_limits().record_bytes_max + 1];
    slot.append(&lease, Append { sequence: 1, payload, ..Append::default() }, move |result| {
        sender.send(result).unwrap();
    });
    assert_eq!(receiver.await.unwrap(), Err(AppendError::TooLarge));
    assert_eq!(append(&journal, &lease, 1).await, Ok(()));
}

#[tokio::test]
async fn pages_are_whole_batches_up_to_the_durable_position() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    let (lease, _) = journal.activate(&stream("a")).await.unwrap();
    for sequence in 1..=40 {
        append(&journal, &lease, sequence).await.unwrap();
    }
    let (mut from, mut seen) = (Position::BEGINNING, 0);
    while seen < 40 {
        let page = journal.page(from, 1).unwrap();
        assert!(page.next > from && page.next <= journal.durable());
        for record in &page.records {
            seen += 1;
            assert_eq!((record.sequence, &record.stream), (seen, lease.stream()));
            assert_eq!(record.payload[..], seen.to_le_bytes());
        }
        from = page.next;
    }
    assert!(journal.page(journal.durable(), 1).unwrap().records.is_empty());
    assert!(matches!(journal.page(Position(4096 + 17), 1), Err(PageError::Damaged(_))), "not the end of a batch");
    assert!(journal.page(Position(1 << 50), 1).is_err(), "beyond the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_memtable_makes_writers_wait_for_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut limits = small_limits();
    limits.memtable_bytes_max = 30_000;
    let journal = Journal::open(JournalConfig { limits, ..JournalConfig::new(dir.path()) }).unwrap();
    let highest = Arc::new(AtomicU64::new(0));
    let writers = (0..4).map(|index| {
        let (journal, highest) = (journal.clone(), Arc::clone(&highest));
        tokio::spawn(async move {
            let (lease, _) = journal.activate(&stream(&index.to_string())).await.unwrap();
            for sequence in 1..=300 {
                let slot = journal.reserve().await.unwrap();
                highest.fetch_max(journal.figures().memtable_bytes, Ordering::Relaxed);
                let append = Append { sequence, version: 1, payload: vec![7; 500] };
                slot.append(&lease, append, |result| assert_eq!(result, Ok(())));
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let queue_bytes = 64 * 600;
    assert!(highest.load(Ordering::Relaxed) < 30_000 + queue_bytes, "{highest:?}");
    assert!(journal.figures().checkpoints > 3);
    let (_, loaded) = journal.activate(&stream("3")).await.unwrap();
    assert_eq!(loaded.sequence(), 300);
}

#[tokio::test]
async fn read_models_return_to_their_pins_after_an_unclean_end() {
    let dir = tempfile::tempdir().unwrap();
    let put = |key: &str, value: &str| Change::Put(key.into(), value.into());
    {
        let journal = open(&dir);
        let read_models = journal.read_models();
        assert_eq!(read_models.position("orders"), Position::BEGINNING);
        read_models.commit("orders", Position(10), vec![put("a1", "x"), put("a2", "y"), put("b1", "z")]).unwrap();
        journal.checkpoint().await.unwrap();
        read_models.commit("orders", Position(20), vec![Change::Delete(b"a1".to_vec())]).unwrap();
        read_models.commit("sales", Position(20), vec![put("k", "never pinned")]).unwrap();
        assert_eq!(read_models.position("orders"), Position(20));
    }
    {
        let journal = open(&dir);
        let read_models = journal.read_models();
        assert_eq!(read_models.position("orders"), Position(10), "what came after the pin is applied again");
        assert_eq!(read_models.position("sales"), Position::BEGINNING);
        assert_eq!(read_models.get("sales", b"k").unwrap(), None, "a read model without a pin begins empty");
        read_models.commit("orders", Position(20), vec![Change::Delete(b"a1".to_vec())]).unwrap();
        assert_eq!(read_models.scan("orders", b"a", None, 9).unwrap(), vec![(b"a2".to_vec(), b"y".to_vec())]);
        assert_eq!(read_models.scan("orders", b"", Some(b"a2"), 9).unwrap(), vec![(b"b1".to_vec(), b"z".to_vec())]);
        assert_eq!(read_models.scan("order", b"", None, 9).unwrap(), vec![], "one name is not another's prefix");
        let too_large =
            read_models.commit("orders", Position(30), vec![Change::Put(vec![1], vec![0; VALUE_BYTES_MAX])]);
        assert!(matches!(too_large, Err(Fault::TooLarge { .. })));
        journal.close().await.unwrap();
    }
    let journal = open(&dir);
    assert_eq!(journal.read_models().position("orders"), Position(20), "a clean end pins what there is");
    journal.read_models().clear("orders").unwrap();
    drop(journal);
    let journal = open(&dir);
    assert_eq!(journal.read_models().position("orders"), Position::BEGINNING);
    assert_eq!(journal.read_models().get("orders", b"a2").unwrap(), None);
}

#[tokio::test]
async fn calls_after_the_close_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    let (lease, _) = journal.activate(&stream("a")).await.unwrap();
    let slot = journal.reserve().await.unwrap();
    assert_eq!(append(&journal, &lease, 1).await, Ok(()));
    journal.close().await.unwrap();
    assert_eq!(journal.reserve().await.unwrap_err(), Refused::Closed);
    let (sender, receiver) = oneshot::channel();
    slot.append(&lease, Append { sequence: 2, ..Append::default() }, move |result| sender.send(result).unwrap());
    assert_eq!(receiver.await.unwrap(), Err(AppendError::Failed));
    assert!(journal.activate(&stream("a")).await.is_err());
    assert!(journal.checkpoint().await.is_err());
    // The directory is unlocked although this journal still exists.
    let again = open(&dir);
    assert_eq!(again.read(&stream("a")).await.unwrap().sequence(), 1);
    assert_eq!(again.figures().memtable_bytes, 0, "the last checkpoint left nothing to read again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_state_fails_the_journal_and_blocks_no_caller() {
    let dir = tempfile::tempdir().unwrap();
    let limits = crate::storage::JournalLimits { state_change_ms_max: 100, disk_poll_ms: 5, ..small_limits() };
    let journal = Journal::open(JournalConfig { limits, ..JournalConfig::new(dir.path()) }).unwrap();
    let (lease, _) = journal.activate(&stream("a")).await.unwrap();
    assert_eq!(append(&journal, &lease, 1).await, Ok(()));
    journal.stop_the_state();
    let mut status = journal.watch_status();
    let failed = status.wait_for(|status| matches!(status, crate::storage::Status::Failed(_))).await.unwrap().clone();
    assert_eq!(failed, crate::storage::Status::Failed("the state does not answer".into()));
    assert!(journal.reserve().await.is_err(), "nothing more is taken");
    assert!(matches!(journal.close().await, Err(Fault::Failed)), "and nobody waits for it");
}

/// The workload in which sled was seen to deadlock: large snapshots that replace each other, written at once, so that
/// its file grows and shrinks while all its threads are at work. If it deadlocks, the watchdog fails the journal, and
/// with it this test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_snapshots_that_replace_each_other_do_not_stop_the_state() {
    let dir = tempfile::tempdir().unwrap();
    let limits =
        crate::storage::JournalLimits { state_change_ms_max: 20_000, ..crate::storage::JournalLimits::default() };
    let journal = Journal::open(JournalConfig { limits, ..JournalConfig::new(dir.path()) }).unwrap();
    let (lease, _) = journal.activate(&stream("a")).await.unwrap();
    for sequence in 1..=8 {
        assert_eq!(append(&journal, &lease, sequence).await, Ok(()));
        let bytes = vec![u8::try_from(sequence).unwrap(); 8 << 20].into();
        journal.offer_snapshot(&stream("a"), crate::storage::Snapshot { sequence, version: 1, bytes });
        journal.checkpoint().await.unwrap();
    }
    let loaded = journal.read(&stream("a")).await.unwrap();
    assert_eq!(loaded.snapshot.map(|snapshot| (snapshot.sequence, snapshot.bytes.len())), Some((8, 8 << 20)));
    journal.close().await.unwrap();
}
