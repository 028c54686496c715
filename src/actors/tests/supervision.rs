//! The rows of the supervision table that are about entities, their owner and the root.
//!
//! Depends on the runtime.

use super::{
    append_list::{AppendList, Command, Entry, Mishap, break_world, mend_world},
    runtime::{TestRuntime, is_busy, until},
    saga::in_one_life,
};
use crate::{
    actors::{
        directory::DirectoryLimits,
        reply::{Answer, AskError, NotDelivered},
        views::Views,
    },
    domain::ids::UserId,
};

const ONE: UserId = UserId(1);
const OTHER: UserId = UserId(2);
const BACK_OFF_MS: u64 = 1_000;

fn limits() -> DirectoryLimits {
    DirectoryLimits { back_off_ms_min: BACK_OFF_MS, back_off_ms_max: 3 * BACK_OFF_MS, ..DirectoryLimits::default() }
}

/// The identity of an incarnation.
fn incarnation(runtime: &TestRuntime, id: UserId) -> Option<ractor::ActorId> {
    runtime.directory.owner().0.live.get(&id).map(|live| live.actor.get_id())
}

fn is_closed(answer: &Answer<AppendList>) -> bool {
    matches!(answer, Err(AskError::NotDelivered(NotDelivered::Closed)))
}

async fn fail(runtime: &TestRuntime, id: UserId, mishap: Mishap) {
    let answer = runtime.add_with(id, 1_000, mishap).await;
    assert!(matches!(answer, Err(AskError::Unknown)), "{answer:?}");
    until("it is buried", async || incarnation(runtime, id).is_none()).await;
}

#[tokio::test]
async fn a_panicking_entity_ends_alone_and_returns_after_a_back_off() {
    for mishap in [Mishap::PanicInDecide, Mishap::PanicInApply] {
        let path = tempfile::tempdir().unwrap();
        let runtime = TestRuntime::open_still(path.path(), limits()).await;
        runtime.add(ONE, 1).await.unwrap();
        runtime.add(OTHER, 1).await.unwrap();
        let other = incarnation(&runtime, OTHER);
        // The back-off doubles with every failure, up to its limit.
        for back_off_ms in [BACK_OFF_MS, 2 * BACK_OFF_MS, 3 * BACK_OFF_MS, 3 * BACK_OFF_MS] {
            fail(&runtime, ONE, mishap).await;
            assert_eq!(runtime.numbers(ONE).await, [1], "readers do not notice");
            runtime.clock.advance_ms(back_off_ms - 1);
            assert!(is_busy(&runtime.add(ONE, 2).await), "too early");
            runtime.clock.advance_ms(1);
            assert!(runtime.add(ONE, 1).await.is_ok(), "it is back");
        }
        assert_eq!(incarnation(&runtime, OTHER), other, "the other one never noticed");
        // After a healthy period it starts again with the shortest back-off.
        runtime.clock.advance_ms(60_001);
        fail(&runtime, ONE, mishap).await;
        runtime.clock.advance_ms(BACK_OFF_MS);
        runtime.add(ONE, 2).await.unwrap();
        assert_eq!(runtime.numbers(ONE).await, [1, 2]);
        runtime.close().await;
    }
}

#[tokio::test]
async fn an_entity_that_always_fails_does_not_spin() {
    let path = tempfile::tempdir().unwrap();
    let runtime = TestRuntime::open_still(path.path(), limits()).await;
    let (world, entry) = (7_002, Entry { client: 0, number: 1 });
    runtime.directory.ask(&ONE, Command::AddBrittle { entry, world }).await.unwrap();
    // It ends without a snapshot, so that its event is replayed.
    fail(&runtime, ONE, Mishap::PanicInDecide).await;
    break_world(world);
    for _ in 0..10 {
        runtime.clock.advance_ms(BACK_OFF_MS);
        for _ in 0..20 {
            assert!(is_busy(&runtime.add(ONE, 2).await), "what it could not look at is surely not executed");
            until("it is buried", async || incarnation(&runtime, ONE).is_none()).await;
        }
    }
    runtime.add(OTHER, 1).await.unwrap();
    let activations = mend_world(world);
    assert!((3..=5).contains(&activations), "ten seconds with back-offs of 1, 2, 3, 3 … but {activations} activations");
    runtime.clock.advance_ms(3 * BACK_OFF_MS);
    runtime.add(ONE, 2).await.unwrap();
    assert_eq!(runtime.numbers(ONE).await, [1, 2]);
    runtime.close().await;
}

