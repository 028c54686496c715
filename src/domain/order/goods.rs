//! The goods of an order: taken from the cart, reserved, and sold.
//!
//! Depends on `serde` and its neighbours.

use serde::{Deserialize, Serialize};

use super::{EndReason, Order, Progress, Rejection, Status, StockAnswer};
use crate::domain::entity::Timestamp;

/// An event of the goods. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    /// The lines left the cart.
    CartTaken { at: Timestamp },
    /// Inventories answered.
    StockAnswered {
        /// Their answers, by index of the line.
        answers: Vec<(u16, StockAnswer)>,
        at: Timestamp,
    },
    /// All stock is recorded as sold: the order is confirmed.
    Fulfilled { at: Timestamp },
}

impl Order {
    pub(super) fn decide_taken(&self, now: Timestamp) -> Result<Option<super::Event>, Rejection> {
        let (_, status) = self.placed()?;
        Ok((status == Status::Placed && !self.taken).then(|| Event::CartTaken { at: now }.into()))
    }

    pub(super) fn decide_stock(
        &self,
        answers: &[(u16, StockAnswer)],
        now: Timestamp,
    ) -> Result<Option<super::Event>, Rejection> {
        let (_, status) = self.placed()?;
        let news = |(index, _): &&(u16, StockAnswer)| self.stock.get(usize::from(*index)) == Some(&None);
        let answers: Vec<_> = answers.iter().filter(news).copied().collect();
        match status {
            Status::Placed if !answers.is_empty() => Ok(Some(Event::StockAnswered { answers, at: now }.into())),
            _ => Ok(None),
        }
    }

    pub(super) fn decide_fulfilled(&self, now: Timestamp) -> Result<Option<super::Event>, Rejection> {
        match self.placed()?.1 {
            Status::Paid => Ok(Some(Event::Fulfilled { at: now }.into())),
            status if status.is_paid() => Ok(None),
            status => Err(Rejection::WrongStatus { status }),
        }
    }

    /// The reason for which an inventory's answer ends the order, if it does.
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

    pub(super) fn apply_goods(&mut self, event: &Event) {
        match event {
            Event::CartTaken { at } => {
                self.taken = true;
                // An order without a payment attempt starts to wait for its payment once its stock is reserved.
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
            Event::Fulfilled { at } => self.advance(Progress::Confirmed, *at),
        }
    }
}
