//! Why an order refuses a command.
//!
//! Depends on `serde`, `thiserror` and its neighbours.

use serde::{Deserialize, Serialize};

use super::{ATTEMPTS_MAX, REASON_CHARACTERS_MAX, REFUNDS_MAX, RETURNS_MAX, Status, Text};
use crate::domain::{
    idempotency::KeyReused,
    money::Money,
    text::{Lines, is_blank, is_clean},
};

/// Why a command to an order was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum Rejection {
    /// There is no such order.
    #[error("there is no such order")]
    NotFound,
    /// The key was used with another body.
    #[error("the idempotency key was used with another request")]
    KeyReused,
    /// The order's status does not allow it.
    #[error("the order is {}", status.as_str())]
    WrongStatus { status: Status },
    /// A payment is under way, and its outcome has to be known first.
    #[error("payment attempt {attempt} is still pending")]
    PaymentInProgress { attempt: u32 },
    /// Another request has paid it already.
    #[error("the order is already paid")]
    AlreadyPaid,
    /// The order was not paid in time.
    #[error("the order's deadline has passed")]
    DeadlinePassed,
    /// [`ATTEMPTS_MAX`] is reached.
    #[error("at most {ATTEMPTS_MAX} payment attempts")]
    TooManyAttempts,
    /// The provider captured another amount than the order's total.
    #[error("the provider captured {captured}, the order's total is {total}")]
    AmountMismatch { captured: Money, total: Money },
    /// Nothing of what was asked for is left to refund.
    #[error("nothing is left to refund")]
    NothingToRefund,
    /// More units were asked for than are left.
    #[error("only {left} units are left to refund")]
    MoreThanLeft { left: u32 },
    /// All of the order's money was refunded at the provider's own site.
    #[error("all of its money was refunded at the provider: cancel the order instead")]
    RefundedElsewhere,
    /// The customer's bank has taken the money back, and an operator has to decide about the goods first.
    #[error("its dispute is lost, so its money is gone: an operator has to decide about the goods first")]
    DisputeLost,
    /// A refund of everything before the order is sent is a cancellation.
    #[error("nothing would be left to send: cancel the order instead")]
    CancelInstead,
    /// An order has one refund at a time.
    #[error("a refund is under way")]
    RefundInProgress,
    /// [`REFUNDS_MAX`] or [`RETURNS_MAX`] is reached.
    #[error("at most {REFUNDS_MAX} refunds and {RETURNS_MAX} returns")]
    TooManyRefunds,
    /// There is no such return.
    #[error("there is no such return")]
    NoSuchReturn,
    /// The order has no open issue that this settles.
    #[error("this settles no open issue of the order")]
    NothingToResolve,
    /// The return was received or rejected already.
    #[error("the return is decided already")]
    ReturnDecided,
    /// A text is blank or too long, or cannot be shown.
    #[error("{field} must be 1 to {characters_max} characters of text that can be shown")]
    InvalidText { field: Text, characters_max: usize },
    /// The order was shipped with another tracking number.
    #[error("the order was shipped with another carrier or tracking number")]
    AlreadyShipped,
}

impl From<KeyReused> for Rejection {
    fn from(KeyReused: KeyReused) -> Self {
        Self::KeyReused
    }
}

/// Checks the note of an operator or a seller, about an order or about a notice of the provider.
///
/// # Errors
/// [`Rejection::InvalidText`].
pub fn check_note(note: &str) -> Result<(), Rejection> {
    Text::Note.check(note, REASON_CHARACTERS_MAX)
}

impl Text {
    /// Checks that a text is printable, not blank, and at most `characters_max` characters long.
    ///
    /// # Errors
    /// [`Rejection::InvalidText`].
    pub(super) fn check(self, text: &str, characters_max: usize) -> Result<(), Rejection> {
        if is_blank(text) || text.chars().count() > characters_max || !is_clean(text, Lines::One) {
            return Err(Rejection::InvalidText { field: self, characters_max });
        }
        Ok(())
    }
}
