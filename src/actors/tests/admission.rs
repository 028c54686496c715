//! How many commands may wait for one entity, and that every permit is returned.
//!
//! The disk is held, so that nothing is acknowledged until the test releases it.
//!
//! Depends on the runtime.

use tokio::task::JoinHandle;

use super::{
    append_list::{AppendList, Command, Entry, Mishap},
    disk::Disk,
    runtime::{TestRuntime, is_busy, open_journal, small_journal, until},
};
use crate::{
    actors::{
        directory::DirectoryLimits,
        envelope::{Envelope, ReplyWhen},
        reply::{Answer, AskError},
    },
    clock::Clock,
    domain::ids::UserId,
};

const ID: UserId = UserId(1);
const MAILBOX_MAX: u32 = 4;

async fn runtime(path: &std::path::Path) -> TestRuntime {
    let runtime =
        TestRuntime::open_still(path, DirectoryLimits { mailbox_max: MAILBOX_MAX, ..DirectoryLimits::default() }).await;
    runtime.add(ID, 0).await.unwrap();
    until("its place in the queue is back", async || runtime.journal.figures().queue_records == 0).await;
    until_waiting(&runtime, 0).await;
    runtime
}

fn asks(runtime: &TestRuntime, numbers: std::ops::RangeInclusive<u32>) -> Vec<JoinHandle<Answer<AppendList>>> {
    let ask = |number| {
        let runtime = runtime.clone();
        tokio::spawn(async move { runtime.add(ID, number).await })
    };
    numbers.map(ask).collect()
}

async fn until_waiting(runtime: &TestRuntime, wanted: u32) {
    until("the messages have their places", async || runtime.waiting(ID) == Some(wanted)).await;
}

#[tokio::test]
async fn a_full_mailbox_is_busy_and_every_permit_is_returned() {
    let path = tempfile::tempdir().unwrap();
    let runtime = runtime(path.path()).await;
    runtime.disk.hold();
    let asked = asks(&runtime, 1..=MAILBOX_MAX);
    until_waiting(&runtime, MAILBOX_MAX).await;
    assert!(is_busy(&runtime.add(ID, 99).await), "one more than there is room for");
    runtime.disk.let_go();
    for ask in asked {
        ask.await.unwrap().unwrap();
    }
    until_waiting(&runtime, 0).await;
    assert_eq!(runtime.numbers(ID).await, [0, 1, 2, 3, 4], "the one that was refused is not there");
    runtime.close().await;
}

#[tokio::test]
async fn permits_of_callers_that_gave_up_are_returned() {
    let path = tempfile::tempdir().unwrap();
    let runtime = runtime(path.path()).await;
    for round in 0..10 {
        runtime.disk.hold();
        let first = round * MAILBOX_MAX + 1;
        let asked = asks(&runtime, first..=first + MAILBOX_MAX - 1);
        until_waiting(&runtime, MAILBOX_MAX).await;
        asked.iter().for_each(JoinHandle::abort);
        runtime.disk.let_go();
        until_waiting(&runtime, 0).await;
    }
    until("no place in the queue is taken", async || runtime.journal.figures().queue_records == 0).await;
    runtime.add(ID, 1_000).await.unwrap();
    runtime.close().await;
}

#[tokio::test]
async fn permits_are_returned_by_an_entity_that_panics() {
    let path = tempfile::tempdir().unwrap();
    let runtime = runtime(path.path()).await;
    for _ in 0..3 {
        let answers = futures::future::join_all([
            runtime.add_with(ID, 1, Mishap::PanicInDecide),
            runtime.add_with(ID, 2, Mishap::PanicInApply),
            runtime.add_with(ID, 3, Mishap::None),
        ]);
        for answer in answers.await {
            assert!(matches!(answer, Err(AskError::Unknown)) || is_busy(&answer), "{answer:?}");
        }
        runtime.clock.advance_ms(100_000);
        until("it is alive again", async || runtime.add(ID, 0).await.is_ok()).await;
        until_waiting(&runtime, 0).await;
    }
    until("no place in the queue is taken", async || runtime.journal.figures().queue_records == 0).await;
    assert_eq!(runtime.numbers(ID).await, [0], "what panicked left nothing behind, nor what came after it");
    runtime.close().await;
}

