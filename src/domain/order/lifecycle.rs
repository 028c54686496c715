//! How an order comes to nothing: it is refused, cancelled or expires, and then ends.
//!
//! Ending takes two steps. It begins with a reason, and from then on the checkout gives back what the order holds; it
//! is over when nothing is held, no payment is open and no refund is under way. Depends on its neighbours.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{EndReason, Order, PaymentState, Progress, Rejection, Return, Status};
use crate::domain::entity::Timestamp;

/// What can have happened to an order that comes to nothing, or is over. Stored: see `actors/records.rs` before
/// changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    /// It comes to nothing; what it holds is to be given back.
    Begun { reason: EndReason, at: Timestamp },
    /// All its stock is released and its lines are back in the cart; money is still on its way back.
    Undone { at: Timestamp },
    /// All is given back.
    Ended { at: Timestamp },
    /// Whatever says who its customer is was forgotten.
    Erased { at: Timestamp },
}

impl Event {
    pub(super) fn erases(&self) -> bool {
        matches!(self, Self::Erased { .. } | Self::Begun { reason: EndReason::CustomerErased, .. })
    }
}

impl Order {
    /// Whether the order begins to end for this reason; `Ok(None)` where it ends already, or is not to expire now.
    pub(super) fn decide_end(&self, reason: EndReason, now: Timestamp) -> Result<Option<super::Event>, Rejection> {
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
        if begins && self.paying_attempt().is_some() && self.refund_in_progress().is_some() {
            return Err(Rejection::RefundInProgress);
        }
        Ok(begins.then(|| Event::Begun { reason, at: now }.into()))
    }

    /// Whether the order has ended, now that its stock is released and its lines are back in the cart.
    pub(super) fn decide_finish(&self, now: Timestamp) -> Result<Option<super::Event>, Rejection> {
        match self.placed()?.1 {
            // Nothing is over while the provider may still charge.
            Status::Cancelling if self.open_attempt().is_some() => {
                Err(Rejection::WrongStatus { status: Status::Cancelling })
            }
            Status::Cancelling if self.refund_in_progress().is_none() => Ok(Some(Event::Ended { at: now }.into())),
            Status::Cancelling => Ok((!self.undone).then(|| Event::Undone { at: now }.into())),
            Status::Cancelled | Status::Expired | Status::Rejected => Ok(None),
            status => Err(Rejection::WrongStatus { status }),
        }
    }

    /// Whether the order forgets its customer; it does so only when it is over.
    pub(super) fn decide_erase(&self, now: Timestamp) -> Result<Option<super::Event>, Rejection> {
        match self.placed()? {
            (placement, _) if placement.address.is_erased() => Ok(None),
            (_, status) if status.is_final() => Ok(Some(Event::Erased { at: now }.into())),
            (_, status) => Err(Rejection::WrongStatus { status }),
        }
    }

    pub(super) fn apply_end(&mut self, event: &Event) {
        match event {
            Event::Begun { reason, at } => {
                self.ending = Some(reason.clone());
                self.note(*at, None);
                if *reason == EndReason::CustomerErased {
                    self.erase();
                }
            }
            Event::Undone { .. } => self.undone = true,
            Event::Ended { at } => self.advance(Progress::Ended, *at),
            Event::Erased { .. } => self.erase(),
        }
    }

    /// Forgets who its customer is. Lines, amounts, states and the provider's references stay, for the books.
    fn erase(&mut self) {
        let placement = Arc::make_mut(self.placement.as_mut().expect("only a placed order is erased"));
        placement.address = placement.address.erased();
        placement.fingerprint = 0;
        self.tracking = None;
        for attempt in &mut self.attempts {
            attempt.method.clear();
            if let Some(PaymentState::Declined { reason }) = &mut attempt.state {
                reason.clear();
            }
        }
        self.refunds.iter_mut().for_each(|refund| refund.reason.clear());
        let resolved = self.issues.iter_mut().filter_map(|known| known.resolved.as_mut());
        resolved.for_each(|resolved| resolved.note.clear());
        self.returns.iter_mut().for_each(Return::erase);
        self.history.iter_mut().for_each(|entry| entry.note = None);
    }
}
