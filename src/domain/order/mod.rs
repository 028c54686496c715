//! An order, from placed to delivered: the saga log of a checkout.
//!
//! The order exists durably before anything is reserved, so every effect on other entities has an intent here.
//! [`Order::next_step`] reads it and says what is missing; the checkout performs that step and records the outcome; a crash
//! between any two lines costs a repetition. Until its parcel leaves, an order can go back: a cancelled order gives up or
//! refunds its payment and releases its stock. From `shipped` on it only goes forward.
//!
//! ```mermaid
//! stateDiagram-v2
//!     [*] --> placed
//!     placed --> awaiting_payment
//!     placed --> cancelling
//!     awaiting_payment --> payment_pending
//!     awaiting_payment --> cancelling
//!     payment_pending --> awaiting_payment
//!     payment_pending --> paid
//!     payment_pending --> cancelling
//!     payment_pending --> authorised
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
//!     authorised --> awaiting_payment
//!     authorised --> paid
//!     authorised --> cancelling
//! ```
//!
//! The test `walk` holds this picture, which `docs/PAYMENTS.md` explains.
//! The files, in the order in which they are best read:
//!
//! - `parts`: status, history, reason of an end. `placement`: what is frozen when the order is placed.
//! - `messages`: commands, events, rejections.
//! - this file: the order, and which rule decides a command; what each event changes.
//! - `payment`: attempts to pay. `refund` and `returns`: what goes back, and how much money that is.
//! - `lifecycle`: how an order is cancelled, expires and ends.
//! - `listing`: how lists show an order.
//! - `issues`: what an operator has to look at.
//! - `step`: what is to be done next. `saga`: the requests that a step is made of.
//! - `tests`: examples and properties. `walk`: everything that can happen.
//!
//! Depends on `std`, `serde` and its neighbours.

mod issues;
mod lifecycle;
mod listing;
mod messages;
mod parts;
mod payment;
mod placement;
mod refund;
mod returns;
mod saga;
mod step;
#[cfg(test)]
mod tests;
mod text;
#[cfg(test)]
mod walk;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::{
    issues::{Issue, IssueKind, Resolved, check_note},
    listing::{Listing, Stage},
    messages::{About, Command, Event, Rejection},
    parts::{EndReason, HistoryEntry, Status, StockAnswer, Tracking},
    payment::{Attempt, CaptureMode, Intent, PaymentState},
    placement::{Address, InvalidPlacement, Line, Placement},
    refund::{REASON_BYTES_MAX, REFUNDS_MAX, Refund, RefundCause, RefundRequest, RefundState, Units},
    returns::{RETURNS_MAX, Return, ReturnState},
    saga::{Effect, EffectResult},
    step::{Poll, Step, Turn},
    text::Text,
};
use crate::domain::{
    entity::{Entity, Kind, Tag, Timestamp},
    ids::{OrderId, RequestKey, UserId},
};

/// How often a customer may try to pay one order. A thief who tries cards is stopped here, an honest customer is not.
pub const ATTEMPTS_MAX: usize = 5;
/// The longest token of a payment method, in bytes.
pub const METHOD_BYTES_MAX: usize = 255;
/// The longest carrier name and tracking number, in bytes.
pub const TRACKING_BYTES_MAX: usize = 100;

/// An order.
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

