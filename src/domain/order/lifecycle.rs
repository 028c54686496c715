//! How an order comes to nothing: it is refused, cancelled or expires, and then ends.
//!
//! Ending takes two steps. It begins with a reason, and from then on the checkout gives back what the order holds; it is
//! over when nothing is held, no payment is open and no refund is under way. Depends on its neighbours.

use super::{EndReason, Event, Order, PaymentState, Refund, Rejection, Status, StockAnswer};
use crate::domain::entity::Timestamp;

impl Order {
    /// Whether the order begins to end for this reason; `Ok(None)` where it ends already, or is not to expire now.
    pub(super) fn decide_end(&self, reason: EndReason, now: Timestamp) -> Result<Option<Event>, Rejection> {
        let (placement, status) = self.placed()?;
        let waits_for_customer = self
            .open_attempt()
            .is_some_and(|attempt| matches!(attempt.state, Some(PaymentState::ActionRequired { .. })));
        let expires = now >= placement.deadline;
        let begins = match (status, &reason) {
            (Status::Cancelling | Status::Cancelled | Status::Expired | Status::Rejected, _) => false,
            (Status::Placed | Status::AwaitingPayment, EndReason::Expired) => expires,
            // A payment whose customer does not come back is given up first; one that is asked for or held is not.
            (Status::PaymentPending, EndReason::Expired) => expires && waits_for_customer,
            (_, EndReason::Expired) => false,
            (Status::Placed | Status::AwaitingPayment, _)
            | (
                Status::PaymentPending | Status::Authorised | Status::Confirmed | Status::Packed,
                EndReason::Cancelled,
            ) => true,
            (Status::PaymentPending | Status::Authorised, _) => {
                let attempt = self.pending_attempt(status)?.number;
                return Err(Rejection::PaymentInProgress { attempt });
            }
            (Status::Paid | Status::Confirmed | Status::Packed | Status::Shipped | Status::Delivered, _) => {
                return Err(Rejection::WrongStatus { status });
            }
        };
        // What is owed of a payment cannot be told while some of it goes back; a stray is no part of it.
        if begins && self.paying_attempt().is_some() && self.refunds.iter().any(Refund::is_pending) {
            return Err(Rejection::RefundInProgress);
        }
        Ok(begins.then_some(Event::EndBegun { reason, at: now }))
    }

    /// Whether the order has ended, now that its stock is released and its lines are back in the cart.
    pub(super) fn decide_finish(&self, now: Timestamp) -> Result<Option<Event>, Rejection> {
        match self.placed()?.1 {
            // Nothing is over while the provider may still charge.
            Status::Cancelling if self.open_attempt().is_some() => {
                Err(Rejection::WrongStatus { status: Status::Cancelling })
            }
            Status::Cancelling if self.refunds.iter().all(|refund| !refund.is_pending()) => {
                Ok(Some(Event::Ended { at: now }))
            }
            Status::Cancelling => Ok((!self.undone).then_some(Event::Undone { at: now })),
            Status::Cancelled | Status::Expired | Status::Rejected => Ok(None),
            status => Err(Rejection::WrongStatus { status }),
        }
    }

    /// Why the answer to a line ends the order, if it does.
    pub(super) fn refusal(&self, index: u16, answer: StockAnswer) -> Option<EndReason> {
        let line = self.placement.as_ref()?.lines.get(usize::from(index))?;
        match answer {
            StockAnswer::Reserved => None,
            StockAnswer::TooLate => Some(EndReason::Expired),
            StockAnswer::Refused { available } => Some(EndReason::InsufficientStock {
                product: line.product.clone(),
                requested: line.quantity,
                available,
            }),
        }
    }
}
