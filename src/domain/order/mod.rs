//! An order, from placed to delivered: the saga log of a checkout.
//!
//! The order exists durably before anything is reserved, so every effect on other entities has an intent here.
//! [`Order::next_step`] reads it and says what is missing; the checkout performs that step and records the outcome; a crash
//! between any two lines costs a repetition. Before the capture an order can go back; after it only forward.
//!
//! ```text
//!  Placed ──take, reserve──▶ AwaitingPayment ──▶ PaymentPending ──▶ Paid ──▶ Confirmed ──▶ Packed ──▶ Shipped ──▶ Delivered
//!    │                          │      ▲─declined────┘
//!    └──refused─▶ Cancelling ◀──┴ cancelled, expired
//!                     └──released, returned──▶ Rejected | Cancelled | Expired
//! ```
//!
//! Depends on `std`, `serde` and its neighbours. `messages` and `parts` are its words, `placement` is what is
//! frozen when it is placed, `step` what is to be done next, this file the rules.

mod messages;
mod parts;
mod placement;
mod step;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::{
    messages::{Command, Event, Rejection},
    parts::{Attempt, EndReason, HistoryEntry, PaymentOutcome, Status, StockAnswer, Tracking},
    placement::{Address, InvalidPlacement, Line, Placement},
    step::Step,
};
use crate::{
    domain::{
        entity::{Entity, Kind, Timestamp},
        ids::{OrderId, RequestKey, UserId},
    },
    planted::{Bug, planted},
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
}

/// How far an order has come that cannot be told from its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
        match self.attempts.last().map(|attempt| &attempt.outcome) {
            Some(None) => Status::PaymentPending,
            Some(Some(PaymentOutcome::Captured { .. })) => Status::Paid,
            Some(Some(PaymentOutcome::Declined { .. })) => Status::AwaitingPayment,
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

    fn decide_payment(
        &self,
        method: &str,
        key: Option<RequestKey>,
        now: Timestamp,
    ) -> Result<Option<Event>, Rejection> {
        let (placement, status) = self.placed()?;
        if let Some(key) = key
            && let Some(known) = self.attempt_of(Some(key)).and_then(|attempt| attempt.key)
        {
            return if known == key { Ok(None) } else { Err(Rejection::KeyReused) };
        }
        match status {
            Status::AwaitingPayment => {}
            Status::PaymentPending => {
                let pending = self.attempts.last().ok_or(Rejection::WrongStatus { status })?;
                let joins = key.is_none() && pending.method == method;
                return if joins { Ok(None) } else { Err(Rejection::PaymentInProgress { attempt: pending.number }) };
            }
            Status::Paid | Status::Confirmed | Status::Packed | Status::Shipped | Status::Delivered => {
                return if key.is_none() { Ok(None) } else { Err(Rejection::AlreadyPaid) };
            }
            Status::Placed | Status::Cancelling | Status::Cancelled | Status::Expired | Status::Rejected => {
                return Err(Rejection::WrongStatus { status });
            }
        }
        check_text("payment_method", method, METHOD_BYTES_MAX)?;
        if now >= placement.deadline {
            return Err(Rejection::DeadlinePassed);
        }
        if self.attempts.len() >= ATTEMPTS_MAX {
            return Err(Rejection::TooManyAttempts);
        }
        Ok(Some(Event::PaymentRequested { method: method.to_owned(), key, at: now }))
    }

    fn decide_settlement(
        &self,
        number: u32,
        outcome: &PaymentOutcome,
        now: Timestamp,
    ) -> Result<Option<Event>, Rejection> {
        let (placement, status) = self.placed()?;
        let attempt = self.attempts.iter().find(|attempt| attempt.number == number);
        let attempt = attempt.ok_or(Rejection::WrongStatus { status })?;
        match (&attempt.outcome, outcome) {
            (Some(known), _) if known == outcome => Ok(None),
            (Some(_), _) => Err(Rejection::WrongStatus { status }),
            (None, PaymentOutcome::Captured { amount, .. })
                if *amount != placement.total && !planted(Bug::WrongAmountCharged) =>
            {
                Err(Rejection::AmountMismatch { captured: *amount, total: placement.total })
            }
            (None, _) => Ok(Some(Event::PaymentSettled { attempt: number, outcome: outcome.clone(), at: now })),
        }
    }

    fn decide_end(&self, reason: EndReason, now: Timestamp) -> Result<Option<Event>, Rejection> {
        let (placement, status) = self.placed()?;
        let pending = self.attempts.last().map_or(0, |attempt| attempt.number);
        match (status, &reason) {
            (Status::Placed | Status::AwaitingPayment, EndReason::Expired) if now < placement.deadline => Ok(None),
            (Status::Placed | Status::AwaitingPayment, _) => Ok(Some(Event::EndBegun { reason, at: now })),
            (Status::Cancelling | Status::Cancelled | Status::Expired | Status::Rejected, _) => Ok(None),
            (Status::PaymentPending, EndReason::Expired) if planted(Bug::ExpiresWhileUnknown) => {
                Ok(Some(Event::EndBegun { reason, at: now }))
            }
            (_, EndReason::Expired) => Ok(None),
            (Status::PaymentPending, _) => Err(Rejection::PaymentInProgress { attempt: pending }),
            (Status::Paid | Status::Confirmed | Status::Packed | Status::Shipped | Status::Delivered, _) => {
                Err(Rejection::WrongStatus { status })
            }
        }
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
        let already = self.progress == to;
        if allowed || already { Ok(allowed) } else { Err(Rejection::WrongStatus { status }) }
    }

    fn note(&mut self, at: Timestamp, note: Option<String>) {
        let status = self.status().expect("only a placed order has a history");
        self.history.push(HistoryEntry { sequence: self.sequence, status, note, at });
    }
}