/// How far an order has come that cannot be told from its parts.
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
    /// Where it stands, or `None` where it was never placed.
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

    /// What was frozen when it was placed.
    #[must_use]
    pub fn placement(&self) -> Option<&Arc<Placement>> {
        self.placement.as_ref()
    }

    /// Why it comes or came to nothing.
    #[must_use]
    pub fn end_reason(&self) -> Option<&EndReason> {
        self.ending.as_ref()
    }

    /// The attempts to pay it, oldest first.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The attempt that a request with this key asked for; without a key the latest one.
    #[must_use]
    pub fn attempt_of(&self, key: Option<RequestKey>) -> Option<&Attempt> {
        match key {
            Some(key) => self.attempts.iter().find(|attempt| attempt.key.is_some_and(|known| known.key == key.key)),
            None => self.attempts.last(),
        }
    }

    /// How its parcel can be followed.
    #[must_use]
    pub fn tracking(&self) -> Option<&Tracking> {
        self.tracking.as_ref()
    }

    /// What happened to it, oldest first.
    #[must_use]
    pub fn history(&self) -> &[HistoryEntry] {
        &self.history
    }

    /// How many events it has had.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether every line is sold by this seller, who may then pack and ship it.
    #[must_use]
    pub fn is_sold_only_by(&self, seller: UserId) -> bool {
        self.placement.as_ref().is_some_and(|placement| placement.lines.iter().all(|line| line.seller == seller))
    }

    fn placed(&self) -> Result<(&Placement, Status), Rejection> {
        let placement = self.placement.as_deref().ok_or(Rejection::NotFound)?;
        Ok((placement, self.status().ok_or(Rejection::NotFound)?))
    }

    fn decide_stock(&self, answers: &[(u16, StockAnswer)], now: Timestamp) -> Result<Option<Event>, Rejection> {
        let (_, status) = self.placed()?;
        let news = |(index, _): &&(u16, StockAnswer)| self.stock.get(usize::from(*index)) == Some(&None);
        let answers: Vec<_> = answers.iter().filter(news).copied().collect();
        match status {
            Status::Placed if !answers.is_empty() => Ok(Some(Event::StockAnswered { answers, at: now })),
            _ => Ok(None),
        }
    }

    /// Whether the order moves to `to` now; `false` where it is there already.
    fn decide_advance(&self, to: Progress) -> Result<bool, Rejection> {
        let (_, status) = self.placed()?;
        let allowed = match to {
            Progress::Packed => status == Status::Confirmed,
            Progress::Shipped => matches!(status, Status::Confirmed | Status::Packed),
            Progress::Delivered => status == Status::Shipped,
            Progress::Open | Progress::Confirmed | Progress::Ended => false,
        };
        if allowed && to != Progress::Delivered && self.is_refunded_elsewhere() {
            return Err(Rejection::RefundedElsewhere);
        }
        let already = self.progress == to;
        if allowed || already { Ok(allowed) } else { Err(Rejection::WrongStatus { status }) }
    }

    fn note(&mut self, at: Timestamp, note: Option<String>) {
        let status = self.status().expect("only a placed order has a history");
        self.history.push(HistoryEntry { sequence: self.sequence, status, note, at });
    }
}

impl Entity for Order {
    const KIND: Kind = Kind::Order;
    type Id = OrderId;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;
    type View = Arc<Order>;

