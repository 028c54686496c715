//! An order, from placed to delivered: the saga log of a checkout.
//!
//! The order exists durably before anything is reserved, so every effect on other entities has an intent here.
//! [`Order::next_step`] computes the next step from it; the checkout performs the step and records the outcome, so a
//! crash at any point costs one repetition. Until its parcel is shipped, an order can be cancelled: it then voids or
//! refunds its payment and releases its stock. After that it cannot.
//!
//! ```mermaid
//! stateDiagram-v2
//!     [*] --> placed
//!     placed --> awaiting_payment
//!     placed --> cancelling
//!     awaiting_payment --> payment_pending
//!     awaiting_payment --> cancelling
//!     payment_pending --> awaiting_payment
//!     payment_pending --> authorised
//!     payment_pending --> paid
//!     payment_pending --> cancelling
//!     authorised --> awaiting_payment
//!     authorised --> paid
//!     authorised --> cancelling
//!     paid --> confirmed
//!     confirmed --> packed
//!     confirmed --> shipped
//!     confirmed --> cancelling
//!     packed --> shipped
//!     packed --> cancelling
//!     shipped --> delivered
//!     cancelling --> paid
//!     cancelling --> cancelled
//!     cancelling --> expired
//!     cancelling --> rejected
//! ```
//!
//! The test `walk` compares this diagram with what it finds; `docs/PAYMENTS.md` explains it.
//! The files, in reading order:
//!
//! - `parts`: status, history, reason of an end. `placement`: what is frozen when the order is placed.
//! - `command`: the commands. `rejection`: why a command is rejected. `limits` and `text`: limits of their parameters.
//! - This file: the order, and which part decides a command and applies an event.
//! - The parts, each with its events, rules and changes: `goods` (cart and stock), `payment` (attempts to pay),
//!   `notices` (webhooks of the provider), `refund`, `amounts` and `returns` (money and goods that go back),
//!   `shipment`, `lifecycle` (how an order is cancelled, expires, ends and is erased), `issues` (what an operator has
//!   to decide).
//! - `resolution`: an operator's decision as commands.
//! - `listing`: the summary of an order for lists.
//! - `step`: the next step of the checkout. `saga`: the requests of a step.
//! - `tests`: examples and properties. `walk`: an exhaustive search of all reachable states.
//!
//! Depends on `std`, `serde` and its neighbours.

mod amounts;
mod command;
pub mod goods;
pub mod issues;
pub mod lifecycle;
mod limits;
mod listing;
pub mod notices;
mod parts;
pub mod payment;
mod placement;
pub mod refund;
mod rejection;
mod resolution;
pub mod returns;
mod saga;
pub mod shipment;
mod step;
#[cfg(test)]
mod tests;
mod text;
#[cfg(test)]
mod walk;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::{
    command::Command,
    issues::{Issue, IssueKind, Resolved},
    limits::{
        ATTEMPTS_MAX, METHOD_CHARACTERS_MAX, REASON_CHARACTERS_MAX, REFUNDS_MAX, RETURNS_MAX, TRACKING_CHARACTERS_MAX,
    },
    listing::{Listing, Stage},
    notices::About,
    parts::{EndReason, HistoryEntry, Status, StockAnswer, Tracking},
    payment::{Attempt, CaptureMode, Intent, PaymentState},
    placement::{InvalidPlacement, OrderLine, Placement},
    refund::{Refund, RefundCause, RefundRequest, RefundState, Restock, Shipping, Units},
    rejection::{Rejection, check_note},
    resolution::{Resolution, Settled},
    returns::{Return, ReturnState},
    saga::{Effect, EffectResult, Retry},
    step::{Poll, Step, Turn},
    text::Text,
};
pub use crate::domain::address::{Address, AddressField, AddressRule, InvalidField, countries};
use crate::domain::{
    entity::{Entity, Kind, Tag, Timestamp},
    ids::{OrderId, RequestKey, SellerId},
};

/// An event of an order, by the part of the order that it changes. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    Placed(Arc<Placement>),
    Goods(goods::Event),
    Payment(payment::Event),
    Notice(notices::Event),
    Refund(refund::Event),
    Return(returns::Event),
    Shipment(shipment::Event),
    Issue(issues::Event),
    End(lifecycle::Event),
}

/// Converts the event of a part into an event of the order.
macro_rules! events_of_parts {
    ($($variant:ident: $part:ident),*) => {$(
        impl From<$part::Event> for Event {
            fn from(event: $part::Event) -> Self {
                Self::$variant(event)
            }
        }
    )*};
}

