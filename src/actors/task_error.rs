//! Why a step of a process manager did not finish.
//!
//! May depend on `storage`.

use super::lists::PageError;
use crate::storage::{Fault, LoadError};

/// Why a step of a process manager did not finish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TaskError {
    /// The outcome is unknown or the command could not be delivered: repeat the step after a pause.
    Retry(String),
    /// The shop is closing; the next start resumes the work.
    Closing,
}

impl TaskError {
    /// An error that says why a step has to be repeated.
    pub(super) fn retry(problem: impl std::fmt::Display) -> Self {
        Self::Retry(problem.to_string())
    }
}

impl From<Fault> for TaskError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Closed | Fault::Failed => Self::Closing,
            fault => Self::retry(fault),
        }
    }
}

impl From<LoadError> for TaskError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Fault(fault) => fault.into(),
            error => Self::retry(error),
        }
    }
}

impl From<PageError> for TaskError {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Storage(fault) => fault.into(),
            error @ PageError::InvalidCursor(_) => Self::retry(error),
        }
    }
}

/// Turns a rejection into a retry, for a command that is only refused until something else has happened.
pub(super) fn retry_if_rejected<V, R: std::error::Error>(answer: Result<V, R>) -> Result<(), TaskError> {
    answer.map(drop).map_err(TaskError::retry)
}
