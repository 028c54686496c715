//! Views under stress: many readers of few entities that are passivated, fail and are checkpointed all the time, with a
//! cache that holds almost nothing. A read finds at least what was acknowledged, or read, before it began.
//!
//! Depends on the runtime.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::task::JoinSet;

use super::{
    append_list::{CLONE_SPINS, Command, Entry, Mishap, break_world, mend_world},
    runtime::{TestRuntime, is_busy, seeds, until},
};
use crate::{actors::directory::DirectoryLimits, domain::ids::UserId};

const IDS: usize = 3;
const READERS: usize = 8;
const COMMANDS: u32 = 60;

struct Floors([AtomicU64; IDS]);

impl Floors {
    /// Reads, and compares the answer with what was known before.
    async fn read(&self, runtime: &TestRuntime, id: usize) {
        let shop = self.0[id].load(Ordering::SeqCst);
        let versioned = runtime.read(UserId(id as u128)).await;
        assert_eq!(versioned.sequence, versioned.view.0.len() as u64);
        assert!(versioned.sequence >= shop, "id {id}: read {} after {shop}", versioned.sequence);
        self.0[id].fetch_max(versioned.sequence, Ordering::SeqCst);
    }
}

async fn stress(seed: u64) -> u64 {
    let path = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(seed);
    let limits = DirectoryLimits {
        live_max: random.usize(1..4),
        views_bytes_max: *random.choice([0, 700, 1 << 20].iter()).unwrap(),
        back_off_ms_min: 0,
        back_off_ms_max: 0,
        ..DirectoryLimits::default()
    };
    let runtime = TestRuntime::open(path.path(), limits).await;
    let floors = Arc::new(Floors([const { AtomicU64::new(0) }; IDS]));
    let (ended, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut others = JoinSet::new();
    for reader in 0..READERS {
        let (runtime, floors, mut random) = (runtime.clone(), Arc::clone(&floors), random.fork());
        let (ended, reads) = (Arc::clone(&ended), Arc::clone(&reads));
        others.spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                let id = random.usize(0..IDS);
                floors.read(&runtime, id).await;
                reads.fetch_add(1, Ordering::Relaxed);
                if reader == 0 {
                    runtime.directory.passivate(&UserId(id as u128));
                }
                tokio::task::yield_now().await;
            }
        });
    }
    let (checkpointing, checkpoints_end) = (runtime.journal.clone(), Arc::clone(&ended));
    others.spawn(async move {
        while !checkpoints_end.load(Ordering::Relaxed) {
            checkpointing.checkpoint().await.unwrap();
        }
    });
    let mut writers = JoinSet::new();
    for id in 0..IDS {
        let (runtime, floors, mut random) = (runtime.clone(), Arc::clone(&floors), random.fork());
        writers.spawn(async move {
            for number in 0..COMMANDS {
                let mishap = if random.u8(0..15) == 0 { Mishap::PanicInApply } else { Mishap::None };
                let answer = runtime.add_with(UserId(id as u128), number, mishap).await;
                if let Ok(accepted) = answer {
                    floors.0[id].fetch_max(accepted.view.0.len() as u64, Ordering::SeqCst);
                    floors.read(&runtime, id).await;
                }
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    ended.store(true, Ordering::Relaxed);
    while let Some(other) = others.join_next().await {
        other.unwrap();
    }
    for id in 0..IDS {
        floors.read(&runtime, id).await;
    }
    runtime.close().await;
    reads.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_read_is_older_than_what_was_acknowledged_or_read_before() {
    let mut reads = 0;
    for seed in seeds(12) {
        // Slow clones hold the lock of a cell, so that a reader would overtake a reply that left before its view was
        // published.
        CLONE_SPINS.store([0, 2_000][usize::from(seed % 2 == 1)], Ordering::Relaxed);
        reads += stress(seed).await;
    }
    CLONE_SPINS.store(0, Ordering::Relaxed);
    println!("{reads} reads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_began_before_a_change_is_not_cached_after_it() {
    let path = tempfile::tempdir().unwrap();
    let runtime = TestRuntime::open(path.path(), DirectoryLimits::default()).await;
    let id = UserId(1);
    runtime.add(id, 1).await.unwrap();
    runtime.directory.passivate(&id);
    until("the entity is gone", async || runtime.directory.live_count() == 0).await;
    let views = Arc::clone(&runtime.directory.owner().0.views);
    // The cell of an entity that ended with an event in progress publishes late, while a reader is loading.
    let cell = views.cell(id);
    cell.publish(1, runtime.read(id).await.view);
    cell.retire();
    let stale = views.at_rest(&id, |_| {}).await.unwrap();
    assert_eq!(stale.sequence, 1);
    runtime.add(id, 2).await.unwrap();
    let newest = runtime.read(id).await;
    cell.publish(2, newest.view);
    assert_eq!(views.at_rest(&id, |_| {}).await.unwrap().sequence, 2, "the cache has forgotten what was older");
    runtime.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loaded_view_reaches_the_live_cell_before_other_readers() {
    let path = tempfile::tempdir().unwrap();
    let runtime = TestRuntime::open(path.path(), DirectoryLimits::default()).await;
    let (id, views) = (UserId(1), Arc::clone(&runtime.directory.owner().0.views));
    let mut found_before = Some(u64::MAX);
    views.at_rest(&id, |_| found_before = views.cached(&id)).await.unwrap();
    assert_eq!((found_before, views.cached(&id)), (None, Some(0)));
    runtime.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_survives_an_entity_that_cannot_be_replayed() {
    let path = tempfile::tempdir().unwrap();
    let runtime =
        TestRuntime::open(path.path(), DirectoryLimits { views_bytes_max: 0, ..DirectoryLimits::default() }).await;
    let (id, world) = (UserId(1), 7_001);
    let entry = Entry { client: 0, number: 1 };
    runtime.directory.ask(&id, Command::AddBrittle { entry, world }).await.unwrap();
    // It ends without a snapshot, so that its event is replayed.
    assert!(runtime.add_with(id, 2, Mishap::PanicInDecide).await.is_err());
    until("the entity is gone", async || runtime.directory.live_count() == 0).await;
    break_world(world);
    assert!(runtime.directory.read(&id).await.is_err(), "an error, not a panic");
    mend_world(world);
    assert_eq!(runtime.numbers(id).await, [1]);
    runtime.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_are_notified_and_leave_nothing_behind() {
    let path = tempfile::tempdir().unwrap();
    let runtime = TestRuntime::open(path.path(), DirectoryLimits::default()).await;
    let id = UserId(1);
    let mut subscription = runtime.directory.subscribe(&id);
    let answer = runtime.add(id, 1).await;
    assert!(!is_busy(&answer));
    subscription.changed().await.unwrap();
    assert_eq!(runtime.numbers(id).await, [1]);
    let views = Arc::clone(&runtime.directory.owner().0.views);
    for _ in 0..2_000 {
        let (one, other) = (runtime.directory.subscribe(&id), runtime.directory.subscribe(&id));
        let dropped = tokio::task::spawn(async move { drop(one) });
        drop(other);
        dropped.await.unwrap();
    }
    assert_eq!(views.subscribed_count(), 1, "only the first subscription is left");
    drop(subscription);
    assert_eq!(views.subscribed_count(), 0);
    let mut open = runtime.directory.subscribe(&id);
    let ended = tokio::task::spawn(async move { open.changed().await });
    runtime.close().await;
    assert!(ended.await.unwrap().is_err(), "a subscription ends with the directory");
    assert!(runtime.directory.subscribe(&id).changed().await.is_err(), "a later one has ended at once");
    assert_eq!(views.subscribed_count(), 0);
}
