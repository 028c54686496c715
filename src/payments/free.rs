//! What costs nothing is no business of a provider, which refuses to be asked for zero: it is paid, given up and given
//! back here.
//!
//! Depends on its neighbours.

use futures::{FutureExt, future};

use super::{Answer, Payment, Repayment};
use crate::domain::order::{PaymentState, RefundState};

/// Stands where the provider's name for a payment or a refund would.
pub(super) const REFERENCE: &str = "free";

fn answer<'a, T: Send + 'a>(is_free: bool, answer: T) -> Option<Answer<'a, T>> {
    is_free.then(|| future::ready(Ok(answer)).boxed())
}

fn captured(payment: &Payment) -> PaymentState {
    PaymentState::Captured { reference: REFERENCE.to_owned(), amount: payment.amount }
}

/// The answer to a payment or a capture of zero; `None` where the provider has to be asked.
pub(super) fn paid<'a>(payment: &Payment) -> Option<Answer<'a, PaymentState>> {
    answer(payment.amount.minor == 0, captured(payment))
}

/// What has become of a payment of zero.
pub(super) fn found<'a>(payment: &Payment) -> Option<Answer<'a, Option<PaymentState>>> {
    answer(payment.amount.minor == 0, Some(captured(payment)))
}

/// The answer to giving up a payment of zero that was not recorded as paid.
pub(super) fn voided<'a>(payment: &Payment) -> Option<Answer<'a, PaymentState>> {
    answer(payment.amount.minor == 0, PaymentState::Voided { reference: None })
}

/// The answer to a refund of zero: such as of a line that cost nothing, or of one whose money has gone back already.
pub(super) fn refunded<'a>(repayment: &Repayment) -> Option<Answer<'a, RefundState>> {
    answer(repayment.amount.minor == 0, RefundState::Refunded { reference: REFERENCE.to_owned() })
}
