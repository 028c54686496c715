//! Why an order refuses a command.
//!
//! Depends on `serde`, `thiserror` and its neighbours.

use serde::{Deserialize, Serialize};

use super::{ATTEMPTS_MAX, REFUNDS_MAX, RETURNS_MAX, Status, Text};
use crate::domain::{idempotency::KeyReused, money::Money};

/// Why a command to an order was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// There is no such order.
    #[error("there is no such order")]
    NotFound,
    /// The key was used with another body.
    #[error("the idempotency key was used with another request")]
    KeyReused,
    /// The order cannot do that where it stands.
    #[error("the order is {}", status.as_str())]
    WrongStatus {
        /// Where it stands.
        status: Status,
    },
    /// A payment is under way, and its outcome comes first.
    #[error("payment attempt {attempt} is still pending")]
    PaymentInProgress {
        /// The attempt.
        attempt: u32,
    },
    /// It is paid already, by another request.
    #[error("the order is already paid")]
    AlreadyPaid,
    /// It was not paid in time.
    #[error("the order's deadline has passed")]
    DeadlinePassed,
    /// [`ATTEMPTS_MAX`] is reached.
    #[error("at most {ATTEMPTS_MAX} payment attempts")]
    TooManyAttempts,
    /// The provider speaks of another amount than the order.
    #[error("the provider captured {captured}, the order is over {total}")]
    AmountMismatch {
        /// What the provider says.
        captured: Money,
        /// What the order says.
        total: Money,
    },
    /// Nothing that was asked for is left to refund.
    #[error("nothing of it is left to refund")]
    NothingToRefund,
    /// More was asked for than is left.
    #[error("only {left} of it are left")]
    MoreThanLeft {
        /// Units.
        left: u32,
    },
    /// All of its money was refunded at the provider's own site.
    #[error("its money was given back at the provider: cancel the order instead")]
    RefundedElsewhere,
    /// A refund of everything before it is sent is a cancellation.
    #[error("nothing would be left to send: cancel the order instead")]
    CancelInstead,
    /// One refund at a time.
    #[error("a refund is under way")]
    RefundInProgress,
    /// [`REFUNDS_MAX`] or [`RETURNS_MAX`] is reached.
    #[error("at most {REFUNDS_MAX} refunds and {RETURNS_MAX} returns")]
    TooManyRefunds,
    /// There is no such return.
    #[error("there is no such return")]
    NoSuchReturn,
    /// None of its issues is one that this settles.
    #[error("no issue of the order is settled by this")]
    NothingToResolve,
    /// The return is received or rejected already.
    #[error("the return is decided already")]
    ReturnDecided,
    /// A text is empty or too long.
    #[error("{field} must be 1 to {bytes_max} bytes")]
    InvalidText {
        /// The field, as it is called in JSON.
        field: Text,
        /// Its limit in bytes.
        bytes_max: usize,
    },
}

impl From<KeyReused> for Rejection {
    fn from(KeyReused: KeyReused) -> Self {
        Self::KeyReused
    }
}

impl Text {
    /// Checks that a text is printable, not blank, and of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`Rejection::InvalidText`].
    pub(super) fn check(self, text: &str, bytes_max: usize) -> Result<(), Rejection> {
        let printable = text.chars().all(|character| !character.is_control());
        if text.trim().is_empty() || text.len() > bytes_max || !printable {
            return Err(Rejection::InvalidText { field: self, bytes_max });
        }
        Ok(())
    }
}
