//! The rows of the supervision table that are about entities, their owner and the root.
//!
//! Depends on the runtime.

use super::{
    stage::{Stage, is_busy, until},
    tally::{Command, Entry, Mishap, Tally, break_world, mend_world},
};
use crate::{
    actors::{directory::DirectoryLimits, entity_actor::AskError, views::Views},
    domain::ids::UserId,
};

const ONE: UserId = UserId(1);
const OTHER: UserId = UserId(2);
const BACK_OFF_MS: u64 = 1_000;

fn limits() -> DirectoryLimits {
    DirectoryLimits { back_off_ms_min: BACK_OFF_MS, back_off_ms_max: 3 * BACK_OFF_MS, ..DirectoryLimits::default() }
}

/// The identity of an incarnation.
fn incarnation(stage: &Stage, id: UserId) -> Option<ractor::ActorId> {
    stage.directory.owner().0.live.get(&id).map(|live| live.actor.get_id())
}

async fn fail(stage: &Stage, id: UserId, mishap: Mishap) {
    let answer = stage.add_with(id, 1_000, mishap).await;
    assert!(matches!(answer, Err(AskError::Unknown)), "{answer:?}");
    until("it is buried", async || incarnation(stage, id).is_none()).await;
}

#[tokio::test]
async fn a_panicking_entity_takes_nobody_with_it_and_comes_back_after_a_back_off() {
    for mishap in [Mishap::PanicInDecide, Mishap::PanicInApply] {
        let path = tempfile::tempdir().unwrap();
        let stage = Stage::open_still(path.path(), limits()).await;
        stage.add(ONE, 1).await.unwrap();
        stage.add(OTHER, 1).await.unwrap();
        let other = incarnation(&stage, OTHER);
        // It doubles with every failure up to its limit.
        for back_off_ms in [BACK_OFF_MS, 2 * BACK_OFF_MS, 3 * BACK_OFF_MS, 3 * BACK_OFF_MS] {
            fail(&stage, ONE, mishap).await;
            assert_eq!(stage.numbers(ONE).await, [1], "readers do not notice");
            stage.clock.advance_ms(back_off_ms - 1);
            assert!(is_busy(&stage.add(ONE, 2).await), "too early");
            stage.clock.advance_ms(1);
            assert!(stage.add(ONE, 1).await.is_ok(), "it is back");
        }
        assert_eq!(incarnation(&stage, OTHER), other, "the other one never noticed");
        // After a healthy while it begins again with the shortest back-off.
        stage.clock.advance_ms(60_001);
        fail(&stage, ONE, mishap).await;
        stage.clock.advance_ms(BACK_OFF_MS);
        stage.add(ONE, 2).await.unwrap();
        assert_eq!(stage.numbers(ONE).await, [1, 2]);
        stage.close().await;
    }
}

#[tokio::test]
async fn a_poisoned_entity_cannot_spin() {
    let path = tempfile::tempdir().unwrap();
    let stage = Stage::open_still(path.path(), limits()).await;
    let (world, entry) = (7_002, Entry { asker: 0, number: 1 });
    stage.directory.ask(&ONE, Command::AddBrittle { entry, world }).await.unwrap();
    // It ends without a snapshot, so that its event is replayed.
    fail(&stage, ONE, Mishap::PanicInDecide).await;
    break_world(world);
    for _ in 0..10 {
        stage.clock.advance_ms(BACK_OFF_MS);
        for _ in 0..20 {
            assert!(is_busy(&stage.add(ONE, 2).await), "what it could not look at is surely not executed");
            until("it is buried", async || incarnation(&stage, ONE).is_none()).await;
        }
    }
    stage.add(OTHER, 1).await.unwrap();
    let activations = mend_world(world);
    assert!((3..=5).contains(&activations), "ten seconds with back-offs of 1, 2, 3, 3 … but {activations} activations");
    stage.clock.advance_ms(3 * BACK_OFF_MS);
    stage.add(ONE, 2).await.unwrap();
    assert_eq!(stage.numbers(ONE).await, [1, 2]);
    stage.close().await;
}

#[tokio::test]
async fn a_passivated_entity_leaves_a_snapshot_and_nobody_notices() {
    let path = tempfile::tempdir().unwrap();
    let stage = Stage::open_still(path.path(), limits()).await;
    // Each has two hundred bytes: together they are worth a snapshot, one is not.
    for entry in 1..=6 {
        stage.add(ONE, entry).await.unwrap();
    }
    stage.add(OTHER, 1).await.unwrap();
    let (one, other) = (incarnation(&stage, ONE), incarnation(&stage, OTHER));
    stage.directory.passivate(&ONE);
    until("it is at rest", async || stage.directory.live_count() == 1).await;
    until("its snapshot is stored", async || {
        stage.journal.read(&Views::<Tally>::stream(&ONE)).await.unwrap().snapshot.is_some()
    })
    .await;
    stage.add(ONE, 7).await.unwrap();
    assert_ne!(incarnation(&stage, ONE), one);
    assert_eq!(incarnation(&stage, OTHER), other);
    assert_eq!(stage.numbers(ONE).await, [1, 2, 3, 4, 5, 6, 7]);
    stage.directory.passivate(&OTHER);
    until("it is at rest", async || stage.directory.live_count() == 1).await;
    assert!(stage.journal.read(&Views::<Tally>::stream(&OTHER)).await.unwrap().snapshot.is_none());
    stage.close().await;
}

#[tokio::test]
async fn idle_entities_are_passivated_and_the_longest_unused_make_room() {
    let path = tempfile::tempdir().unwrap();
    let stage = Stage::open(path.path(), DirectoryLimits { live_max: 4, idle_ms_max: 0, ..limits() }).await;
    for id in 0..40 {
        stage.add(UserId(id), 1).await.unwrap();
        assert!(stage.directory.live_count() <= 4);
    }
    until("all are at rest", async || stage.directory.live_count() == 0).await;
    for id in 0..40 {
        assert_eq!(stage.numbers(UserId(id)).await, [1]);
    }
    stage.close().await;
}

#[tokio::test]
async fn an_owner_that_fails_is_started_again_with_nobody_alive() {
    let path = tempfile::tempdir().unwrap();
    let stage = Stage::open_still(path.path(), limits()).await;
    for id in 0..10 {
        stage.add(UserId(id), 1).await.unwrap();
    }
    let before = incarnation(&stage, ONE);
    stage.kill_owner();
    until("the root has started another owner", async || stage.directory.live_count() == 0).await;
    for id in 0..10 {
        assert_eq!(stage.numbers(UserId(id)).await, [1], "reads go on");
        until("it answers", async || stage.add(UserId(id), 2).await.is_ok()).await;
        assert_eq!(stage.numbers(UserId(id)).await, [1, 2]);
    }
    assert_ne!(incarnation(&stage, ONE), before);
    stage.close().await;
}

#[tokio::test]
async fn with_the_root_everything_ends() {
    let path = tempfile::tempdir().unwrap();
    let stage = Stage::open_still(path.path(), limits()).await;
    stage.add(ONE, 1).await.unwrap();
    stage.stop_root().await;
    until("nothing is executed any more", async || stage.add(ONE, 2).await.is_err()).await;
    assert_eq!(stage.numbers(ONE).await, [1], "reads go on until the journal is closed");
    stage.journal.close().await.unwrap();
}