    fn decide(&self, command: &Command, now: Timestamp) -> Result<Option<Event>, Rejection> {
        match command {
            Command::Place(placement) => match &self.placement {
                None => Ok(Some(Event::Placed(Arc::clone(placement)))),
                Some(known) if known.fingerprint == placement.fingerprint => Ok(None),
                Some(_) => Err(Rejection::KeyReused),
            },
            Command::RecordTaken => {
                let (_, status) = self.placed()?;
                Ok((status == Status::Placed && !self.taken).then_some(Event::CartTaken { at: now }))
            }
            Command::RejectByCart(reason) => self.decide_end(reason.clone(), now),
            Command::RecordStock(answers) => self.decide_stock(answers, now),
            Command::RequestPayment { method, key, capture } => self.decide_payment(method, *key, *capture, now),
            Command::AdvancePayment { attempt, state } => self.decide_advance_payment(*attempt, state, now),
            Command::Capture => self.decide_capture(now),
            Command::AbandonPayment => self.decide_abandon(now),
            Command::Notify { about, notice } => self.decide_notify(*about, *notice, now),
            Command::TakeBack { attempt, reference, captured } => {
                self.decide_take_back(*attempt, reference, *captured, now)
            }
            Command::Refund(request) => self.decide_refund(request, now),
            Command::RefundOwed => self.decide_owed_refund(now),
            Command::RetryRefund { number, by } => self.decide_retry_refund(*number, *by, now),
            Command::AdvanceRefund { number, state } => self.decide_refund_advance(*number, state, now),
            Command::RecordRefunded { attempt, refunded_minor } => {
                self.decide_refunded_elsewhere(*attempt, *refunded_minor, now)
            }
            Command::RecordRestocked { number } => match self.refund(*number).map(Refund::is_to_restock) {
                Some(true) => Ok(Some(Event::Restocked { number: *number, at: now })),
                Some(false) => Ok(None),
                None => Err(Rejection::NothingToRefund),
            },
            Command::RequestReturn { lines, reason, key } => self.decide_return(lines, reason, *key, now),
            Command::ReceiveReturn { number, restock, by } => self.decide_receive(*number, *restock, *by, now),
            Command::RejectReturn { number, note } => self.decide_reject(*number, note, now),
            Command::RaiseIssue { kind, notice } => self.decide_raise(kind, *notice, now),
            Command::ResolveIssues { issues, by, note } => self.decide_resolve(issues, *by, note, now),
            Command::RecordFulfilled => match self.placed()?.1 {
                Status::Paid => Ok(Some(Event::Fulfilled { at: now })),
                status if status.is_paid() => Ok(None),
                status => Err(Rejection::WrongStatus { status }),
            },
            Command::Cancel => self.decide_end(EndReason::Cancelled, now),
            Command::Expire => self.decide_end(EndReason::Expired, now),
            Command::RecordUndone | Command::Finish => self.decide_finish(now),
            Command::Pack => Ok(self.decide_advance(Progress::Packed)?.then_some(Event::Packed { at: now })),
            Command::Ship(tracking) => {
                Text::Carrier.check(&tracking.carrier, TRACKING_BYTES_MAX)?;
                Text::TrackingNumber.check(&tracking.number, TRACKING_BYTES_MAX)?;
                let shipped = Event::Shipped { tracking: tracking.clone(), at: now };
                Ok(self.decide_advance(Progress::Shipped)?.then_some(shipped))
            }
            Command::Deliver => Ok(self.decide_advance(Progress::Delivered)?.then_some(Event::Delivered { at: now })),
            Command::Erase => match self.placed()? {
                (placement, _) if placement.address.is_erased() => Ok(None),
                (_, status) if status.is_final() => Ok(Some(Event::Erased { at: now })),
                (_, status) => Err(Rejection::WrongStatus { status }),
            },
        }
    }

    #[allow(clippy::too_many_lines, reason = "a flat match: one arm per event")]
    fn apply(&mut self, event: &Event) {
        self.sequence += 1;
        match event {
            Event::Placed(placement) => {
                self.stock = vec![None; placement.lines.len()];
                self.placement = Some(Arc::clone(placement));
                self.note(placement.at, None);
            }
            Event::CartTaken { at } => {
                self.taken = true;
                // An order whose stock is reserved first awaits its payment only now.
                if self.open_status() == Status::AwaitingPayment {
                    self.note(*at, None);
                }
            }
            Event::StockAnswered { answers, at } => {
                for (index, answer) in answers {
                    let slot = self.stock.get_mut(usize::from(*index)).expect("decided for an existing line");
                    *slot = Some(*answer);
                    self.ending = self.ending.take().or_else(|| self.refusal(*index, *answer));
                }
                if self.status() != Some(Status::Placed) {
                    self.note(*at, None);
                }
            }
            Event::PaymentRequested { method, key, at } => {
                self.begin_attempt(method, *key, CaptureMode::AtOnce, *at);
            }
            Event::AuthorisationRequested { method, key, at } => {
                self.begin_attempt(method, *key, CaptureMode::Later, *at);
            }
            Event::PaymentAdvanced { attempt, state, at } => {
                let note = self.advance_payment(*attempt, state);
                self.note(*at, note);
            }
            Event::Fulfilled { at } => self.advance(Progress::Confirmed, *at),
            Event::EndBegun { reason, at } => {
                self.ending = Some(reason.clone());
                self.note(*at, None);
                if *reason == EndReason::CustomerErased {
                    self.erase();
                }
            }
            Event::Ended { at } => self.advance(Progress::Ended, *at),
            Event::Packed { at } => self.advance(Progress::Packed, *at),
            Event::Shipped { tracking, at } => {
                self.tracking = Some(tracking.clone());
                self.advance(Progress::Shipped, *at);
            }
            Event::Delivered { at } => self.advance(Progress::Delivered, *at),
            Event::Erased { .. } => self.erase(),
            Event::CaptureRequested { attempt, .. } => self.attempt_mut(*attempt).intent = Some(Intent::Capture),
            Event::VoidRequested { attempt, .. } => self.attempt_mut(*attempt).intent = Some(Intent::Void),
            Event::StrayCaptured { attempt, reference, amount, at } => {
                let (reference, amount) = (reference.clone(), *amount);
                let known = self.attempt_mut(*attempt);
                known.state = Some(PaymentState::Captured { reference, amount });
                (known.stray, known.needs_refresh, known.intent) = (true, false, None);
                self.note(*at, Some(format!("a payment of {amount} came too late and goes back")));
            }
            Event::Notified { about, notice, .. } => {
                *self.needs_refresh_mut(*about) = true;
                self.take_notice(*notice);
            }
            Event::NothingNew { about, .. } => *self.needs_refresh_mut(*about) = false,
            Event::RefundRequested { refund } => self.begin_refund(refund),
            Event::RefundedElsewhere { refund } => self.take_on_refund(refund),
            Event::RefundAdvanced { number, state, at, .. } => self.advance_refund(*number, state, *at),
            Event::Restocked { number, .. } => self.refund_mut(*number).restocked = true,
            Event::ReturnRequested { lines, reason, key, at } => self.begin_return(lines, reason, *key, *at),
            Event::ReturnReceived { number, refund } => self.end_return_received(*number, refund),
            Event::ReturnRejected { number, note, at } => self.end_return_rejected(*number, note, *at),
            Event::Undone { .. } => self.undone = true,
            Event::IssueRaised { kind, notice, at } => {
                self.raise(kind.clone(), *at);
                self.take_notice(*notice);
            }
            Event::IssuesResolved { issues, by, note, at, .. } => {
                self.resolve(issues, &Resolved { by: *by, note: note.clone(), at: *at });
            }
        }
    }