/// Sends twelve commands at once; as many as fit into a mailbox are kept, and the others are refused.
async fn a_mailbox_keeps_its_limit_of_twelve_commands(runtime: &TestRuntime) {
    let asked = asks(runtime, 11..=10 + 3 * MAILBOX_MAX);
    let refused = || asked.iter().filter(|ask| ask.is_finished()).count();
    until("those without a place are refused", async || refused() >= 2 * MAILBOX_MAX as usize).await;
    runtime.disk.let_go();
    let mut accepted = 0;
    for ask in asked {
        let answer = ask.await.unwrap();
        assert!(answer.is_ok() || is_busy(&answer), "{answer:?}");
        accepted += u32::from(answer.is_ok());
    }
    assert_eq!(accepted, MAILBOX_MAX);
}

#[tokio::test]
async fn commands_that_wait_for_an_activation_are_bounded() {
    let path = tempfile::tempdir().unwrap();
    let runtime = runtime(path.path()).await;
    runtime.directory.passivate(&ID);
    until("it is gone", async || runtime.waiting(ID).is_none()).await;
    // With the disk held its activation cannot end, because another entity's event is queued before it.
    runtime.disk.hold();
    let other = runtime.clone();
    let before = tokio::spawn(async move { other.add(UserId(2), 1).await });
    until("the other event is queued", async || runtime.journal.figures().queue_records > 0).await;
    a_mailbox_keeps_its_limit_of_twelve_commands(&runtime).await;
    before.await.unwrap().unwrap();
    runtime.close().await;
}

#[tokio::test]
async fn commands_that_wait_for_the_next_incarnation_are_bounded() {
    let path = tempfile::tempdir().unwrap();
    let disk = Disk::new();
    let mut config = small_journal(path.path(), &disk);
    config.limits.queue_records_max = 2;
    let journal = open_journal(config).await;
    let limits = DirectoryLimits { mailbox_max: MAILBOX_MAX, ..DirectoryLimits::default() };
    let runtime = TestRuntime::on(journal, disk, limits, Clock::system()).await;
    runtime.add(ID, 0).await.unwrap();
    until_waiting(&runtime, 0).await;
    // The third message waits for a slot in the queue, so the entity cannot end.
    runtime.disk.hold();
    let before = asks(&runtime, 1..=MAILBOX_MAX);
    until_waiting(&runtime, MAILBOX_MAX).await;
    runtime.directory.passivate(&ID);
    until("it is leaving", async || runtime.waiting(ID).is_none()).await;
    a_mailbox_keeps_its_limit_of_twelve_commands(&runtime).await;
    for ask in before {
        ask.await.unwrap().unwrap();
    }
    runtime.close().await;
}

#[tokio::test]
async fn only_a_caller_that_asks_ahead_is_answered_before_the_disk() {
    let path = tempfile::tempdir().unwrap();
    let runtime = runtime(path.path()).await;
    runtime.disk.hold();
    let add = |number| Command::Add { entry: Entry { client: 0, number }, mishap: Mishap::None };
    for number in [1, 2, 1] {
        runtime.directory.ask_ahead(&ID, add(number)).await.unwrap();
    }
    assert_eq!(runtime.numbers(ID).await, [0], "readers see what is durable");
    let (refused, barrier) = (runtime.clone(), runtime.journal.clone());
    let refused = tokio::spawn(async move { refused.directory.ask_ahead(&ID, Command::Refuse).await });
    let barrier = tokio::spawn(async move { barrier.barrier().await });
    until("the refusal is decided", async || runtime.waiting(ID) == Some(4)).await;
    assert!(!refused.is_finished() && !barrier.is_finished(), "a refusal may leave the shop, so it waits");
    runtime.disk.let_go();
    barrier.await.unwrap().unwrap();
    assert_eq!(runtime.numbers(ID).await, [0, 1, 2]);
    assert!(matches!(refused.await.unwrap(), Err(AskError::Rejected(rejection)) if rejection.length == 3));
    runtime.close().await;
}

#[tokio::test]
async fn a_command_without_a_caller_is_not_executed() {
    let path = tempfile::tempdir().unwrap();
    let runtime = runtime(path.path()).await;
    // The receiver is gone before the entity gets the message.
    let (reply, _) = tokio::sync::oneshot::channel();
    let entry = Entry { client: 0, number: 5 };
    let command = Some(Command::Add { entry, mishap: Mishap::None });
    let envelope = Envelope { command, request: None, reply, reply_when: ReplyWhen::Durable };
    assert!(runtime.directory.owner().0.live.get(&ID).unwrap().push(envelope).is_ok());
    runtime.add(ID, 6).await.unwrap();
    assert_eq!(runtime.numbers(ID).await, [0, 6]);
    runtime.close().await;
}
