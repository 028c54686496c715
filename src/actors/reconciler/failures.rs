//! Errors in a pass of the reconciler: a payment or an order that cannot be read is passed over, but ten in a row end
//! the pass.
//!
//! May depend on `payments` and `storage`.

use std::{fmt::Display, time::Duration};

use crate::{
    actors::task_error::TaskError,
    payments::{Answer, Unknown},
    storage::LoadError,
};

/// How long the provider may take for an answer, in milliseconds: some answers take several requests.
const ANSWER_MS_MAX: u64 = 30_000;
/// How many reads may fail one after another before a pass ends: then the provider or the storage has failed, not a
/// single payment.
const FAILURES_MAX: u32 = 10;

/// Why a pass was not finished.
pub(super) struct Stopped(pub(super) String);

impl From<Unknown> for Stopped {
    fn from(unknown: Unknown) -> Self {
        Self(unknown.problem)
    }
}

impl From<LoadError> for Stopped {
    fn from(error: LoadError) -> Self {
        Self(error.to_string())
    }
}

impl From<TaskError> for Stopped {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Closing => Self("the shop closes".into()),
            TaskError::Retry(problem) => Self(problem),
        }
    }
}

/// How many reads have failed one after another.
#[derive(Default)]
pub(super) struct Failures(u32);

impl Failures {
    /// The result of a read; after an error `None`, which counts as a difference. [`FAILURES_MAX`] errors in a row are
    /// [`Stopped`].
    pub(super) fn or_next<T, E: Into<Stopped>>(
        &mut self,
        about: &dyn Display,
        answer: Result<T, E>,
        differences: &mut u64,
    ) -> Result<Option<T>, Stopped> {
        match answer {
            Ok(answer) => {
                self.0 = 0;
                Ok(Some(answer))
            }
            Err(error) => {
                let Stopped(problem) = error.into();
                tracing::warn!(%about, problem, "this could not be reconciled; the next pass tries again");
                *differences += 1;
                self.0 += 1;
                if self.0 < FAILURES_MAX { Ok(None) } else { Err(Stopped(problem)) }
            }
        }
    }
}

/// Waits for an answer of the provider, but not for ever: a provider that hangs must not end the reconciliation.
pub(super) async fn in_time<T>(answer: Answer<'_, T>) -> Result<T, Stopped> {
    match tokio::time::timeout(Duration::from_millis(ANSWER_MS_MAX), answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Stopped("the provider did not answer in time".into())),
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use futures::FutureExt;

    use super::*;

    #[test]
    fn one_failure_is_passed_over_and_many_in_a_row_end_the_pass() {
        let (mut failures, mut differences) = (Failures::default(), 0);
        let mut read = |answer: Result<u8, Unknown>| failures.or_next(&"it", answer, &mut differences);
        let fails = || Err(Unknown::new("no"));
        for _ in 0..3 {
            for _ in 1..FAILURES_MAX {
                assert!(matches!(read(fails()), Ok(None)));
            }
            assert!(matches!(read(Ok(7)), Ok(Some(7))), "the count begins anew");
        }
        for _ in 1..FAILURES_MAX {
            assert!(matches!(read(fails()), Ok(None)));
        }
        assert!(matches!(read(fails()), Err(Stopped(problem)) if problem == "no"));
        assert_eq!(differences, u64::from(4 * (FAILURES_MAX - 1) + 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_hangs_is_not_waited_for() {
        let hangs = in_time::<()>(future::pending().boxed()).await;
        assert!(matches!(hangs, Err(Stopped(problem)) if problem.contains("in time")));
        assert!(matches!(in_time(future::ready(Ok(1)).boxed()).await, Ok(1)));
    }
}