#[tokio::test]
async fn a_passivated_entity_leaves_a_snapshot_and_nobody_notices() {
    let path = tempfile::tempdir().unwrap();
    let runtime = TestRuntime::open_still(path.path(), limits()).await;
    // Each event has two hundred bytes: together they are worth a snapshot, one is not.
    for entry in 1..=6 {
        runtime.add(ONE, entry).await.unwrap();
    }
    runtime.add(OTHER, 1).await.unwrap();
    let (one, other) = (incarnation(&runtime, ONE), incarnation(&runtime, OTHER));
    runtime.directory.passivate(&ONE);
    until("it is at rest", async || runtime.directory.live_count() == 1).await;
    until("its snapshot is stored", async || {
        runtime.journal.read(&Views::<AppendList>::stream(&ONE)).await.unwrap().snapshot.is_some()
    })
    .await;
    runtime.add(ONE, 7).await.unwrap();
    assert_ne!(incarnation(&runtime, ONE), one);
    assert_eq!(incarnation(&runtime, OTHER), other);
    assert_eq!(runtime.numbers(ONE).await, [1, 2, 3, 4, 5, 6, 7]);
    runtime.directory.passivate(&OTHER);
    until("it is at rest", async || runtime.directory.live_count() == 1).await;
    assert!(runtime.journal.read(&Views::<AppendList>::stream(&OTHER)).await.unwrap().snapshot.is_none());
    runtime.close().await;
}

#[tokio::test]
async fn idle_entities_are_passivated_and_the_longest_unused_make_room() {
    let path = tempfile::tempdir().unwrap();
    let runtime = TestRuntime::open(path.path(), DirectoryLimits { live_max: 4, idle_ms_max: 0, ..limits() }).await;
    for id in 0..40 {
        runtime.add(UserId(id), 1).await.unwrap();
        assert!(runtime.directory.live_count() <= 4);
    }
    until("all are at rest", async || runtime.directory.live_count() == 0).await;
    for id in 0..40 {
        assert_eq!(runtime.numbers(UserId(id)).await, [1]);
    }
    runtime.close().await;
}

#[tokio::test]
async fn a_failed_owner_is_restarted_without_entities() {
    let path = tempfile::tempdir().unwrap();
    let runtime = TestRuntime::open_still(path.path(), limits()).await;
    for id in 0..10 {
        runtime.add(UserId(id), 1).await.unwrap();
    }
    let before = incarnation(&runtime, ONE);
    runtime.kill_owner();
    until("the root has started another owner", async || runtime.directory.live_count() == 0).await;
    for id in 0..10 {
        assert_eq!(runtime.numbers(UserId(id)).await, [1], "reads go on");
        until("it answers", async || runtime.add(UserId(id), 2).await.is_ok()).await;
        assert_eq!(runtime.numbers(UserId(id)).await, [1, 2]);
    }
    assert_ne!(incarnation(&runtime, ONE), before);
    runtime.close().await;
}

#[tokio::test]
async fn every_actor_ends_with_the_root() {
    let path = tempfile::tempdir().unwrap();
    let runtime = TestRuntime::open_still(path.path(), limits()).await;
    runtime.add(ONE, 1).await.unwrap();
    runtime.stop_root().await;
    until("every command is refused as closed", async || is_closed(&runtime.add(ONE, 2).await)).await;
    assert_eq!(runtime.numbers(ONE).await, [1], "reads go on until the journal is closed");
    runtime.journal.close().await.unwrap();
}

#[test]
fn when_the_tokio_runtime_has_ended_every_command_is_refused_as_closed() {
    let path = tempfile::tempdir().unwrap();
    let runtime = in_one_life(async {
        let runtime = TestRuntime::open_still(path.path(), limits()).await;
        runtime.add(ONE, 1).await.unwrap();
        runtime
    });
    in_one_life(async {
        for id in [ONE, OTHER] {
            let answer = runtime.add(id, 2).await;
            assert!(is_closed(&answer), "{answer:?}");
        }
    });
}
