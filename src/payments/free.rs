//! Payments and refunds of zero are handled here without the provider, which would reject an amount of zero.
//!
//! Depends on `domain` and its neighbours.

use futures::{FutureExt, future};

use super::{Answer, Payment, Repayment};
use crate::domain::order::{PaymentState, RefundState};

/// The reference of a payment or a refund of which the provider knows nothing.
pub(super) const REFERENCE: &str = "free";

fn answer<'a, T: Send + 'a>(is_free: bool, answer: T) -> Option<Answer<'a, T>> {
    is_free.then(|| future::ready(Ok(answer)).boxed())
}

fn captured(payment: &Payment) -> PaymentState {
    PaymentState::Captured { reference: REFERENCE.to_owned(), amount: payment.amount }
}

/// The answer to a payment or a capture of zero; `None` if the provider has to be asked.
pub(super) fn paid<'a>(payment: &Payment) -> Option<Answer<'a, PaymentState>> {
    answer(payment.amount.minor == 0, captured(payment))
}

/// The state of a payment of zero; `None` if the provider has to be asked.
pub(super) fn found<'a>(payment: &Payment) -> Option<Answer<'a, Option<PaymentState>>> {
    answer(payment.amount.minor == 0, Some(captured(payment)))
}

/// The answer to the void of a payment of zero that was not recorded as paid; `None` if the provider has to be asked.
pub(super) fn voided<'a>(payment: &Payment) -> Option<Answer<'a, PaymentState>> {
    answer(payment.amount.minor == 0, PaymentState::Voided { reference: None })
}

/// The answer to a refund of zero, such as of a line that cost nothing or whose money was refunded already; `None` if
/// the provider has to be asked.
pub(super) fn refunded<'a>(repayment: &Repayment) -> Option<Answer<'a, RefundState>> {
    answer(repayment.amount.minor == 0, RefundState::Refunded { reference: REFERENCE.to_owned() })
}