    fn tag(&self) -> Tag {
        self.listing().map_or_else(Tag::default, Listing::to_tag)
    }

    fn erases(event: &Event) -> bool {
        matches!(event, Event::Erased { .. } | Event::EndBegun { reason: EndReason::CustomerErased, .. })
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

impl Order {
    fn begin_attempt(&mut self, method: &str, key: Option<RequestKey>, capture: CaptureMode, at: Timestamp) {
        let number = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX - 1) + 1;
        self.attempts.push(Attempt::new(number, method.to_owned(), key, at, capture));
        self.note(at, None);
    }

    fn begin_refund(&mut self, refund: &Refund) {
        self.refunds.push(refund.clone());
        self.note(refund.at, Some(format!("refund {} of {} requested", refund.number, refund.amount)));
    }

    fn take_on_refund(&mut self, refund: &Refund) {
        let Refund { number, attempt, amount, at, .. } = *refund;
        self.attempt_mut(attempt).needs_refresh = false;
        self.refunds.push(refund.clone());
        self.raise(IssueKind::RefundedElsewhere { refund: number, amount }, at);
        self.note(at, Some(format!("{amount} was given back at the provider")));
    }

    fn advance_refund(&mut self, number: u32, state: &RefundState, at: Timestamp) {
        let refund = self.refund_mut(number);
        refund.needs_refresh = false;
        refund.state = Some(state.clone());
        if let RefundState::Failed { reason } = state {
            self.raise(IssueKind::RefundFailed { refund: number, reason: reason.clone() }, at);
        }
        self.note(at, Some(format!("refund {number}: {}", state.as_str())));
    }

    fn needs_refresh_mut(&mut self, about: About) -> &mut bool {
        match about {
            About::Attempt(number) | About::Refunds(number) => &mut self.attempt_mut(number).needs_refresh,
            About::Refund(number) => &mut self.refund_mut(number).needs_refresh,
        }
    }

    fn attempt_mut(&mut self, number: u32) -> &mut Attempt {
        self.attempts.iter_mut().find(|known| known.number == number).expect("decided for a known attempt")
    }

    fn refund_mut(&mut self, number: u32) -> &mut Refund {
        self.refunds.iter_mut().find(|known| known.number == number).expect("decided for a known refund")
    }

    fn advance(&mut self, to: Progress, at: Timestamp) {
        self.progress = to;
        self.note(at, None);
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