fn check_text(field: &'static str, text: &str, bytes_max: usize) -> Result<(), Rejection> {
    let printable = text.chars().all(|character| !character.is_control());
    if text.trim().is_empty() || text.len() > bytes_max || !printable {
        return Err(Rejection::InvalidText { field, bytes_max });
    }
    Ok(())
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
            Command::RequestPayment { method, key } => self.decide_payment(method, *key, now),
            Command::SettlePayment { attempt, outcome } => self.decide_settlement(*attempt, outcome, now),
            Command::RecordFulfilled => match self.placed()?.1 {
                Status::Paid => Ok(Some(Event::Fulfilled { at: now })),
                status if status.is_paid() => Ok(None),
                status => Err(Rejection::WrongStatus { status }),
            },
            Command::Cancel => self.decide_end(EndReason::Cancelled, now),
            Command::Expire => self.decide_end(EndReason::Expired, now),
            Command::RecordUndone => match self.placed()?.1 {
                Status::Cancelling => Ok(Some(Event::Ended { at: now })),
                Status::Cancelled | Status::Expired | Status::Rejected => Ok(None),
                status => Err(Rejection::WrongStatus { status }),
            },
            Command::Pack => Ok(self.decide_advance(Progress::Packed)?.then_some(Event::Packed { at: now })),
            Command::Ship(tracking) => {
                check_text("carrier", &tracking.carrier, TRACKING_BYTES_MAX)?;
                check_text("tracking_number", &tracking.number, TRACKING_BYTES_MAX)?;
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
                let number = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX - 1) + 1;
                let (method, key, requested_at) = (method.clone(), *key, *at);
                self.attempts.push(Attempt { number, method, key, requested_at, outcome: None });
                self.note(*at, None);
            }
            Event::PaymentSettled { attempt, outcome, at } => {
                let settled = self.attempts.iter_mut().find(|known| known.number == *attempt);
                settled.expect("decided for a known attempt").outcome = Some(outcome.clone());
                let note = match outcome {
                    PaymentOutcome::Captured { .. } => None,
                    PaymentOutcome::Declined { reason } => Some(format!("payment declined: {reason}")),
                };
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
                let bug = planted(Bug::OrderGoesBack);
                self.advance(if bug { Progress::Confirmed } else { Progress::Shipped }, *at);
            }
            Event::Delivered { at } => self.advance(Progress::Delivered, *at),
            Event::Erased { .. } => self.erase(),
        }
    }

    fn erases(event: &Event) -> bool {
        matches!(event, Event::Erased { .. } | Event::EndBegun { reason: EndReason::CustomerErased, .. })
    }

    fn view(&self) -> Arc<Order> {
        Arc::new(self.clone())
    }

    fn view_bytes(view: &Arc<Order>) -> usize {
        let lines = view.placement.as_ref().map_or(0, |placement| placement.lines.len());
        600 + 200 * lines + 64 * view.history.len() + 160 * view.attempts.len()
    }
}

impl Order {
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
            if let Some(PaymentOutcome::Declined { reason }) = &mut attempt.outcome {
                reason.clear();
            }
        }
        self.history.iter_mut().for_each(|entry| entry.note = None);
    }

    fn refusal(&self, index: u16, answer: StockAnswer) -> Option<EndReason> {
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
