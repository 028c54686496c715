//! What a pass over many payments does about one that cannot be read or asked about: it goes on, unless all fail.
//!
//! May depend on `payments` and `storage`.

use std::{fmt::Display, time::Duration};

use super::task_error::TaskError;
use crate::{
    payments::{Answer, Unknown},
    storage::LoadError,
};

/// How long the provider may take for an answer, in milliseconds: some take several requests.
const ANSWER_MS_MAX: u64 = 30_000;
/// How many questions may fail one after another before a pass ends: then it is not what was asked about, but the
/// provider or the storage.
const FAILURES_MAX: u32 = 10;

/// Why a pass stops.
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

/// The questions that have failed one after another.
#[derive(Default)]
pub(super) struct Failures(u32);

impl Failures {
    /// The answer to a question about one payment or order; `None`, and one difference more, where there is none.
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

/// The provider's answer, within a time: a provider that hangs must not end reconciliation.
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
        let mut ask = |answer: Result<u8, Unknown>| failures.or_next(&"it", answer, &mut differences);
        let fails = || Err(Unknown::new("no"));
        for _ in 0..3 {
            for _ in 1..FAILURES_MAX {
                assert!(matches!(ask(fails()), Ok(None)));
            }
            assert!(matches!(ask(Ok(7)), Ok(Some(7))), "it begins anew");
        }
        for _ in 1..FAILURES_MAX {
            assert!(matches!(ask(fails()), Ok(None)));
        }
        assert!(matches!(ask(fails()), Err(Stopped(problem)) if problem == "no"));
        assert_eq!(differences, u64::from(4 * (FAILURES_MAX - 1) + 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_hangs_has_not_answered() {
        let hangs = in_time::<()>(future::pending().boxed()).await;
        assert!(matches!(hangs, Err(Stopped(problem)) if problem.contains("in time")));
        assert!(matches!(in_time(future::ready(Ok(1)).boxed()).await, Ok(1)));
    }
}
