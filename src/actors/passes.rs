//! What the erasure and the rating counter have in common: each makes a pass over a list at start and a while after the
//! pass before.
//!
//! Depends on its neighbours.

use std::time::Duration;

use ractor::{ActorRef, Message};

use super::{
    follower::{CaughtUp, Progress},
    task_error::TaskError,
};

/// The pause between two passes, in milliseconds.
const PAUSE_MS: u64 = 60_000;
/// How many entries of a list are read at once.
pub(super) const PAGE: usize = 100;
/// How long one wait of a pass may take: for an entity, for the lists, for reviews that are being written.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(5);

/// Sends the message that makes the next pass, after a pause. Called after each pass, so that slow ones do not queue
/// up.
pub(super) fn pass_later<M: Message>(actor: &ActorRef<M>, pass: impl FnOnce() -> M + Send + 'static) {
    actor.send_after(Duration::from_millis(PAUSE_MS), pass);
}

/// Waits until the lists contain everything that is durable now.
pub(super) async fn catch_up(progress: &Progress) -> Result<(), TaskError> {
    match progress.catch_up(WAIT_MAX).await {
        CaughtUp::Yes => Ok(()),
        CaughtUp::No => Err(TaskError::retry("the lists have not caught up")),
    }
}
