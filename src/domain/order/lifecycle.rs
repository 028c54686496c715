//! How an order ends without being delivered: it is rejected, cancelled, or expires.
//!
//! Ending takes two steps. It begins with a reason; from then on the checkout gives back what the order holds. It is
//! over when nothing is held, no payment is open and no refund is under way. Depends on its neighbours.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{EndReason, Order, PaymentState, Progress, Rejection, Return, Status};
use crate::domain::entity::Timestamp;

/// An event of an order's end. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    /// The order begins to end; what it holds has to be given back.
    Begun { reason: EndReason, at: Timestamp },
    /// All its stock is released and its lines are back in the cart; a refund may still be under way.
    Undone { at: Timestamp },
    /// Everything is given back.
    Ended { at: Timestamp },
    /// Whatever identifies the customer was removed.
    Erased { at: Timestamp },
}

impl Event {
    pub(super) fn erases(&self) -> bool {
        matches!(self, Self::Erased { .. } | Self::Begun { reason: EndReason::CustomerErased, .. })
    }
}

impl Order {
    /// The status with which the order ends; `None` if it is not ending.
    #[must_use]
    pub fn ends_as(&self) -> Option<Status> {
        self.ending.as_ref().map(EndReason::status)
    }

    /// Whether the order expires now, because its deadline has passed.
    pub(super) fn may_expire(&self, now: Timestamp) -> bool {
        self.placement.as_ref().is_some_and(|placement| now >= placement.deadline) && self.expires_at_deadline()
    }

    /// Whether the order, as it is now, expires at its deadline. A payment whose customer does not come back is voided
    /// then; one that the provider is processing or holding is waited for.
    pub(super) fn expires_at_deadline(&self) -> bool {
        let state = self.open_attempt().map(|attempt| &attempt.state);
        match self.status() {
            Some(Status::Placed | Status::AwaitingPayment) => true,
            Some(Status::PaymentPending) => matches!(state, Some(Some(PaymentState::ActionRequired { .. }))),
            _ => false,
        }
    }

    /// Whether the order begins to end for this reason; `Ok(None)` if it is ending already, or does not expire now.
    pub(super) fn decide_end(&self, reason: EndReason, now: Timestamp) -> Result<Option<super::Event>, Rejection> {
        let (_, status) = self.placed()?;
        let begins = match (status, &reason) {
            (Status::Cancelling | Status::Cancelled | Status::Expired | Status::Rejected, _) => false,
            (_, EndReason::Expired) => self.may_expire(now),
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
        // The amount still to be refunded is not known while a refund of the payment is under way. Strays do not count.
        if begins && self.paying_attempt().is_some() && self.refund_in_progress().is_some() {
            return Err(Rejection::RefundInProgress);
        }
        Ok(begins.then(|| Event::Begun { reason, at: now }.into()))
    }

    /// Whether the order has ended. The caller has released its stock and returned its lines to the cart.
    pub(super) fn decide_finish(&self, now: Timestamp) -> Result<Option<super::Event>, Rejection> {
        match self.placed()?.1 {
            // An order cannot end while the provider may still charge.
            Status::Cancelling if self.open_attempt().is_some() => {
                Err(Rejection::WrongStatus { status: Status::Cancelling })
            }
            Status::Cancelling if self.refund_in_progress().is_none() => Ok(Some(Event::Ended { at: now }.into())),
            Status::Cancelling => Ok((!self.undone).then(|| Event::Undone { at: now }.into())),
            Status::Cancelled | Status::Expired | Status::Rejected => Ok(None),
            status => Err(Rejection::WrongStatus { status }),
        }
    }

    /// Whether the order forgets its customer; only an order that is over does.
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

    /// Removes what identifies the customer. Lines, amounts, states and the provider's references stay, for accounting.
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