events_of_parts! {
    Goods: goods, Payment: payment, Notice: notices, Refund: refund, Return: returns, Shipment: shipment, Issue: issues,
    End: lifecycle
}

/// The state of an order, folded from its events.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Order {
    placement: Option<Arc<Placement>>,
    taken: bool,
    stock: Vec<Option<StockAnswer>>,
    attempts: Vec<Attempt>,
    ending: Option<EndReason>,
    progress: Progress,
    tracking: Option<Tracking>,
    sequence: u64,
    history: Vec<HistoryEntry>,
    refunds: Vec<Refund>,
    returns: Vec<Return>,
    issues: Vec<Issue>,
    undone: bool,
    notices: Vec<u64>,
}

/// The progress of an order as far as it does not follow from its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
enum Progress {
    #[default]
    Open,
    Confirmed,
    Packed,
    Shipped,
    Delivered,
    Ended,
}

impl Order {
    /// The order's status, or `None` if it was never placed.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.placement.as_ref()?;
        Some(match (&self.ending, self.progress) {
            (Some(reason), Progress::Ended) => reason.status(),
            (Some(_), _) => Status::Cancelling,
            (None, Progress::Confirmed) => Status::Confirmed,
            (None, Progress::Packed) => Status::Packed,
            (None, Progress::Shipped) => Status::Shipped,
            (None, Progress::Delivered) => Status::Delivered,
            (None, Progress::Open | Progress::Ended) => self.open_status(),
        })
    }

    fn open_status(&self) -> Status {
        let last = self.attempts.last();
        match last.map(|attempt| &attempt.state) {
            Some(Some(PaymentState::Authorised { .. })) => Status::Authorised,
            Some(None | Some(PaymentState::ActionRequired { .. } | PaymentState::Processing { .. })) => {
                Status::PaymentPending
            }
            Some(Some(PaymentState::Captured { .. })) if last.is_some_and(|attempt| !attempt.stray) => Status::Paid,
            Some(Some(_)) => Status::AwaitingPayment,
            None if self.taken && self.stock.iter().all(|answer| *answer == Some(StockAnswer::Reserved)) => {
                Status::AwaitingPayment
            }
            None => Status::Placed,
        }
    }

    /// What was frozen when the order was placed.
    #[must_use]
    pub fn placement(&self) -> Option<&Arc<Placement>> {
        self.placement.as_ref()
    }

    /// Why the order ends or has ended without being delivered.
    #[must_use]
    pub fn end_reason(&self) -> Option<&EndReason> {
        self.ending.as_ref()
    }

    /// The attempts to pay the order, oldest first.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The attempt that a request with this key asked for, or the latest one without a key.
    #[must_use]
    pub fn attempt_of(&self, key: Option<RequestKey>) -> Option<&Attempt> {
        match key {
            Some(key) => self.attempts.iter().find(|attempt| attempt.key.is_some_and(|known| known.key == key.key)),
            None => self.attempts.last(),
        }
    }

    /// How the parcel can be tracked.
    #[must_use]
    pub fn tracking(&self) -> Option<&Tracking> {
        self.tracking.as_ref()
    }

    /// The history, oldest entry first.
    #[must_use]
    pub fn history(&self) -> &[HistoryEntry] {
        &self.history
    }

    /// How many events the order has had.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether this seller sells every line, and so may pack and ship the order.
    #[must_use]
    pub fn is_sold_only_by(&self, seller: SellerId) -> bool {
        self.placement.as_ref().is_some_and(|placement| placement.lines.iter().all(|line| line.seller == seller))
    }

    fn placed(&self) -> Result<(&Placement, Status), Rejection> {
        let placement = self.placement.as_deref().ok_or(Rejection::NotFound)?;
        Ok((placement, self.status().ok_or(Rejection::NotFound)?))
    }

    /// Whether the checkout with this fingerprint has placed the order; no checkout may have.
    ///
    /// # Errors
    /// [`Rejection::KeyReused`] if another checkout has.
    pub fn is_placed_by(&self, fingerprint: u128) -> Result<bool, Rejection> {
        match &self.placement {
            None => Ok(false),
            Some(known) if known.fingerprint == fingerprint => Ok(true),
            Some(_) => Err(Rejection::KeyReused),
        }
    }

    fn advance(&mut self, to: Progress, at: Timestamp) {
        self.progress = to;
        self.note(at, None);
    }

    fn note(&mut self, at: Timestamp, note: Option<String>) {
        let status = self.status().expect("only a placed order has a history");
        self.history.push(HistoryEntry { sequence: self.sequence, status, note, at });
    }
}

