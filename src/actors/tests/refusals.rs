//! What a client gets when the journal is read-only, has failed, was closed, or lost the stream to another writer; and
//! while a directory closes.
//!
//! Depends on the runtime.

use tokio::task::JoinSet;

use super::{
    append_list::{AppendList, Command},
    runtime::{TestRuntime, until},
};
use crate::{
    actors::{
        directory::DirectoryLimits,
        reply::{Answer, AskError, NotDelivered},
        views::Views,
    },
    domain::ids::UserId,
    storage::Status,
};

const ALIVE: UserId = UserId(1);
const AT_REST: UserId = UserId(2);

fn not_delivered(answer: &Answer<AppendList>) -> Option<NotDelivered> {
    match answer {
        Err(AskError::NotDelivered(reason)) => Some(*reason),
        Ok(_) | Err(AskError::Rejected(_) | AskError::KeyReused | AskError::Unknown) => None,
    }
}

async fn runtime(path: &std::path::Path) -> TestRuntime {
    let runtime = TestRuntime::open(path, DirectoryLimits::default()).await;
    runtime.add(ALIVE, 1).await.unwrap();
    until("its place in the queue is back", async || runtime.journal.figures().queue_records == 0).await;
    runtime
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_executed_and_reads_go_on() {
    let path = tempfile::tempdir().unwrap();
    let runtime = runtime(path.path()).await;
    runtime.disk.set_free_bytes(1);
    until("the journal is read-only", async || matches!(runtime.journal.status(), Status::ReadOnly { .. })).await;
    for id in [ALIVE, AT_REST, ALIVE] {
        assert_eq!(not_delivered(&runtime.add(id, 2).await), Some(NotDelivered::ReadOnly), "{id:?}");
    }
    assert_eq!(runtime.numbers(ALIVE).await, [1]);
    assert!(runtime.numbers(AT_REST).await.is_empty());
    runtime.disk.set_free_bytes(u64::MAX);
    until("there is room again", async || runtime.journal.status() == Status::Writable).await;
    runtime.add(ALIVE, 2).await.unwrap();
    runtime.add(AT_REST, 2).await.unwrap();
    runtime.close().await;
}

#[tokio::test]
async fn on_a_broken_disk_the_first_command_is_unknown_and_later_ones_are_not_executed() {
    let path = tempfile::tempdir().unwrap();
    let runtime = runtime(path.path()).await;
    runtime.disk.hold();
    let asking = runtime.clone();
    let asked = tokio::spawn(async move { asking.add(ALIVE, 2).await });
    until("it is being written", async || runtime.journal.figures().queue_records == 1).await;
    runtime.disk.break_down();
    assert!(matches!(asked.await.unwrap(), Err(AskError::Unknown)), "its write failed");
    until("the journal has failed", async || matches!(runtime.journal.status(), Status::Failed(_))).await;
    for id in [AT_REST, AT_REST, UserId(3)] {
        assert_eq!(not_delivered(&runtime.add(id, 2).await), Some(NotDelivered::Closed), "{id:?}");
    }
    let after = runtime.add(ALIVE, 3).await;
    assert!(not_delivered(&after).is_some(), "the entity knows that it is ahead of the disk: {after:?}");
    assert_eq!(runtime.numbers(ALIVE).await, [1], "readers see what is durable");
}

#[tokio::test]
async fn when_the_journal_is_closed_nothing_is_executed() {
    let path = tempfile::tempdir().unwrap();
    let runtime = runtime(path.path()).await;
    runtime.journal.close().await.unwrap();
    for id in [ALIVE, AT_REST, ALIVE, AT_REST] {
        assert_eq!(not_delivered(&runtime.add(id, 2).await), Some(NotDelivered::Closed), "{id:?}");
    }
}

/// An answer that changes nothing depends on earlier events, also if the journal has refused those.
#[tokio::test]
async fn no_answer_shows_an_event_that_another_writer_prevented() {
    let path = tempfile::tempdir().unwrap();
    let runtime = runtime(path.path()).await;
    runtime.disk.hold();
    let (other, first, again, refuse) = (runtime.clone(), runtime.clone(), runtime.clone(), runtime.clone());
    let other = tokio::spawn(async move { other.add(AT_REST, 1).await });
    until("the disk is busy", async || runtime.journal.figures().queue_records == 1).await;
    // Another activation takes the stream while the entity is alive; its next event will be refused.
    let journal = runtime.journal.clone();
    let thief = tokio::spawn(async move { journal.activate(&Views::<AppendList>::stream(&ALIVE)).await });
    tokio::task::yield_now().await;
    let first = tokio::spawn(async move { first.add(ALIVE, 2).await });
    let again = tokio::spawn(async move { again.add(ALIVE, 2).await });
    let refuse = tokio::spawn(async move { refuse.directory.ask(&ALIVE, Command::Refuse).await });
    // The answers are there before the disk has done anything.
    for answer in [first.await.unwrap(), again.await.unwrap(), refuse.await.unwrap()] {
        assert!(matches!(answer, Err(AskError::Unknown)), "{answer:?}");
    }
    runtime.disk.let_go();
    other.await.unwrap().unwrap();
    let (_lease, loaded) = thief.await.unwrap().unwrap();
    assert_eq!(loaded.sequence(), 1);
    assert_eq!(runtime.numbers(ALIVE).await, [1]);
    until("its next incarnation takes the stream back", async || runtime.add(ALIVE, 3).await.is_ok()).await;
    assert_eq!(runtime.numbers(ALIVE).await, [1, 3]);
    runtime.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commands_during_the_close_of_a_directory_are_answered_or_refused() {
    let (mut answered, mut refused) = (0, 0);
    for round in 0..20 {
        let path = tempfile::tempdir().unwrap();
        let runtime = runtime(path.path()).await;
        let mut clients = JoinSet::new();
        for client in 0..8 {
            let runtime = runtime.clone();
            clients.spawn(async move {
                let mut accepted = 0;
                for number in 0.. {
                    match runtime.add(UserId(u128::from(client % 5)), 100 * (client + 1) + number).await {
                        Ok(_) => accepted += 1,
                        Err(AskError::NotDelivered(NotDelivered::Closed)) => return accepted,
                        other => panic!("surely executed or surely not, but {other:?}"),
                    }
                }
                accepted
            });
        }
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        runtime.directory.close().await;
        while let Some(accepted) = clients.join_next().await {
            answered += accepted.unwrap();
            refused += 1;
        }
        let mut stored = 0;
        for id in 0..5 {
            stored += runtime.numbers(UserId(id)).await.len();
        }
        answered += 1;
        assert_eq!(stored, answered, "what was acknowledged is there and nothing else");
        answered = 0;
        assert_eq!(runtime.directory.live_count(), 0);
        runtime.close().await;
    }
    assert!(refused > 0);
}
