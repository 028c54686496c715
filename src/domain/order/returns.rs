//! Goods that a customer sends back: the return is requested, and then received with a refund, or rejected.
//!
//! Depends on `serde` and its neighbours.

use serde::{Deserialize, Serialize};

use super::{
    Order, REASON_CHARACTERS_MAX, RETURNS_MAX, Refund, RefundCause, Rejection, Restock, Shipping, Status, Text, Units,
    check_note,
};
use crate::domain::{
    entity::Timestamp,
    ids::{RequestKey, UserId},
};

/// Goods that a customer sends back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Return {
    /// 1, 2, 3 ….
    pub number: u32,
    pub lines: Units,
    /// The reason in the customer's words.
    pub reason: String,
    pub key: Option<RequestKey>,
    /// When it was requested.
    pub at: Timestamp,
    pub state: ReturnState,
}

/// The state of a return.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ReturnState {
    /// The customer has asked.
    Requested,
    /// The goods have arrived; their refund has this number.
    Received { refund: u32 },
    /// The seller does not accept the goods.
    Rejected { note: String },
}

/// An event of returns. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    /// The customer wants to send goods back.
    Requested { lines: Units, reason: String, key: Option<RequestKey>, at: Timestamp },
    /// The goods have arrived, and their price is refunded.
    Received { number: u32, refund: Refund },
    /// The goods are not accepted.
    Rejected { number: u32, note: String, at: Timestamp },
}

impl Order {
    /// The returns, oldest first.
    #[must_use]
    pub fn returns(&self) -> &[Return] {
        &self.returns
    }

    pub(super) fn decide_return(
        &self,
        lines: &Units,
        reason: &str,
        key: Option<RequestKey>,
        now: Timestamp,
    ) -> Result<Option<super::Event>, Rejection> {
        let (placement, status) = self.placed()?;
        if let Some(key) = key
            && key.repeats(self.returns.iter().filter_map(|known| known.key))?
        {
            return Ok(None);
        }
        if !matches!(status, Status::Shipped | Status::Delivered) {
            return Err(Rejection::WrongStatus { status });
        }
        Text::Reason.check(reason, REASON_CHARACTERS_MAX)?;
        if self.returns.len() >= RETURNS_MAX {
            return Err(Rejection::TooManyRefunds);
        }
        let on_the_way = self.returns.iter().filter(|known| known.state == ReturnState::Requested);
        let on_the_way = self.units_of(on_the_way.flat_map(|known| &known.lines));
        let (left, _) = self.refundable(placement);
        let left: Vec<u32> =
            left.iter().zip(on_the_way).map(|(left, returned)| left.saturating_sub(returned)).collect();
        if lines.is_empty() {
            return Err(Rejection::NothingToRefund);
        }
        self.checked_units(lines, &left)?;
        Ok(Some(Event::Requested { lines: lines.clone(), reason: reason.to_owned(), key, at: now }.into()))
    }

    fn open_return(&self, number: u32) -> Result<&Return, Rejection> {
        let known = self.returns.iter().find(|known| known.number == number).ok_or(Rejection::NoSuchReturn)?;
        if known.state == ReturnState::Requested { Ok(known) } else { Err(Rejection::ReturnDecided) }
    }

    pub(super) fn decide_receive(
        &self,
        number: u32,
        restock: Restock,
        by: UserId,
        now: Timestamp,
    ) -> Result<Option<super::Event>, Rejection> {
        self.placed()?;
        let open = match self.open_return(number) {
            Err(Rejection::ReturnDecided) if self.returns.iter().any(|known| known.received(number)) => {
                return Ok(None);
            }
            open => open?,
        };
        self.check_refunds()?;
        let refund =
            self.refund_of(&open.lines, Shipping::Excluded, restock, now)?.ok_or(Rejection::NothingToRefund)?;
        let refund = Refund { cause: RefundCause::Return, reason: open.reason.clone(), by: Some(by), ..refund };
        Ok(Some(Event::Received { number, refund }.into()))
    }

    pub(super) fn decide_reject(
        &self,
        number: u32,
        note: &str,
        now: Timestamp,
    ) -> Result<Option<super::Event>, Rejection> {
        self.placed()?;
        self.open_return(number)?;
        check_note(note)?;
        Ok(Some(Event::Rejected { number, note: note.to_owned(), at: now }.into()))
    }

    pub(super) fn apply_return(&mut self, event: &Event) {
        match event {
            Event::Requested { lines, reason, key, at } => self.begin_return(lines, reason, *key, *at),
            Event::Received { number, refund } => self.end_return_received(*number, refund),
            Event::Rejected { number, note, at } => self.end_return_rejected(*number, note, *at),
        }
    }

    fn begin_return(&mut self, lines: &Units, reason: &str, key: Option<RequestKey>, at: Timestamp) {
        let number = u32::try_from(self.returns.len()).unwrap_or(u32::MAX - 1) + 1;
        let (lines, reason) = (lines.clone(), reason.to_owned());
        self.returns.push(Return { number, lines, reason, key, at, state: ReturnState::Requested });
        self.note(at, Some(format!("return {number} requested")));
    }

    fn end_return_received(&mut self, number: u32, refund: &Refund) {
        self.return_mut(number).state = ReturnState::Received { refund: refund.number };
        self.note(refund.at, Some(format!("return {number} received")));
        self.begin_refund(refund);
    }

    fn end_return_rejected(&mut self, number: u32, note: &str, at: Timestamp) {
        self.return_mut(number).state = ReturnState::Rejected { note: note.to_owned() };
        self.note(at, Some(format!("return {number} rejected: {note}")));
    }

    fn return_mut(&mut self, number: u32) -> &mut Return {
        self.returns.iter_mut().find(|known| known.number == number).expect("decided for a known return")
    }
}

impl Return {
    fn received(&self, number: u32) -> bool {
        self.number == number && matches!(self.state, ReturnState::Received { .. })
    }

    /// Removes the customer's words.
    pub(super) fn erase(&mut self) {
        self.reason.clear();
        if let ReturnState::Rejected { note } = &mut self.state {
            note.clear();
        }
    }
}
