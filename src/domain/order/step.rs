//! What is to be done next for an order: the checkout's whole plan, as one pure function.
//!
//! Depends on its neighbours.

use super::{Order, Status, StockAnswer};

/// The next thing that is missing. Lines are named by their index in the placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Take its lines out of the cart.
    TakeFromCart,
    /// Reserve the stock of these lines.
    Reserve(Vec<u16>),
    /// Nothing: the customer's turn, until the deadline.
    AwaitPayment,
    /// Ask the provider, under the key of this attempt, until its answer is definite.
    Pay {
        /// The attempt.
        attempt: u32,
    },
    /// Book the stock of every line as sold and close the order in its cart.
    Fulfil,
    /// Release these lines and give them back to the cart. Every line is here that is not known to be refused, also those
    /// whose reservation was never answered: it may have happened, or may still be on its way.
    Undo(Vec<u16>),
    /// Nothing, for the checkout: the seller's turn, or the end.
    Done,
}

impl Order {
    /// What is to be done next; `None` where the order was never placed.
    #[must_use]
    pub fn next_step(&self) -> Option<Step> {
        let lines_where = |wanted: fn(&Option<StockAnswer>) -> bool| -> Vec<u16> {
            let indices = self.stock.iter().enumerate().filter(|(_, answer)| wanted(answer));
            indices.map(|(index, _)| u16::try_from(index).unwrap_or(u16::MAX)).collect()
        };
        Some(match self.status()? {
            Status::Placed if !self.taken => Step::TakeFromCart,
            Status::Placed => Step::Reserve(lines_where(Option::is_none)),
            Status::AwaitingPayment => Step::AwaitPayment,
            Status::PaymentPending => Step::Pay { attempt: self.attempts.last().map_or(1, |attempt| attempt.number) },
            Status::Paid => Step::Fulfil,
            Status::Cancelling => {
                Step::Undo(lines_where(|answer| matches!(answer, None | Some(StockAnswer::Reserved))))
            }
            Status::Confirmed
            | Status::Packed
            | Status::Shipped
            | Status::Delivered
            | Status::Cancelled
            | Status::Expired
            | Status::Rejected => Step::Done,
        })
    }
}