impl Entity for Order {
    const KIND: Kind = Kind::Order;
    /// As long as the order.
    const REQUESTS_KEPT_MS: u64 = u64::MAX;
    type Id = OrderId;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;
    type View = Arc<Order>;

    fn decide(&self, command: &Command, now: Timestamp) -> Result<Option<Event>, Rejection> {
        match command {
            Command::Place(placement) => {
                let is_repeat = self.is_placed_by(placement.fingerprint)?;
                Ok((!is_repeat).then(|| Event::Placed(Arc::clone(placement))))
            }
            Command::RecordTaken => self.decide_taken(now),
            Command::RejectByCart(reason) => self.decide_end(reason.clone(), now),
            Command::RecordStock(answers) => self.decide_stock(answers, now),
            Command::RequestPayment { method, key, capture } => self.decide_payment(method, *key, *capture, now),
            Command::AdvancePayment { attempt, state } => self.decide_advance_payment(*attempt, state, now),
            Command::Capture => self.decide_capture(now),
            Command::AbandonPayment => self.decide_abandon(now),
            Command::Notify { about, notice } => self.decide_notify(*about, *notice, now),
            Command::TakeBack { attempt } => self.decide_take_back(*attempt, now),
            Command::Refund(request) => self.decide_refund(request, now),
            Command::RefundOwed => self.decide_owed_refund(now),
            Command::RetryRefund { number, by } => self.decide_retry_refund(*number, *by, now),
            Command::AdvanceRefund { number, state } => self.decide_refund_advance(*number, state, now),
            Command::RecordRefunded { attempt, refunded_minor } => {
                self.decide_refunded_elsewhere(*attempt, *refunded_minor, now)
            }
            Command::RecordRestocked { number } => self.decide_restocked(*number, now),
            Command::RequestReturn { lines, reason, key } => self.decide_return(lines, reason, *key, now),
            Command::ReceiveReturn { number, restock, by } => self.decide_receive(*number, *restock, *by, now),
            Command::RejectReturn { number, note } => self.decide_reject(*number, note, now),
            Command::RaiseIssue { kind, notice } => self.decide_raise(kind, *notice, now),
            Command::ResolveIssues { issues, by, note } => self.decide_resolve(issues, *by, note, now),
            Command::RecordFulfilled => self.decide_fulfilled(now),
            Command::Cancel => self.decide_end(EndReason::Cancelled, now),
            Command::Expire => self.decide_end(EndReason::Expired, now),
            Command::Finish => self.decide_finish(now),
            Command::Pack => self.decide_pack(now),
            Command::Ship(tracking) => self.decide_ship(tracking, now),
            Command::Deliver => self.decide_deliver(now),
            Command::Erase => self.decide_erase(now),
        }
    }

    fn apply(&mut self, event: &Event) {
        self.sequence += 1;
        match event {
            Event::Placed(placement) => {
                self.stock = vec![None; placement.lines.len()];
                self.placement = Some(Arc::clone(placement));
                self.note(placement.at, None);
            }
            Event::Goods(event) => self.apply_goods(event),
            Event::Payment(event) => self.apply_payment(event),
            Event::Notice(event) => self.apply_notice(event),
            Event::Refund(event) => self.apply_refund(event),
            Event::Return(event) => self.apply_return(event),
            Event::Shipment(event) => self.apply_shipment(event),
            Event::Issue(event) => self.apply_issue(event),
            Event::End(event) => self.apply_end(event),
        }
    }

    fn tag(&self) -> Tag {
        self.listing().map_or_else(Tag::default, Listing::to_tag)
    }

    fn erases(event: &Event) -> bool {
        matches!(event, Event::End(event) if event.erases())
    }

    fn view(&self) -> Arc<Order> {
        Arc::new(self.clone())
    }

    fn view_bytes(view: &Arc<Order>) -> usize {
        let lines = view.placement.as_ref().map_or(0, |placement| placement.lines.len());
        let refunds = 300 * (view.refunds.len() + view.returns.len() + view.issues.len());
        600 + 200 * lines + 64 * view.history.len() + 160 * view.attempts.len() + refunds
    }
}
